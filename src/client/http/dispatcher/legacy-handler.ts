/**
 * Adapts handlers of undici 7 and older, which Node 20 to 24 use in `fetch`, to undici 8. Each old
 * callback maps to its replacement.
 */
import type { Dispatcher } from 'undici'

/** What undici 6 and 7 call a dispatch handler. */
export interface LegacyHandler {
  onConnect?(abort: (reason?: Error) => void, context: unknown): void
  /** `false`: no data until `resume` is called. */
  onHeaders?(status: number, rawHeaders: Buffer[], resume: () => void, statusText: string): boolean | void
  onData?(chunk: Buffer): boolean | void
  onComplete?(rawTrailers: Buffer[]): void
  onError?(error: Error): void
  onUpgrade?(status: number, rawHeaders: Buffer[], socket: unknown): void
  onBodySent?(chunk: Buffer): void
  onRequestSent?(): void
  onResponseStarted?(): void
}

/** Whether `handler` has undici 7's callbacks only. */
export function isLegacy(handler: object): handler is LegacyHandler {
  return !('onRequestStart' in handler) && ('onConnect' in handler || 'onError' in handler)
}

/** undici 8's handler over an old one. */
export class LegacyAdapter implements Dispatcher.DispatchHandler {
  readonly #handler: LegacyHandler

  constructor(handler: LegacyHandler) {
    this.#handler = handler
  }

  onRequestStart(controller: Dispatcher.DispatchController, context: unknown): void {
    this.#handler.onConnect?.((reason) => controller.abort(reason as Error), context)
  }

  onRequestUpgrade(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
    socket: unknown,
  ): void {
    this.#handler.onUpgrade?.(status, rawOf(controller.rawHeaders, headers), socket)
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
    statusText = '',
  ): void {
    const resume = (): void => controller.resume()
    const goOn = this.#handler.onHeaders?.(status, rawOf(controller.rawHeaders, headers), resume, statusText)
    if (goOn === false && status >= 200) controller.pause()
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#handler.onData?.(chunk) === false) controller.pause()
  }

  onResponseEnd(
    controller: Dispatcher.DispatchController,
    trailers: Record<string, string | string[] | undefined>,
  ): void {
    this.#handler.onComplete?.(rawOf(controller.rawTrailers, trailers))
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    if (this.#handler.onError === undefined) throw error
    this.#handler.onError(error)
  }

  onBodySent(chunk: Buffer): void {
    this.#handler.onBodySent?.(chunk)
  }

  onRequestSent(): void {
    this.#handler.onRequestSent?.()
  }

  onResponseStarted(): void {
    this.#handler.onResponseStarted?.()
  }
}

function rawOf(
  raw: Buffer[] | string[] | Record<string, unknown> | null | undefined,
  parsed: Record<string, string | string[] | undefined> | undefined,
): Buffer[] {
  if (!Array.isArray(raw)) return rawHeaders(parsed ?? {})
  return raw.map((part) => (typeof part === 'string' ? Buffer.from(part, 'latin1') : part))
}

/** Parsed headers as the flat list of bytes that they were on the wire. */
export function rawHeaders(headers: Readonly<Record<string, string | readonly string[] | undefined>>): Buffer[] {
  const raw: Buffer[] = []
  for (const name of Object.keys(headers)) {
    const value = headers[name]
    if (value === undefined) continue
    for (const one of typeof value === 'string' ? [value] : value) {
      raw.push(Buffer.from(name, 'latin1'), Buffer.from(one, 'latin1'))
    }
  }
  return raw
}
