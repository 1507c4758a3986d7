/**
 * Deletes unused services, overrides, join tokens, and the histories of manifests that are gone. A
 * policy, a manifest, a watcher or a recent loss keeps a service.
 */
import type { Clock, Timer } from '../core/clock.ts'
import type { JoinTokens } from './access/tokens.ts'
import { Candidate } from './fleet/candidate.ts'
import type { WatchedRecord } from './fleet/fleet-records.ts'
import type { Publication } from './fleet/publication.ts'
import { KEYS } from './records.ts'
import type { ServiceEntry } from './service-entry.ts'
import { RECENT_LOSS_MS, type RegistryState } from './state.ts'
import { MOST_COMPARES } from './storage/storage.ts'
import type { WatchHub } from './watch/hub.ts'

/** A deleted policy's history is kept for so long, for a rollback. */
const HISTORY_MS = 7 * 86_400_000
/**
 * What an operator decided about an instance outlives the last instance of its service for so long.
 */
const OVERRIDE_MS = 86_400_000
/** A service goes at the second or third look that finds it empty and unchanged. */
const LONGEST_PAUSE_MS = 60_000
/** Services forgotten in one transaction: each needs three compares. */
const MOST_AT_ONCE = Math.floor(MOST_COMPARES / 3)
/** Overrides deleted in one transaction, with a compare each and one of their service. */
const MOST_OVERRIDES_AT_ONCE = MOST_COMPARES - 1

/** The name under which registries elect the one that deletes. */
const ELECTION = 'housekeeping'

export class Housekeeping {
  readonly #state: RegistryState
  readonly #hub: WatchHub
  readonly #tokens: JoinTokens
  readonly #clock: Clock
  readonly #everyMs: number
  readonly #failed: (error: unknown) => void
  /** Empty at the last look, with their revisions then, and for how many looks. */
  #empty = new Map<string, { readonly revision: number; readonly looks: number }>()
  readonly #watched: Publication | undefined
  #timer: Timer
  /** Of several registries on a store, one deletes. */
  readonly #candidate: Candidate

  /** `failed` gets the error of a store that cannot be written; the next look tries again. */
  constructor(
    parts: { state: RegistryState; hub: WatchHub; tokens: JoinTokens; clock: Clock; watched?: Publication },
    leaseMs: number,
    failed: (error: unknown) => void,
  ) {
    this.#state = parts.state
    this.#hub = parts.hub
    this.#tokens = parts.tokens
    this.#clock = parts.clock
    this.#watched = parts.watched
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
      const unused = this.#unused()
      this.#tellWatched(unused)
      if (this.#candidate.leads) this.#look(unused).catch(this.#failed)
    }
    return this.#clock.startBackgroundTimer(this.#everyMs, look, undefined)
  }

  async #look(unused: readonly ServiceEntry[]): Promise<void> {
    const before = this.#empty
    const watched = new Set([...this.#state.fleet.watched.values()].flatMap(({ services }) => services))
    const empty = unused.filter(({ name }) => !this.#hub.isWatched(name) && !watched.has(name))
    this.#empty = new Map(
      empty.map(({ name, revision }) => {
        const last = before.get(name)
        return [name, { revision, looks: last?.revision === revision ? last.looks + 1 : 1 }]
      }),
    )
    // Other registries tell by the third look what is watched there.
    const enough = this.#state.fleet.registries.size > 1 ? 3 : 2
    const over = empty.filter(({ name }) => this.#empty.get(name)!.looks >= enough)
    for (const service of over) await this.#deleteOverrides(service)
    for (let i = 0; i < over.length; i += MOST_AT_ONCE) {
      const some = over.slice(i, i + MOST_AT_ONCE)
      await this.#delete(some.flatMap(keysOf), some.flatMap(decidingKeysOf), some)
    }
    await this.#forgetManifests()
    await this.#tokens.forget()
  }

  /** Those that were deleted long ago. */
  async #forgetManifests(): Promise<void> {
    const now = this.#clock.wallNow()
    const gone = [...this.#state.manifests.entries].filter(
      ([, { record }]) => record?.document === null && now - record.at >= HISTORY_MS,
    )
    for (const [id, { versions }] of gone) {
      const keys = versions.map(({ version }) => KEYS.manifestVersion(id, version))
      await this.#delete([KEYS.manifest(id), ...keys], [KEYS.manifest(id)], [])
    }
  }

  async #deleteOverrides(service: ServiceEntry): Promise<void> {
    const keys = [...service.overrides.keys()].map((address) => KEYS.override(service.name, address))
    for (let i = 0; i < keys.length; i += MOST_OVERRIDES_AT_ONCE) {
      const some = keys.slice(i, i + MOST_OVERRIDES_AT_ONCE)
      await this.#delete(some, some, [service])
    }
  }

  /**
   * Unless another registry wrote one of `unchanged`, or an instance of `without`, in between; the
   * next look judges anew.
   */
  async #delete(
    keys: readonly string[],
    unchanged: readonly string[],
    without: readonly ServiceEntry[],
  ): Promise<void> {
    const { revision } = this.#state
    await this.#state.write(
      keys.map((key) => ({ key, value: undefined })),
      [
        ...unchanged.map((key) => ({ key, revision: this.#state.revisionOf(key) })),
        ...without.map(({ name }) => ({ prefix: KEYS.instances(name), unchangedSince: revision })),
      ],
    )
  }

  /** So that no other registry forgets a service that is watched here. */
  #tellWatched(unused: readonly ServiceEntry[]): void {
    const alone = this.#state.fleet.registries.size < 2
    const services = alone ? [] : unused.map(({ name }) => name).filter((name) => this.#hub.isWatched(name))
    const record: WatchedRecord = { services: services.sort() }
    this.#watched?.set(services.length === 0 ? undefined : record)
  }

  /** Without instances, a policy, manifests, a recent loss and recent overrides. */
  #unused(): ServiceEntry[] {
    const now = this.#clock.wallNow()
    return [...this.#state.services.values()].filter(({ name, instances, overrides, policy, lostAt }) => {
      if (instances.size > 0 || this.#state.manifests.of(name).length > 0) return false
      if (policy !== null && (policy.document !== null || now - policy.at < HISTORY_MS)) return false
      for (const { at } of overrides.values()) if (now - at < OVERRIDE_MS) return false
      return lostAt === 0 || Math.abs(now - lostAt) > RECENT_LOSS_MS
    })
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
