/**
 * What the promises add to one call. It travels as grpc-js's `propagate_flags`, the one call option
 * that interceptors hand on and that means nothing without `parent`; so it also reaches a call that
 * an interceptor makes anew.
 */

/** The number that grpc-js itself has for `propagate_flags` by default. */
export const PROPAGATE_DEFAULTS = 0xffff

export class GrpcCallSettings extends Number {
  /** Of all calls that interceptors make of this one. */
  timeoutMs = Number.POSITIVE_INFINITY
  signal: AbortSignal | undefined = undefined
  idempotent: boolean | undefined = undefined
  /** One attempt only. */
  once = false
  key: string | undefined = undefined
  /** Calls made for it that have not ended. */
  running = 0
  /** Whether a peer may have acted on any of them. */
  sent = false
  #deadlineAt: number | undefined = undefined

  constructor() {
    super(PROPAGATE_DEFAULTS)
  }

  /** What is left of the timeout, which begins with the first call. */
  leftMs(now: number): number {
    this.#deadlineAt ??= now + this.timeoutMs
    return this.#deadlineAt - now
  }
}
