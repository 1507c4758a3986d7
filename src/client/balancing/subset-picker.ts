/**
 * Picks from the client's subset. While more than half of it is out, the subset doubles, and it
 * shrinks again after recovery.
 */
import type { Call } from '../../core/call.ts'
import type { Clock } from '../../core/clock.ts'
import type { Endpoint } from '../../core/endpoint.ts'
import type { Picker } from '../../core/picker.ts'
import type { ClusterHealth } from '../../resilience/cluster-health.ts'
import type { Ranking } from './subset.ts'

/** The share of endpoints in use that may be out. */
const MOST_OUT = 0.5
/** How often a subset that has been extended looks whether it needs the others still. */
const LOOK_EVERY_MS = 100

export type InUseListener = (inUse: readonly Endpoint[]) => void

export class SubsetPicker implements Picker {
  readonly #ranking: Ranking
  readonly #own: readonly Endpoint[]
  readonly #pickerOf: (endpoints: readonly Endpoint[]) => Picker
  readonly #health: ClusterHealth | undefined
  readonly #clock: Clock
  readonly #onInUse: InUseListener | undefined
  #used: readonly Endpoint[]
  #picker: Picker
  #lookedAt = 0

  /** `onInUse`: notified when a pick has changed the endpoints in use. */
  constructor(
    ranking: Ranking,
    size: number,
    pickerOf: (endpoints: readonly Endpoint[]) => Picker,
    health: ClusterHealth | undefined,
    clock: Clock,
    onInUse: InUseListener | undefined,
  ) {
    this.#ranking = ranking
    this.#own = ranking.first(size)
    this.#pickerOf = pickerOf
    this.#health = health
    this.#clock = clock
    this.#onInUse = onInUse
    // The endpoints may have changed in the middle of an outage.
    this.#used = this.#needed()
    this.#picker = pickerOf(this.#used)
  }

  get inUse(): readonly Endpoint[] {
    return this.#used
  }

  pick(call: Call, now?: number): Endpoint | undefined {
    const used = this.#used
    const out = this.#health?.ejected ?? 0
    if (out > used.length * MOST_OUT && used.length < this.#ranking.size) this.#fit()
    else if (used !== this.#own) this.#lookAgain(now)
    return this.#picker.pick(call, now)
  }

  #lookAgain(now = this.#clock.now()): void {
    if (now - this.#lookedAt < LOOK_EVERY_MS) return
    this.#lookedAt = now
    this.#fit()
  }

  #fit(): void {
    const needed = this.#needed()
    if (needed.length === this.#used.length) return
    this.#used = needed
    this.#lookedAt = this.#clock.now()
    this.#picker = this.#pickerOf(needed)
    this.#onInUse?.(needed)
  }

  #needed(): readonly Endpoint[] {
    let endpoints = this.#own
    while (endpoints.length < this.#ranking.size && isMostlyOut(endpoints)) {
      endpoints = this.#ranking.first(2 * endpoints.length)
    }
    return endpoints
  }
}

function isMostlyOut(endpoints: readonly Endpoint[]): boolean {
  const out = endpoints.reduce((count, { state }) => count + (state === 'healthy' ? 0 : 1), 0)
  return out > endpoints.length * MOST_OUT
}
