/** One tap in a process: takes the calls that match, as far as its rate allows, and sends them. */
import type { Clock, Timer } from '../../core/clock.ts'
import type { Side } from '../call-metrics.ts'
import type { MeshEvents } from '../events.ts'
import { OUTSIDE } from '../traffic/traffic-message.ts'
import { describeTap } from './describe-tap.ts'
import { statusMatches } from './status-match.ts'
import { TAP_LIMITS, type TapMessage, type TappedCall, type TappedMessage } from './tap-message.ts'
import { type EndedCall, pathOf, statusOf, tappedCall } from './tapped-call.ts'

/** From the first call of a batch until it is sent. */
const BATCH_MS = 250

/** The session with the registry that asked. */
export interface TapSession {
  /** It stands, and its stream is not full. */
  readonly isReady: boolean
  send(message: TappedMessage): void
}

export interface TapParts {
  readonly clock: Clock
  /** Our own. */
  readonly service: string
  readonly session: TapSession
  /** Compares a path with that of the filter. */
  readonly pathHolds: (path: string) => boolean
  /** Its time is over. */
  readonly over: (tap: Tap) => void
}

export class Tap {
  readonly id: string
  readonly #asked: TapMessage
  readonly #parts: TapParts
  readonly #end: Timer
  #waiting: TappedCall[] = []
  /** Since the last message. */
  #left = 0
  /** Calls that were sent, and those that matched and were not. */
  #sums = { shown: 0, left: 0 }
  #timer: Timer | undefined
  /** Of the token bucket, which holds the calls of one second. */
  #tokens: number
  #filledAt: number

  constructor(asked: TapMessage, parts: TapParts) {
    this.id = asked.tap
    this.#asked = asked
    this.#parts = parts
    this.#tokens = asked.perSecond
    this.#filledAt = parts.clock.now()
    this.#end = parts.clock.startBackgroundTimer(asked.forMs, () => parts.over(this), undefined)
  }

  take(ended: EndedCall): void {
    if (!this.#matches(ended)) return
    if (this.#waiting.length >= TAP_LIMITS.waiting || !this.#pays(ended.endedAt)) this.#left += 1
    else this.#waiting.push(tappedCall(ended, this.#asked.headers))
    this.#timer ??= this.#parts.clock.startBackgroundTimer(BATCH_MS, () => this.#send(), undefined)
  }

  /** Sends what waits, and takes no more. @returns the payload of its last event */
  close(): MeshEvents['tap:ended'] {
    const { clock } = this.#parts
    clock.stopTimer(this.#end)
    if (this.#timer !== undefined) {
      clock.stopTimer(this.#timer)
      this.#send()
      if (this.#timer !== undefined) clock.stopTimer(this.#timer)
    }
    const { shown, left } = this.#sums
    return { ...this.#named, shown, left: left + this.#left + this.#waiting.length }
  }

  /** The payload of its first event. */
  get began(): MeshEvents['tap:began'] {
    return { ...this.#named, filter: describeTap(this.#asked), forMs: this.#asked.forMs }
  }

  get #named() {
    const { tap, service, by } = this.#asked
    return { tap, peer: service, ...(by !== undefined && { by }) }
  }

  #matches({ side, call, outcome, details }: EndedCall): boolean {
    const { service, from, method, path, statuses } = this.#asked
    if (!this.#concerns(side, service, from, call)) return false
    if (method !== undefined && call.kind.method !== method) return false
    if (!statusMatches(statuses, statusOf(call, outcome, details))) return false
    if (path === undefined) return true
    const given = pathOf(call, details)
    return given !== undefined && this.#parts.pathHolds(given)
  }

  #concerns(side: Side, service: string, from: string | undefined, call: EndedCall['call']): boolean {
    // Callers of the mesh tell of their calls themselves.
    if (side === 'server') return call.outside && service === this.#parts.service && (from ?? OUTSIDE) === OUTSIDE
    if (from !== undefined && from !== this.#parts.service) return false
    return call.kind.service === service || call.endpoint?.service === service
  }

  #pays(now: number): boolean {
    const { perSecond } = this.#asked
    this.#tokens = Math.min(perSecond, this.#tokens + ((now - this.#filledAt) / 1_000) * perSecond)
    this.#filledAt = now
    if (this.#tokens < 1) return false
    this.#tokens -= 1
    return true
  }

  #send(): void {
    this.#timer = undefined
    const { clock, session } = this.#parts
    if (!session.isReady) {
      this.#timer = clock.startBackgroundTimer(BATCH_MS, () => this.#send(), undefined)
      return
    }
    const calls = this.#waiting.splice(0, TAP_LIMITS.batch)
    const left = this.#left
    this.#left = 0
    this.#sums.shown += calls.length
    this.#sums.left += left
    session.send({ type: 'tapped', tap: this.id, calls, ...(left > 0 && { left }) })
    if (this.#waiting.length > 0) this.#send()
  }
}
