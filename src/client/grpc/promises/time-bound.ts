/**
 * Ends a promise at its timeout or abort while an interceptor holds it and no call of the mesh runs
 * for it: one that waits before its next call would otherwise be the only one to hear of it. Made
 * only for clients that have interceptors.
 */
import type * as grpc from '@grpc/grpc-js'
import type { Clock, Timer } from '../../../core/clock.ts'
import { MeshError } from '../../../core/errors.ts'
import { grpcStatusOf } from '../../../core/status.ts'
import { leaveSignal } from '../../call-options.ts'
import type { GrpcCallSettings } from './call-settings.ts'

/** What the errors of one client need. */
export interface BoundHost {
  readonly service: string
  readonly clock: Clock
  readonly status: typeof grpc.status
  readonly Metadata: new () => grpc.Metadata
}

/**
 * A call that runs ends by itself, a little later than its timeout at times: the stalls of our loop
 * are given back.
 */
const LOOK_MS = 20

export class PromiseBound {
  readonly #host: BoundHost
  readonly #settings: GrpcCallSettings
  readonly #method: string
  readonly #startedAt: number
  readonly #end: (error: grpc.ServiceError) => void
  #timer: Timer | undefined = undefined
  #over = false

  /** `end`: rejects the promise and lets its call go. */
  constructor(host: BoundHost, settings: GrpcCallSettings, method: string, end: (error: grpc.ServiceError) => void) {
    this.#host = host
    this.#settings = settings
    this.#method = method
    this.#end = end
    const { clock } = host
    const { signal, timeoutMs } = settings
    this.#startedAt = clock.now()
    if (timeoutMs !== Number.POSITIVE_INFINITY) this.#timer = clock.startTimer(timeoutMs + LOOK_MS, late, this)
    if (signal?.aborted === true) this.handleEvent()
    else signal?.addEventListener('abort', this)
  }

  /** The promise is settled. */
  settled(): void {
    if (this.#over) return
    this.#over = true
    if (this.#timer !== undefined) this.#host.clock.stopTimer(this.#timer)
    leaveSignal(this.#settings.signal, this)
  }

  /** The signal fired. A call that runs tells the interceptors of it first. */
  handleEvent(): void {
    setImmediate(() => this.#close('cancelled', 'was cancelled', this.#settings.signal?.reason))
  }

  /** @internal */
  late(): void {
    if (this.#settings.running > 0) this.#timer = this.#host.clock.startTimer(LOOK_MS, late, this)
    else setImmediate(() => this.#close('deadline-exceeded', `did not end within ${this.#settings.timeoutMs} ms`))
  }

  #close(code: 'cancelled' | 'deadline-exceeded', what: string, reason?: unknown): void {
    if (this.#over) return
    this.settled()
    const { service, clock, status, Metadata } = this.#host
    const details = `${this.#method} to '${service}' ${what} while an interceptor held it`
    const elapsedMs = clock.now() - this.#startedAt
    const sent = this.#settings.sent
    const cause = new MeshError(details, { code, service, method: this.#method, elapsedMs, sent, cause: reason })
    const number = grpcStatusOf(code)
    const error = new Error(`${number} ${status[number]}: ${details}`, { cause })
    this.#end(Object.assign(error, { code: number, details, metadata: new Metadata() }))
  }
}

function late(bound: PromiseBound): void {
  bound.late()
}
