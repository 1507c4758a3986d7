/**
 * The methods of a gRPC client for `await` and `for await`, with a signal and a timeout for each call. They call the client's own methods,
 * so interceptors, credentials and errors are the same.
 */
import type * as grpc from '@grpc/grpc-js'
import type { Duration } from '../core/duration.ts'
import { OptionsError, show } from '../core/fields.ts'
import { checkKey, checkSignal } from './check-options.ts'
import type { GrpcCallSettings } from './grpc-call.ts'
import { type MethodDefinition, withCallSettings } from './grpc-channel.ts'
import type { ServiceDefinition } from './grpc-client.ts'
import { checkTimeout } from './prepare-request.ts'

/** Everything about a call but its request. */
export interface GrpcCallOptions {
  /** grpc-js's `Metadata`. Ours (deadline, trace, baggage) are added; `inmesh-*` is left out. */
  readonly metadata?: object | undefined
  /** Cancels the call, wherever it is: waiting, connecting, running, or within a stream. */
  readonly signal?: AbortSignal | undefined
  /**
   * Bound of the whole call, retries and streams included; the service's own timeout (until a stream of answers begins) and the deadline of
   * the request being served hold as well, whichever is first. @defaultValue the service's timeout
   */
  readonly timeout?: Duration | undefined
  /** A second execution does no harm. @defaultValue what is known of the method, see `mesh.grpc` */
  readonly idempotent?: boolean | undefined
  /** `false`: one attempt only. */
  readonly retry?: false | undefined
  /** Calls with the same key go to the same endpoint, if the service's balancer is `ring-hash` or `maglev`. */
  readonly key?: string | undefined
}

type Requests<T> = Iterable<T> | AsyncIterable<T>

/**
 * One method as a promise. Generators put its overloads in different orders, so only what is the same in all of them is read: what they return
 * tells the kind, the first argument is the request, and the last is the callback.
 */
type Promised<M> = M extends (...args: infer Args) => infer Made
  ? Made extends { serialize: (request: infer Request) => unknown }
    ? Made extends { deserialize: (bytes: never) => infer Response }
      ? (requests: Requests<Request>, options?: GrpcCallOptions) => AsyncGenerator<Response, void, void>
      : (requests: Requests<Request>, options?: GrpcCallOptions) => Promise<Answered<Args>>
    : Made extends { deserialize: (bytes: never) => infer Response }
      ? (request: Args[0], options?: GrpcCallOptions) => AsyncGenerator<Response, void, void>
      : (request: Args[0], options?: GrpcCallOptions) => Promise<Answered<Args>>
  : never

/** What the callback, the last argument, is called with. */
type Answered<Args extends unknown[]> = Args extends [...unknown[], (...args: infer Told) => unknown]
  ? NonNullable<Told[1]>
  : unknown

/**
 * The methods of `C` that call the service, as promises and async iterables. Of a client that was loaded without types nothing is known but
 * that any name may be a method.
 */
export type GrpcPromises<C> = string extends keyof C
  ? // biome-ignore lint/suspicious/noExplicitAny: as grpc-js itself has it for clients that were loaded
    any
  : {
      readonly [K in keyof C as K extends keyof grpcClient
        ? never
        : C[K] extends (...args: never[]) => unknown
          ? K
          : never]: Promised<C[K]>
    }

/** The methods that every client of grpc-js has; written out, because the types must do without its package. */
interface grpcClient {
  close: unknown
  getChannel: unknown
  waitForReady: unknown
  makeUnaryRequest: unknown
  makeClientStreamRequest: unknown
  makeServerStreamRequest: unknown
  makeBidiStreamRequest: unknown
}

/** @internal */
export function makePromises<C extends object>(client: C, service: ServiceDefinition): GrpcPromises<C> {
  const promises: Record<string, unknown> = {}
  for (const [name, definition] of Object.entries(service)) {
    const own = [name, name.charAt(0).toLowerCase() + name.slice(1)].filter(
      (key) => typeof (client as Record<string, unknown>)[key] === 'function',
    )
    const method = own[0] === undefined ? undefined : (client as Record<string, Method>)[own[0]]
    if (method === undefined) continue
    const promised = promisedOf(client, method, definition, `promises.${own.at(-1)}`)
    for (const key of own) promises[key] = promised
  }
  return Object.freeze(promises) as GrpcPromises<C>
}

type Method = (...args: unknown[]) => unknown
type Sink = grpc.ClientWritableStream<unknown>
type Duplex = grpc.ClientDuplexStream<unknown, unknown>

/** `what` is how errors call it. */
function promisedOf(client: object, method: Method, definition: MethodDefinition, what: string): unknown {
  const { path, requestStream, responseStream } = definition
  const begin = (options: GrpcCallOptions | undefined, ...args: unknown[]): unknown => {
    const settings = settingsOf(options, what)
    const at = typeof args.at(-1) === 'function' ? args.length - 1 : args.length
    // grpc-js takes the metadata in front of the callback; none at all for none.
    if (options?.metadata !== undefined) args.splice(at, 0, options.metadata)
    return withCallSettings(path, settings, () => method.apply(client, args))
  }
  if (responseStream) {
    return requestStream
      ? (requests: Requests<unknown>, options?: GrpcCallOptions) =>
          answers(() => {
            assertRequests(requests, what)
            const call = begin(options) as Duplex
            return { call, sent: send(requests, call) }
          })
      : (request: unknown, options?: GrpcCallOptions) =>
          answers(() => ({ call: begin(options, request) as Duplex, sent: undefined }))
  }
  return async (request: unknown, options?: GrpcCallOptions) => {
    let sent: Promise<void> | undefined
    const answer = await new Promise<unknown>((resolve, reject) => {
      const done = (error: unknown, value: unknown): void => (error === null ? resolve(value) : reject(error))
      if (!requestStream) begin(options, request, done)
      else {
        assertRequests(request, what)
        sent = send(request as Requests<unknown>, begin(options, done) as Sink)
        sent.catch(reject)
      }
    })
    return answer
  }
}

async function* answers(begin: () => { call: Duplex; sent: Promise<void> | undefined }): AsyncGenerator<unknown> {
  const { call, sent } = begin()
  let failed: { readonly error: unknown } | undefined
  sent?.catch((error: unknown) => {
    failed = { error }
  })
  try {
    yield* call
  } catch (error) {
    throw failed === undefined ? error : failed.error
  } finally {
    // Also when the loop was left early; after the end it does nothing.
    call.cancel()
  }
}

/** Writes all requests as fast as they are taken. What the source throws cancels the call, and is what the caller gets. */
async function send(requests: Requests<unknown>, call: Sink): Promise<void> {
  let over = false
  const ended = new Promise<void>((resolve) => {
    const end = (): void => {
      over = true
      resolve()
    }
    // A failure is told by the answer.
    call.once('error', end)
    call.once('status', end)
    call.once('close', end)
  })
  try {
    for await (const request of requests) {
      if (over) return
      if (!call.write(request)) await Promise.race([ended, new Promise((resolve) => call.once('drain', resolve))])
      if (over) return
    }
    call.end()
  } catch (error) {
    call.cancel()
    throw error
  }
}

const KEYS: ReadonlySet<string> = new Set([
  'metadata',
  'signal',
  'timeout',
  'idempotent',
  'retry',
  'key',
] satisfies (keyof GrpcCallOptions)[])

/** @throws OptionsError naming the first option that is wrong */
function settingsOf(options: GrpcCallOptions | undefined, what: string): GrpcCallSettings {
  if (options === undefined) return {}
  if (typeof options !== 'object' || options === null)
    throw wrong(what, [], `expected an object of options, got ${show(options)}`)
  for (const key in options) {
    if (KEYS.has(key)) continue
    const hint = key === 'deadline' ? '; calls with a callback have it, promises have timeout' : ''
    throw wrong(what, [key], `unknown key${hint}; valid keys are ${[...KEYS].join(', ')}`)
  }
  const { signal, timeout, idempotent, retry, key, metadata } = options
  checkSignal(signal, what)
  if (idempotent !== undefined && typeof idempotent !== 'boolean') {
    throw wrong(what, ['idempotent'], `expected true or false, got ${show(idempotent)}`)
  }
  if (retry !== undefined && retry !== false) {
    throw wrong(what, ['retry'], `expected false for one attempt only, or nothing, got ${show(retry)}`)
  }
  if (metadata !== undefined && typeof (metadata as { getMap?: unknown } | null)?.getMap !== 'function') {
    throw wrong(what, ['metadata'], `expected grpc-js's Metadata, got ${show(metadata)}`)
  }
  const timeoutMs = checkTimeout(timeout, what)
  return {
    signal,
    idempotent,
    once: retry === false,
    key: key === undefined ? undefined : checkKey(key, what),
    ...(timeoutMs === Number.POSITIVE_INFINITY ? {} : { timeoutMs }),
  }
}

/** Without it, the error would name neither the method nor what it takes. @throws OptionsError */
function assertRequests(requests: unknown, what: string): void {
  const given = requests as Partial<Record<symbol, unknown>> | null | undefined
  if (typeof (given?.[Symbol.asyncIterator] ?? given?.[Symbol.iterator]) === 'function') return
  throw wrong(what, ['requests'], `expected an iterable or async iterable of requests, got ${show(requests)}`)
}

function wrong(what: string, path: readonly string[], message: string): OptionsError {
  return new OptionsError(what, [{ path: [...path], message }])
}
