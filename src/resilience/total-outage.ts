/**
 * Recognizes the end of a total outage: no endpoint could be connected to, and one answers. The
 * others have most likely come back with it, so their holds end, too.
 */
import type { Endpoint } from '../core/endpoint.ts'

export class TotalOutage {
  #endedAt = Number.NEGATIVE_INFINITY
  #first: Endpoint | undefined
  /** Another endpoint came back besides the first. */
  #proved = true

  /**
   * `first` answers. `false`: the last end was in vain less than `restMs` ago, so one endpoint that
   * comes and goes does not lead calls to dead ones again and again.
   */
  ends(first: Endpoint, now: number, restMs: number): boolean {
    if (!this.#proved && now < this.#endedAt + restMs) return false
    this.#first = first
    this.#endedAt = now
    this.#proved = false
    return true
  }

  restored(endpoint: Endpoint): void {
    if (endpoint !== this.#first) this.#proved = true
  }
}
