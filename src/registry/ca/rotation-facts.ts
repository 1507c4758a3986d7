/** What is known for the next step of a rotation: acknowledgements, keys and lives. */
import type { Clock } from '../../core/clock.ts'
import { TOKEN_LIFE_MS } from '../../discovery/registry/wire.ts'
import { LEEWAY_MS } from '../../identity/jwt/svid.ts'
import type { RegistryState } from '../state.ts'
import type { RegistryAuthority } from './authority.ts'
import { AWAY_LEASES, isAcknowledged, isHeld, longestLife } from './progress.ts'
import type { Track } from './rotation-steps.ts'
import type { Facts, Succession } from './succession.ts'

/**
 * A verifier outside of the mesh asks for an unknown key at most every 30 s (jose's default), so a
 * key is published for longer before it signs.
 */
const LEAST_PUBLISHED_MS = { certificates: 0, tokens: 35_000 } as const

/** A token ends no later than the certificate that it was asked with. */
export function tokenLifeOf(certificateLifeMs: number): number {
  return Math.min(TOKEN_LIFE_MS.most, certificateLifeMs) + LEEWAY_MS
}

export class RotationFacts {
  readonly #state: RegistryState
  readonly #authority: RegistryAuthority
  readonly #clock: Clock
  readonly #awayMs: number
  readonly #stop: () => void
  #known: ReadonlySet<string> = new Set()
  /** Monotonic: processes of a registry that vanished may be on their way to another. */
  #unsettledUntil = Number.NEGATIVE_INFINITY

  constructor(state: RegistryState, authority: RegistryAuthority, clock: Clock, leaseMs: number) {
    this.#state = state
    this.#authority = authority
    this.#clock = clock
    this.#awayMs = AWAY_LEASES * leaseMs
    this.#stop = state.trust.onChange(() => this.#look())
    this.#look()
  }

  close(): void {
    this.#stop()
  }

  of(track: Track, succession: Succession, waitedMs: number): Facts {
    const all = [...this.#state.trust.progress.values()]
    const lifeMs = longestLife(all, this.#authority.certificateLifeMs)
    const settled = this.#clock.now() >= this.#unsettledUntil
    const { next, sequence } = succession
    return {
      waitedMs,
      acknowledged: settled && isAcknowledged(all, sequence),
      // Token keys are in the store.
      held: track === 'tokens' || next === undefined || isHeld(all, next),
      forced: false,
      leastMs: LEAST_PUBLISHED_MS[track],
      lifeMs: track === 'tokens' ? tokenLifeOf(lifeMs) : lifeMs,
      // A registry with the store to itself is never without it.
      cutOffMs: this.#state.store.status().engine === 'etcd' ? lifeMs : 0,
    }
  }

  #look(): void {
    const known = new Set(this.#state.trust.progress.keys())
    if ([...this.#known].some((id) => !known.has(id))) this.#unsettledUntil = this.#clock.now() + this.#awayMs
    this.#known = known
  }
}
