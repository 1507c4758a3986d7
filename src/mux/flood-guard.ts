/**
 * Counts what a peer sends beside its calls: streams reset early, PINGs, and frames that carry
 * nothing. The limits are those of HTTP/2 listeners (`net/http2-flood-guard.ts`).
 */
import { FLOOD_LIMITS, type FloodLimits } from './limits.ts'

/** The names are those of HTTP/2 floods. */
export type FloodReason = 'rapid-reset' | 'ping-flood' | 'frame-flood'

/** Counts of half a window. */
class Counts {
  resets = 0
  lateResets = 0
  served = 0
  pings = 0
  frames = 0
  /** What our frames had caused when it began. */
  caused = 0

  begin(caused: number): void {
    this.resets = this.lateResets = this.served = this.pings = this.frames = 0
    this.caused = caused
  }
}

/** One per session. Each method returns why it is a flood, or `undefined`. */
export class FloodGuard {
  readonly #limits: FloodLimits
  #now = new Counts()
  #before = new Counts()
  #beganAt: number

  readonly #caused: () => number

  /** `caused`: how many frames the peer may have sent because of ours, since the beginning. */
  constructor(now: number, caused: () => number, limits: FloodLimits = FLOOD_LIMITS) {
    this.#beganAt = now
    this.#caused = caused
    this.#limits = limits
  }

  /** Starts the next half of the window if this one is over. */
  turn(now: number): void {
    const passed = now - this.#beganAt
    const { windowMs } = this.#limits
    if (passed < windowMs / 2) return
    const over = this.#before
    this.#before = this.#now
    this.#now = over
    const caused = this.#caused()
    this.#now.begin(caused)
    if (passed >= windowMs) this.#before.begin(caused)
    this.#beganAt = now
  }

  /** A call was answered. */
  served(): void {
    this.#now.served += 1
  }

  /**
   * A stream ended before it was answered, by a RESET of either side that the peer has caused.
   */
  reset(livedMs: number): FloodReason | undefined {
    const { youngMs, instantMs, resets, lateResets } = this.#limits
    if (livedMs >= youngMs) return undefined
    if (livedMs < instantMs) this.#now.resets += 1
    else this.#now.lateResets += 1
    const served = this.#now.served + this.#before.served
    const instant = this.#now.resets + this.#before.resets - served
    const late = this.#now.lateResets + this.#before.lateResets - served
    return instant > resets || late > lateResets ? 'rapid-reset' : undefined
  }

  ping(): FloodReason | undefined {
    this.#now.pings += 1
    return this.#now.pings + this.#before.pings > this.#limits.pings ? 'ping-flood' : this.frame()
  }

  /** A frame that moves no call: WINDOW, RESET, empty DATA, an informational head. */
  frame(): FloodReason | undefined {
    this.#now.frames += 1
    const frames = this.#now.frames + this.#before.frames
    if (frames <= this.#limits.frames) return undefined
    return frames - (this.#caused() - this.#before.caused) > this.#limits.frames ? 'frame-flood' : undefined
  }
}
