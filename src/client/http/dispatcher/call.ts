/**
 * Drives an undici handler through one call of the mesh: start, head, data and one end, or one
 * error. Handlers run in the async context of the dispatch.
 *
 * - started -> answered: the head has arrived
 * - started -> over: the peer has agreed to an upgrade, and the handler has the connection
 * - answered -> over: the body has ended
 * - started, answered -> over: failed, aborted, timed out, or the handler threw
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { Dispatcher } from 'undici'
import type { Timer } from '../../../core/clock.ts'
import { inboundCall } from '../../../core/context.ts'
import { PREFIX } from '../../../core/headers.ts'
import type { ResponseBody } from '../body/response.ts'
import { type Answer, type CallObserver, HttpCall, type HttpService } from '../call.ts'
import type { ReceivedHeaders } from '../headers.ts'
import { undici } from '../undici.ts'
import { UpgradeCall } from '../upgrade/call.ts'
import type { UpgradedSocket } from '../upgrade/socket.ts'
import { rawHeaders } from './legacy-handler.ts'
import type { DispatchRequest } from './request.ts'

/** Owns the dispatches in flight. */
export interface DispatchCallHost {
  ended(exchange: DispatchCall): void
  /** `onResponseError` itself threw. */
  threw(error: unknown): void
}

export class DispatchCall implements Dispatcher.DispatchController, CallObserver {
  rawHeaders: Buffer[] | string[] | null = null
  rawTrailers: Buffer[] | string[] | null = null
  #aborted = false
  #paused = false
  #reason: Error | null = null
  #over = false
  #answered = false
  #body: ResponseBody | undefined = undefined
  #socket: UpgradedSocket | undefined = undefined
  #resume: (() => void) | undefined = undefined
  #timer: Timer | undefined = undefined
  readonly #call: HttpCall<ResponseBody | undefined>
  readonly #request: DispatchRequest
  readonly #handler: Dispatcher.DispatchHandler
  readonly #keeper: DispatchCallHost
  readonly #inContext = AsyncLocalStorage.snapshot()

  constructor(
    service: HttpService,
    request: DispatchRequest,
    handler: Dispatcher.DispatchHandler,
    keeper: DispatchCallHost,
  ) {
    this.#request = request
    this.#handler = handler
    this.#keeper = keeper
    const { prepared, signal } = request
    const answer: Answer<ResponseBody> = (...head) => this.#head(...head)
    this.#call =
      prepared.upgrade === undefined
        ? new HttpCall(service, prepared, answer, request, signal, inboundCall())
        : new UpgradeCall<ResponseBody | undefined>(
            service,
            prepared,
            answer,
            (...given) => this.#upgraded(...given),
            request,
            signal,
            inboundCall(),
          )
    this.#call.observer = this
    if (request.longestWaitMs !== undefined) this.#call.longestWaitMs = request.longestWaitMs
  }

  get aborted(): boolean {
    return this.#aborted
  }

  get paused(): boolean {
    return this.#paused
  }

  get reason(): Error | null {
    return this.#reason
  }

  start(): void {
    try {
      this.#handler.onRequestStart?.(this, null)
    } catch (error) {
      this.#fail(error)
    }
    if (this.#over) {
      this.#call.finish()
      return
    }
    const { headersTimeoutMs } = this.#request
    if (headersTimeoutMs > 0) this.#timer = this.#call.stack.clock.startTimer(headersTimeoutMs, noHead, this)
    this.#call.send().then(
      (body) => this.#pump(body),
      (error) => this.#fail(error),
    )
  }

  abort(reason?: Error): void {
    if (this.#aborted) return
    this.#aborted = true
    this.#reason = reason ?? new (undici().errors.RequestAbortedError)()
    this.#fail(this.#reason)
    // The engine of a WebSocket does so when the handshake was no proof.
    this.#socket?.destroy()
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
    this.#wake()
  }

  // What the attempts report.

  headArrived(status: number, headers: ReceivedHeaders, statusText: string, raw: unknown): void {
    if (this.#over) return
    if (status < 200) {
      this.rawHeaders = ownRaw(raw, headers)
      this.#step(() => this.#handler.onResponseStart?.(this, status, visible(headers), statusText))
    } else this.#rawOf.set(headers, raw)
  }

  bodySent(chunk: Buffer): void {
    if (this.#over) return
    if (this.#timer !== undefined && !this.#answered) this.#rearm(this.#request.headersTimeoutMs, noHead)
    if (this.#handler.onBodySent !== undefined) this.#step(() => this.#handler.onBodySent?.(chunk))
  }

  requestSent(): void {
    if (!this.#over && this.#handler.onRequestSent !== undefined) this.#step(() => this.#handler.onRequestSent?.())
  }

  responseStarted(): void {
    const { onResponseStarted } = this.#handler
    if (!this.#over && onResponseStarted !== undefined) this.#step(() => onResponseStarted.call(this.#handler))
  }

  /** Heads of attempts, one of which becomes the answer. */
  readonly #rawOf = new WeakMap<ReceivedHeaders, unknown>()

  #head(status: number, statusText: string, headers: ReceivedHeaders, body: ResponseBody): ResponseBody {
    this.#body = body
    this.#answered = true
    this.#stopTimer()
    if (this.#over) {
      body.cancel(this.#reason)
      return body
    }
    this.rawHeaders = ownRaw(this.#rawOf.get(headers), headers)
    this.#step(() => this.#handler.onResponseStart?.(this, status, visible(headers), statusText))
    return body
  }

  /** From here on, the connection is the handler's. */
  #upgraded(status: number, headers: ReceivedHeaders, raw: unknown, socket: UpgradedSocket): undefined {
    this.#stopTimer()
    if (this.#over) {
      socket.destroy()
      return
    }
    this.#over = true
    this.#socket = socket
    this.rawHeaders = ownRaw(raw, headers)
    this.#keeper.ended(this)
    try {
      this.#inContext(() => this.#handler.onRequestUpgrade?.(this, status, visible(headers), socket))
    } catch (error) {
      socket.destroy()
      this.#tell(error)
    }
  }

  async #pump(body: ResponseBody | undefined): Promise<void> {
    if (body === undefined) return
    try {
      for (;;) {
        while (this.#paused && !this.#over) await this.#resumed()
        if (this.#over) return
        const chunk = await this.#read(body)
        if (this.#over) return
        if (chunk === undefined) break
        this.#step(() => this.#handler.onResponseData?.(this, chunk))
      }
    } catch (error) {
      this.#fail(error)
      return
    }
    this.#end(visible(body.trailers ?? {}))
  }

  #read(body: ResponseBody): Promise<Buffer | undefined> {
    const { bodyTimeoutMs } = this.#request
    if (bodyTimeoutMs === 0) return body.read()
    this.#rearm(bodyTimeoutMs, noData)
    return body.read().finally(() => this.#stopTimer())
  }

  #end(trailers: Record<string, string | string[] | undefined>): void {
    this.rawTrailers = rawHeaders(trailers)
    this.#over = true
    this.#keeper.ended(this)
    try {
      this.#inContext(() => this.#handler.onResponseEnd?.(this, trailers))
    } catch (error) {
      this.#tell(error)
    }
  }

  /** Reports the one error and ends everything that still runs. */
  #fail(error: unknown): void {
    if (this.#over) return
    this.#over = true
    this.#stopTimer()
    this.#call.cancel(error)
    this.#body?.cancel(error)
    this.#wake()
    this.#keeper.ended(this)
    this.#tell(error)
  }

  /** @internal */
  tooSlow(): void {
    this.#timer = undefined
    const { BodyTimeoutError, HeadersTimeoutError } = undici().errors
    this.#fail(this.#answered ? new BodyTimeoutError() : new HeadersTimeoutError())
  }

  /** @internal The dispatcher is destroyed. */
  destroy(error: Error): void {
    this.#fail(error)
  }

  #tell(error: unknown): void {
    try {
      this.#inContext(() => this.#handler.onResponseError?.(this, error as Error))
    } catch (thrown) {
      this.#keeper.threw(thrown)
    }
  }

  /** An error thrown by a handler ends its request, as in undici. */
  #step(step: () => void): void {
    try {
      this.#inContext(step)
    } catch (error) {
      this.#fail(error)
    }
  }

  #resumed(): Promise<void> {
    return new Promise((resolve) => {
      this.#resume = resolve
    })
  }

  #wake(): void {
    const resume = this.#resume
    this.#resume = undefined
    resume?.()
  }

  #rearm(ms: number, fire: (exchange: DispatchCall) => void): void {
    this.#stopTimer()
    this.#timer = this.#call.stack.clock.startTimer(ms, fire, this)
  }

  #stopTimer(): void {
    if (this.#timer !== undefined) this.#call.stack.clock.stopTimer(this.#timer)
    this.#timer = undefined
  }
}

function noHead(exchange: DispatchCall): void {
  exchange.tooSlow()
}

function noData(exchange: DispatchCall): void {
  exchange.tooSlow()
}

/** Headers of the mesh concern only two neighbours and stay hidden. */
function visible(headers: ReceivedHeaders): Record<string, string | string[] | undefined> {
  const seen: Record<string, string | string[] | undefined> = {}
  for (const name of Object.keys(headers)) {
    if (name.startsWith(PREFIX)) continue
    // A header may be called `__proto__`.
    Object.defineProperty(seen, name, { value: headers[name], enumerable: true, writable: true, configurable: true })
  }
  return seen
}

/** As it was on the wire, in its own case. */
function ownRaw(raw: unknown, headers: ReceivedHeaders): Buffer[] {
  if (!Array.isArray(raw)) return rawHeaders(visible(headers))
  const own: Buffer[] = []
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = Buffer.from(raw[i] as Buffer)
    if (!name.toString('latin1').toLowerCase().startsWith(PREFIX)) own.push(name, Buffer.from(raw[i + 1] as Buffer))
  }
  return own
}
