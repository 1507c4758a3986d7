/**
 * Deletes unused services, overrides and join tokens. A policy, a watcher or a recent loss keeps a
 * service.
 */
import type { Clock, Timer } from '../core/clock.ts'
import type { JoinTokens } from './access/tokens.ts'
import { KEYS } from './records.ts'
import type { ServiceEntry } from './service-entry.ts'
import { RECENT_LOSS_MS, type RegistryState } from './state.ts'
import type { Leadership, Operation } from './storage/storage.ts'
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
 * Services forgotten in one transaction: with all versions of their policies far below what one may
 * change.
 */
const MOST_AT_ONCE = 30
/** Overrides deleted in one transaction. */
const MOST_OVERRIDES_AT_ONCE = 500

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
  /** `undefined` while another registry leads. */
  #leadership: Leadership | undefined
  #closed = false

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
    this.#lead().catch(failed)
  }

  close(): void {
    this.#closed = true
    this.#clock.stopTimer(this.#timer)
    this.#leadership?.resign().catch(this.#failed)
  }

  /** Of several registries on a store, one deletes. */
  async #lead(): Promise<void> {
    while (!this.#closed) {
      const leadership = await this.#state.campaign(ELECTION)
      this.#leadership = leadership
      if (this.#closed) await leadership.resign()
      await leadership.lost
      this.#leadership = undefined
    }
  }

  #next(): Timer {
    const look = (): void => {
      this.#timer = this.#next()
      if (this.#leadership === undefined) return
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
      await this.#state.write(some.map((key) => ({ key, value: undefined })))
    }
    for (let i = 0; i < over.length; i += MOST_AT_ONCE) {
      const some = over.slice(i, i + MOST_AT_ONCE)
      const { revision } = await this.#state.write(some.flatMap(operationsOf))
      for (const { name } of some) if (this.#state.service(name) === undefined) this.#hub.forget(name, revision)
    }
    await this.#tokens.forget()
  }

  #isEmpty({ name, instances, overrides, policy, lostAt }: ServiceEntry): boolean {
    const now = this.#clock.wallNow()
    if (instances.size > 0 || this.#hub.isWatched(name)) return false
    if (policy !== null && (policy.document !== null || now - policy.at < HISTORY_MS)) return false
    for (const { at } of overrides.values()) if (now - at < OVERRIDE_MS) return false
    return lostAt === 0 || Math.abs(now - lostAt) > RECENT_LOSS_MS
  }
}

function operationsOf({ name, versions }: ServiceEntry): Operation[] {
  const keys = [...versions.map(({ version }) => KEYS.version(name, version)), KEYS.policy(name), KEYS.service(name)]
  return keys.map((key) => ({ key, value: undefined }))
}
