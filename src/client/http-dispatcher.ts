/**
 * The mesh as an undici dispatcher: for code that already speaks undici or the built-in `fetch`, which then reaches
 * `http://<service>.mesh/` through the mesh and everything else as before. Handlers are called in the async context of their
 * own request, which undici itself does not promise.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { Dispatcher } from 'undici'
import { inboundCall } from '../core/context.ts'
import { MeshError } from '../core/errors.ts'
import { checkDispatcherOptions } from './check-options.ts'
import { HttpCall, type ReceivedHeaders } from './http-call.ts'
import { notInMesh, serviceOf } from './http-fetch.ts'
import { type BodyInput, requestBody } from './http-request-body.ts'
import { undici } from './http-undici.ts'
import { checkMethod, checkPath, isIdempotent, prepareRequest, type QueryInput, withQuery } from './prepare-request.ts'
import type { HeadersInput } from './propagation.ts'
import type { ResponseBody } from './response-body.ts'
import type { FindService } from './stack-source.ts'

/** An undici `Dispatcher`; the application needs undici itself only to hand it to `setGlobalDispatcher`. */
export type MeshDispatcher = Dispatcher

export interface MeshDispatcherOptions {
  /** For all hosts but `*.mesh`. @defaultValue an `Agent` of its own, made when first needed */
  readonly fallback?: Dispatcher
}

/** Needs undici, so it can be called once the mesh is joined. */
export function makeDispatcher(find: FindService, options: MeshDispatcherOptions = {}): Dispatcher {
  checkDispatcherOptions(options)
  const { Agent, Dispatcher: Base } = undici()
  let fallback = options?.fallback
  let own: Dispatcher | undefined

  class ServiceDispatcher extends Base {
    override dispatch(request: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
      const host = hostOf(request.origin)
      if (!host.endsWith('.mesh')) {
        if (fallback === undefined) {
          own = new Agent()
          fallback = own
        }
        return fallback.dispatch(request, handler)
      }
      try {
        new MeshExchange(find, host, request, handler).start()
      } catch (error) {
        handler.onResponseError?.(null as unknown as Dispatcher.DispatchController, error as Error)
      }
      return true
    }

    // The calls belong to the mesh, which ends them itself; only our own fallback is ours to end.
    override close(callback?: () => void): Promise<void> & void {
      return settle(own?.close(), callback)
    }

    override destroy(...args: unknown[]): Promise<void> & void {
      const callback = args.find((arg) => typeof arg === 'function') as (() => void) | undefined
      return settle(own?.destroy(), callback)
    }
  }
  return new ServiceDispatcher()
}

function settle(ending: Promise<void> | undefined, callback: (() => void) | undefined): Promise<void> & void {
  const ended = ending ?? Promise.resolve()
  if (callback !== undefined) void ended.then(callback, callback)
  return ended as Promise<void> & void
}

function hostOf(origin: string | URL | undefined): string {
  if (origin === undefined) return ''
  return typeof origin === 'string' ? new URL(origin).hostname : origin.hostname
}

/** One request of a foreign caller: the controller that its handler holds, over a call of ours. */
class MeshExchange implements Dispatcher.DispatchController {
  aborted = false
  paused = false
  reason: Error | null = null
  rawHeaders: Buffer[] | string[] | null = null
  rawTrailers: Buffer[] | string[] | null = null
  readonly #handler: Dispatcher.DispatchHandler
  readonly #inContext = AsyncLocalStorage.snapshot()
  readonly #call: HttpCall<ResponseBody>
  #resume: (() => void) | undefined = undefined

  constructor(
    find: FindService,
    host: string,
    request: Dispatcher.DispatchOptions,
    handler: Dispatcher.DispatchHandler,
  ) {
    const service = serviceOf(host)
    const source = service === undefined ? undefined : find(service)
    if (source === undefined) throw notInMesh(host)
    if (request.upgrade) {
      throw new MeshError(`Upgrades such as WebSocket do not go through the mesh.`, {
        code: 'invalid-options',
        service: source.service,
      })
    }
    const method = checkMethod(request.method)
    const path = checkPath(withQuery(request.path, request.query as QueryInput | undefined))
    const body = requestBody((request.body ?? undefined) as BodyInput | undefined)
    const prepared = prepareRequest(method, path, pairsOf(request.headers), body)
    this.#handler = handler
    this.#call = new HttpCall(
      source.stack(method, path),
      source.transport,
      source.route(method, false),
      prepared,
      (status, statusText, headers, arrived) => this.#head(status, statusText, headers, arrived),
      Number.POSITIVE_INFINITY,
      inboundCall(),
      undefined,
    )
    // undici calls only GET and HEAD idempotent unless told otherwise; a POST never is without being declared.
    this.#call.idempotent = request.idempotent ?? isIdempotent(method, prepared.headers)
  }

  start(): void {
    this.#handler.onRequestStart?.(this, null)
    if (this.aborted) return
    this.#call.send().then(
      (body) => this.#pump(body),
      (error) => this.#fail(error),
    )
  }

  abort(reason: Error): void {
    if (this.aborted) return
    this.aborted = true
    this.reason = reason ?? new Error('aborted')
    this.#call.cancel(this.reason)
    this.#wake()
    this.#inContext(() => this.#handler.onResponseError?.(this, this.reason!))
  }

  pause(): void {
    this.paused = true
  }

  resume(): void {
    this.paused = false
    this.#wake()
  }

  #head(status: number, statusText: string, headers: ReceivedHeaders, body: ResponseBody): ResponseBody {
    if (this.aborted) return body
    this.rawHeaders = flatten(headers)
    this.#guard(() => this.#handler.onResponseStart?.(this, status, { ...headers }, statusText))
    return body
  }

  async #pump(body: ResponseBody): Promise<void> {
    try {
      for (;;) {
        while (this.paused && !this.aborted) {
          await new Promise<void>((resolve) => {
            this.#resume = resolve
          })
        }
        if (this.aborted) {
          body.cancel(this.reason)
          return
        }
        const chunk = await body.read()
        if (this.aborted) return
        if (chunk === undefined) break
        this.#guard(() => this.#handler.onResponseData?.(this, chunk))
      }
      this.#guard(() => this.#handler.onResponseEnd?.(this, {}))
    } catch (error) {
      this.#fail(error)
    }
  }

  #fail(error: unknown): void {
    if (this.aborted) return
    this.aborted = true
    this.reason = error as Error
    this.#inContext(() => this.#handler.onResponseError?.(this, error as Error))
  }

  /** What a handler throws aborts its request, as in undici. */
  #guard(step: () => void): void {
    try {
      this.#inContext(step)
    } catch (error) {
      this.abort(error as Error)
    }
  }

  #wake(): void {
    const resume = this.#resume
    this.#resume = undefined
    resume?.()
  }
}

/** undici's flat arrays as pairs; everything else is taken as it is. */
function pairsOf(headers: Dispatcher.DispatchOptions['headers']): HeadersInput | undefined {
  if (headers === undefined || headers === null) return undefined
  if (!Array.isArray(headers) || typeof headers[0] !== 'string') return headers as HeadersInput
  const pairs: [string, string][] = []
  for (let i = 0; i + 1 < headers.length; i += 2) pairs.push([String(headers[i]), String(headers[i + 1])])
  return pairs
}

function flatten(headers: ReceivedHeaders): Buffer[] {
  const flat: Buffer[] = []
  for (const name of Object.keys(headers)) {
    const value = headers[name]
    for (const one of Array.isArray(value) ? value : [value ?? ''])
      flat.push(Buffer.from(name), Buffer.from(one, 'latin1'))
  }
  return flat
}
