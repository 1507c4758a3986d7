/**
 * Deletes unused services, overrides and join tokens. A policy, a watcher or a recent loss keeps a
 * service.
 */
import type { Clock, Timer } from '../core/clock.ts'
import type { JoinTokens } from './access/tokens.ts'
import { Candidate } from './fleet/candidate.ts'
import { KEYS } from './records.ts'
import type { ServiceEntry } from './service-entry.ts'
import { RECENT_LOSS_MS, type RegistryState } from './state.ts'
import type { WatchHub } from './watch/hub.ts'

/** A deleted policy's history is kept for so long, for a rollback. */
const HISTORY_MS = 7 * 86_400_000
/**
 * What an operator decided about an instance outlives the last instance of its service for so long.
 */
const OVERRIDE_MS = 86_400_000
/** A service goes at the second look that finds it empty and unchanged. */
const LONGEST_PAUSE_MS = 60_000
/**
 * Services forgotten and overrides deleted in one transaction: with two compares a service, as many
 * as one may have.
 */
const MOST_AT_ONCE = 25
const MOST_OVERRIDES_AT_ONCE = 50

/** The name under which registries elect the one that deletes. */
const ELECTION = 'housekeeping'

export class Housekeeping {
  readonly #state: RegistryState
  readonly #hub: WatchHub
  readonly #tokens: JoinTokens
  readonly #clock: Clock
  readonly #everyMs: number
  readonly #failed: (error: unknown) => void
  /** Empty at the last look, with their revisions then. */
  #empty = new Map<string, number>()
  #timer: Timer
  /** Of several registries on a store, one deletes. */
  readonly #candidate: Candidate

  /** `failed` gets the error of a store that cannot be written; the next look tries again. */
  constructor(
    parts: { state: RegistryState; hub: WatchHub; tokens: JoinTokens; clock: Clock },
    leaseMs: number,
    failed: (error: unknown) => void,
  ) {
    this.#state = parts.state
    this.#hub = parts.hub
    this.#tokens = parts.tokens
    this.#clock = parts.clock
    this.#everyMs = Math.min(leaseMs, LONGEST_PAUSE_MS)
    this.#failed = failed
    this.#timer = this.#next()
    this.#candidate = new Candidate(parts.state, ELECTION, parts.clock, { elected() {}, deposed() {}, failed })
  }

  close(): void {
    this.#clock.stopTimer(this.#timer)
    this.#candidate.close()
  }

  #next(): Timer {
    const look = (): void => {
      this.#timer = this.#next()
      if (!this.#candidate.leads) return
      this.#look().catch(this.#failed)
    }
    return this.#clock.startBackgroundTimer(this.#everyMs, look, undefined)
  }

  async #look(): Promise<void> {
    const before = this.#empty
    const empty = [...this.#state.services.values()].filter((service) => this.#isEmpty(service))
    this.#empty = new Map(empty.map(({ name, revision }) => [name, revision]))
    const over = empty.filter(({ name, revision }) => before.get(name) === revision)
    const overrides = over.flatMap((service) =>
      [...service.overrides.keys()].map((address) => KEYS.override(service.name, address)),
    )
    for (let i = 0; i < overrides.length; i += MOST_OVERRIDES_AT_ONCE) {
      const some = overrides.slice(i, i + MOST_OVERRIDES_AT_ONCE)
      await this.#delete(some, some)
    }
    for (let i = 0; i < over.length; i += MOST_AT_ONCE) {
      const some = over.slice(i, i + MOST_AT_ONCE)
      await this.#delete(some.flatMap(keysOf), some.flatMap(decidingKeysOf))
    }
    await this.#tokens.forget()
  }

  /** Unless another registry wrote one of `unchanged` in between; the next look judges anew. */
  async #delete(keys: readonly string[], unchanged: readonly string[]): Promise<void> {
    const compares = unchanged.map((key) => ({ key, revision: this.#state.revisionOf(key) }))
    await this.#state.write(
      keys.map((key) => ({ key, value: undefined })),
      compares,
    )
  }

  #isEmpty({ name, instances, overrides, policy, lostAt }: ServiceEntry): boolean {
    const now = this.#clock.wallNow()
    if (instances.size > 0 || this.#hub.isWatched(name)) return false
    if (policy !== null && (policy.document !== null || now - policy.at < HISTORY_MS)) return false
    for (const { at } of overrides.values()) if (now - at < OVERRIDE_MS) return false
    return lostAt === 0 || Math.abs(now - lostAt) > RECENT_LOSS_MS
  }
}

function keysOf({ name, versions }: ServiceEntry): string[] {
  const history = versions.map(({ version }) => KEYS.version(name, version))
  return [...history, KEYS.policy(name), KEYS.loss(name), KEYS.service(name)]
}

/** One of them is written with whatever makes the service used again, or with its end. */
function decidingKeysOf({ name }: ServiceEntry): string[] {
  return [KEYS.policy(name), KEYS.service(name)]
}
