/**
 * The methods of a gRPC client for `await` and `for await`, with a signal and a timeout for each
 * call. They call the client's own methods, so interceptors, credentials and errors are the same.
 */
import type * as grpc from '@grpc/grpc-js'
import type { Duration } from '../../../options/duration.ts'
import { OptionsError, show } from '../../../options/fields.ts'
import { checkKey, checkSignal, checkTimeout } from '../../call-options.ts'
import type { MethodDefinition, MethodNames } from '../method-names.ts'
import { GrpcCallSettings } from './call-settings.ts'
import { isSource, openSource, type Requests, RequestWriter, type Source } from './requests.ts'
import { type BoundHost, PromiseBound } from './time-bound.ts'

/** Everything about a call but its request. */
export interface GrpcCallOptions {
  /**
   * grpc-js's `Metadata`. Ours (deadline, trace, baggage) are added; `inmesh-*` is left out.
   * @defaultValue none
   */
  readonly metadata?: object | undefined
  /**
   * Cancels the call, wherever it is: waiting, connecting, running, or within a stream.
   * @defaultValue none
   */
  readonly signal?: AbortSignal | undefined
  /**
   * Bound of the whole call, retries and streams included; the service's own timeout (until a
   * stream of answers begins) and the deadline of the request being served hold as well, whichever
   * is first. @defaultValue the service's timeout
   */
  readonly timeout?: Duration | undefined
  /** A second execution does no harm. @defaultValue what is known of the method, see `mesh.grpc` */
  readonly idempotent?: boolean | undefined
  /** `false`: one attempt only. @defaultValue as many as the policy allows */
  readonly retry?: false | undefined
  /**
   * Calls with the same key go to the same endpoint, if the service's balancer is `ring-hash` or
   * `maglev`.
   * @defaultValue what the service's policy makes the key of; without one, any endpoint
   */
  readonly key?: string | undefined
}

/**
 * One method as a promise. Generators put its overloads in different orders, so only what is the
 * same in all of them is read: what they return tells the kind, the first argument is the request,
 * and the last is the callback.
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
 * The methods of `C` that call the service, as promises and async iterables. Of a client that was
 * loaded without types nothing is known but that any name may be a method.
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

/**
 * The methods that every client of grpc-js has; written out, because the types must do without its
 * package.
 */
interface grpcClient {
  close: unknown
  getChannel: unknown
  waitForReady: unknown
  makeUnaryRequest: unknown
  makeClientStreamRequest: unknown
  makeServerStreamRequest: unknown
  makeBidiStreamRequest: unknown
}

/**
 * @internal `names`: the methods of `client`, by each name that it has for them. `host`: of a
 * client with interceptors, which may hold a call longer than its promise lasts.
 */
export function makePromises<C extends object>(client: C, names: MethodNames, host?: BoundHost): GrpcPromises<C> {
  // Without a prototype: no method of objects answers in place of one that the service lacks.
  const promises: Record<string, unknown> = Object.create(null)
  const methods = client as Record<string, Method>
  // Errors call a method by the last of its names: camelCase, if it has one.
  const called = new Map([...names.keys()].map((name) => [methods[name]!, name]))
  const made = new Map<Method, unknown>()
  for (const [name, definition] of names) {
    const method = methods[name]!
    if (!made.has(method))
      made.set(method, promisedOf(client, method, definition, `promises.${called.get(method)}`, host))
    promises[name] = made.get(method)
  }
  return Object.freeze(promises) as GrpcPromises<C>
}

type Method = (...args: unknown[]) => unknown
type Sink = grpc.ClientWritableStream<unknown>
type Duplex = grpc.ClientDuplexStream<unknown, unknown>

/** `what` is how errors call it. */
function promisedOf(
  client: object,
  method: Method,
  definition: MethodDefinition,
  what: string,
  host: BoundHost | undefined,
): unknown {
  const { requestStream, responseStream, path } = definition
  const begin = (settings: GrpcCallSettings | undefined, metadata: unknown, request: unknown[], done: unknown[]) => {
    const carried = settings === undefined ? [] : [{ propagate_flags: settings }]
    return method.call(client, ...request, ...(metadata === undefined ? [] : [metadata]), ...carried, ...done)
  }
  if (responseStream) {
    return (given: unknown, givenOptions?: GrpcCallOptions, more?: unknown) => {
      if (more !== undefined) throw tooMany(what, more)
      const options = asMade(givenOptions)
      const request = requestStream && Array.isArray(given) ? [...given] : given
      return answers((failed) => {
        const source = requestStream ? sourceOf(request, what) : undefined
        const settings = settingsOf(options, what)
        const call = begin(settings, options?.metadata, requestStream ? [] : [request], []) as Duplex
        if (source !== undefined) new RequestWriter(source, call, failed)
        if (host !== undefined && isBounded(settings)) {
          const bound = new PromiseBound(host, settings, path, (error) => {
            failed(error)
            call.cancel()
            call.destroy(error)
          })
          call.on('close', () => bound.settled())
        }
        return call
      })
    }
  }
  return (request: unknown, options?: GrpcCallOptions, more?: unknown) =>
    new Promise<unknown>((resolve, reject) => {
      if (more !== undefined) throw tooMany(what, more)
      let bound: PromiseBound | undefined
      let over = false
      const done = (error: unknown, value: unknown): void => {
        over = true
        bound?.settled()
        if (error === null) resolve(value)
        else reject(error)
      }
      const source = requestStream ? sourceOf(request, what) : undefined
      const settings = settingsOf(options, what)
      const call = begin(settings, options?.metadata, requestStream ? [] : [request], [done]) as Sink
      if (source !== undefined) new RequestWriter(source, call, reject)
      if (host === undefined || over || !isBounded(settings)) return
      bound = new PromiseBound(host, settings, path, (error) => {
        reject(error)
        call.cancel()
        // Only streams of requests have it: it lets their source go.
        call.destroy?.(error)
      })
    })
}

/** A stream of answers begins later, and its caller may change options and metadata before that. */
function asMade(options: GrpcCallOptions | undefined): GrpcCallOptions | undefined {
  // What is wrong is refused when the stream begins.
  if (typeof options !== 'object' || options === null || isMetadata(options)) return options
  // Inherited ones count as well.
  const own: { metadata?: Partial<grpc.Metadata> | null | undefined } = {}
  for (const key in options) Object.assign(own, { [key]: options[key as keyof GrpcCallOptions] })
  if (typeof own.metadata?.clone === 'function') own.metadata = own.metadata.clone()
  return own as GrpcCallOptions
}

function isMetadata(value: unknown): boolean {
  return typeof (value as { getMap?: unknown } | null)?.getMap === 'function'
}

function isBounded(settings: GrpcCallSettings | undefined): settings is GrpcCallSettings {
  return settings !== undefined && (settings.signal !== undefined || settings.timeoutMs !== Number.POSITIVE_INFINITY)
}

/** `begin` makes the call, and hears of the first failure that is not the call's. */
function answers(begin: (failed: (error: unknown) => void) => Duplex): AsyncGenerator<unknown, void, void> {
  let call: Duplex | undefined
  let left = false
  let failed: { readonly error: unknown } | undefined
  const generate = async function* (): AsyncGenerator<unknown, void, void> {
    call = begin((error) => {
      failed ??= { error }
    })
    try {
      yield* call
    } catch (error) {
      if (!left) throw failed === undefined ? error : failed.error
    } finally {
      // Also when the loop was left early; after the end it does nothing.
      call.cancel()
    }
  }
  const generator = generate()
  const { return: leave, throw: fail } = generator
  // A generator would be left only behind the answer that it waits for.
  const cancel = (): void => {
    left = true
    call?.cancel()
  }
  generator.return = (value) => {
    cancel()
    return leave.call(generator, value)
  }
  generator.throw = (error) => {
    cancel()
    return fail.call(generator, error)
  }
  return generator
}

const KEYS: ReadonlySet<string> = new Set([
  'metadata',
  'signal',
  'timeout',
  'idempotent',
  'retry',
  'key',
] satisfies (keyof GrpcCallOptions)[])

/**
 * `undefined` for a call without any. @throws OptionsError naming the first option that is wrong
 */
function settingsOf(options: GrpcCallOptions | undefined, what: string): GrpcCallSettings | undefined {
  if (options === undefined) return undefined
  if (typeof options !== 'object' || options === null)
    throw wrong(what, [], `expected an object of options, got ${show(options)}`)
  if (isMetadata(options)) {
    throw wrong(what, [], 'expected an object of options, got Metadata; it is given as { metadata }')
  }
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
  if (metadata !== undefined && !isMetadata(metadata)) {
    throw wrong(what, ['metadata'], `expected grpc-js's Metadata, got ${show(metadata)}`)
  }
  const settings = new GrpcCallSettings()
  settings.signal = signal
  settings.idempotent = idempotent
  settings.once = retry === false
  if (key !== undefined) settings.key = checkKey(key, what)
  settings.timeoutMs = checkTimeout(timeout, what)
  return settings
}

function tooMany(what: string, given: unknown): OptionsError {
  const hint = typeof given === 'function' ? 'it has no callback' : 'metadata is one of the options'
  return wrong(what, [], `takes a request and options, got a third argument, ${show(given)}; ${hint}`)
}

/**
 * Without the check, the error would name neither the method nor what it takes. @throws
 * OptionsError
 */
function sourceOf(requests: unknown, what: string): Source {
  if (isSource(requests)) return openSource(requests)
  throw wrong(what, ['requests'], `expected an iterable or async iterable of requests, got ${show(requests)}`)
}

function wrong(what: string, path: readonly string[], message: string): OptionsError {
  return new OptionsError(what, [{ path: [...path], message }])
}
