/**
 * This registry among those on its store: its announcements, its offices, and its conduct while the
 * store cannot be written.
 */

import type { Clock } from '../../core/clock.ts'
import { reasonOf } from '../../core/errors.ts'
import { VERSION } from '../../core/version.ts'
import { PROTOCOL } from '../../discovery/registry/wire.ts'
import type { Logger } from '../log.ts'
import { KEYS, LOCAL_REGISTRY } from '../records.ts'
import type { Registrar } from '../registrar.ts'
import type { Sessions } from '../sessions.ts'
import type { RegistryState } from '../state.ts'
import type { WatchHub } from '../watch/hub.ts'
import type { PeerAnswer } from './answer-checks.ts'
import { CutOff } from './cut-off.ts'
import type { RegistryRecord } from './fleet-records.ts'
import { type Credentials, Peers, type RegistryStatus } from './peers.ts'
import { Presence } from './presence.ts'
import { Publication, type PublicationHost } from './publication.ts'
import { Reaper } from './reaper.ts'
import { Sightings } from './sightings.ts'
import { silentRecord } from './silence.ts'

/** Between two writes of how many instances are silent, at most; a short lease has less. */
const SILENT_EVERY_MS = 1_000
const SEEN_EVERY_MS = 50
const WATCHED_EVERY_MS = 1_000
const DEMAND_EVERY_MS = 1_000
/** Of a question to another registry, and of its answer in bytes. */
const ASK_MS = 1_000
const LONGEST_ASKED = 16 * 1024 * 1024
/** What was published must not keep a registry from closing while the store is away. */
const CLOSE_MS = 1_000

export interface FleetParts {
  readonly state: RegistryState
  readonly hub: WatchHub
  readonly registrar: Registrar
  readonly clock: Clock
  readonly log: Logger
  readonly id: string
  readonly closing: () => boolean
  readonly credentials: () => Credentials | undefined
}

/** A registry in the list of all: `reachable: false` is known by what it announced only. */
export type ListedRegistry =
  | (RegistryStatus & { readonly reachable: true; readonly lag: number | null })
  | (RegistryRecord & { readonly reachable: false; readonly reason: string })

export class Fleet {
  readonly sightings: Sightings
  /** Services without instances that are watched here; others must not forget them. */
  readonly watched: Publication
  /** What processes here ask of the global rate limits of their services. */
  readonly demand: Publication
  /** By role, whether this registry was elected for it. */
  readonly roles = new Map<string, () => boolean>()
  readonly #parts: FleetParts
  readonly #peers: Peers
  readonly #presence: Presence
  readonly #reaper: Reaper
  readonly #silent: Publication
  readonly #seen: Publication
  readonly #cutOff: CutOff
  readonly #stopListening: () => void
  #sessions: Sessions | undefined

  constructor(parts: FleetParts) {
    const { state, hub, registrar, clock, log, id } = parts
    const { leases } = registrar
    this.#parts = parts
    const failed = (error: unknown): void => log.error({ reason: reasonOf(error) }, 'not published')
    const host: PublicationHost = { state, clock, failed }
    const record = { id, url: '', version: VERSION, protocol: PROTOCOL, startedAt: clock.wallNow(), sessions: 0 }
    this.#presence = new Presence(
      host,
      record,
      () => this.#sessions?.size ?? 0,
      () => this.#weigh(),
    )
    this.#silent = new Publication(host, KEYS.silent(id), Math.min(SILENT_EVERY_MS, leases.beatMs / 2))
    this.#seen = new Publication(host, KEYS.seen(id), SEEN_EVERY_MS)
    this.watched = new Publication(host, KEYS.watched(id), WATCHED_EVERY_MS)
    this.demand = new Publication(host, KEYS.demand(id), DEMAND_EVERY_MS)
    this.sightings = new Sightings({ state, hub, clock, id, publication: this.#seen, leaseMs: leases.leaseMs })
    this.#peers = new Peers(clock, parts.credentials)
    this.#reaper = new Reaper({ state, registrar, clock, log, id })
    this.roles.set('reaper', () => this.#reaper.leads)
    this.#cutOff = new CutOff({
      clock,
      log,
      peers: () => this.peers,
      isReady: (peer) =>
        this.#peers.ask(peer).then(
          ({ ready }) => ready,
          () => false,
        ),
      sendAway: () => this.#sessions?.sendAway(),
    })
    registrar.onSwept = (silent) => {
      this.#silent.set(this.peers.length === 0 ? undefined : silentRecord(silent))
    }
    this.#stopListening = state.store.onStatus(() => this.#weigh())
    // Of the last registries, whose watchers come back to this one.
    const isUsed = [...state.services.values()].some(({ instances }) => instances.size > 0)
    if (isUsed && this.peers.length === 0) hub.expectWatchers(leases.leaseMs)
    this.#weigh()
  }

  /** The other registries, as far as the store knows. */
  get id(): string {
    return this.#parts.id
  }

  get peers(): readonly RegistryRecord[] {
    return [...this.#parts.state.fleet.registries.values()].filter(({ id }) => id !== this.#parts.id)
  }

  /** How many share the store, this one included. */
  get size(): number {
    return this.peers.length + 1
  }

  /** Whether it was elected as the reaper. */
  get leads(): boolean {
    return this.#reaper.leads
  }

  /** Why this registry should get no session now; `undefined`: it may. */
  get refusal(): string | undefined {
    if (this.#parts.closing()) return 'closing'
    if (this.#isShared && this.#sessions === undefined) return 'starting'
    return this.#cutOff.isAway ? 'cut off from the store' : undefined
  }

  /** Why it is not ready; `undefined`: it is. */
  get reason(): string | undefined {
    const { writable, reason = 'the store cannot be written' } = this.#parts.state.store.status()
    if (this.#parts.closing()) return 'closing'
    if (this.#isShared && this.#sessions === undefined) return 'starting'
    return writable ? undefined : `degraded: ${reason}`
  }

  /** From now on it may hold sessions. @throws StorageError if it cannot be announced */
  async begin(url: string, sessions: Sessions): Promise<void> {
    await this.#presence.begin(url, this.#isShared)
    this.#sessions = sessions
    this.#weigh()
  }

  status(): RegistryStatus {
    const { state, hub, registrar } = this.#parts
    const { reason } = this
    return {
      ...this.#presence.record,
      roles: [...this.roles].filter(([, leads]) => leads()).map(([role]) => role),
      epoch: state.epoch,
      revision: state.revision,
      watchers: hub.watchers,
      leases: registrar.leases.size,
      ready: reason === undefined,
      ...(reason !== undefined && { reason }),
    }
  }

  /**
   * All registries, each asked directly. `lag`: in revisions behind what another one knew before it
   * answered; `null` in another epoch.
   */
  async list(): Promise<ListedRegistry[]> {
    const { epoch, revision } = this.#parts.state
    const lagOf = (one: RegistryStatus, known: number): number | null =>
      one.epoch === epoch ? Math.max(0, known - one.revision) : null
    const peers = await Promise.all(
      this.peers.map(async (peer): Promise<ListedRegistry> => {
        try {
          const status = await this.#peers.ask(peer)
          return { ...status, reachable: true, lag: lagOf(status, revision) }
        } catch (error) {
          return { ...peer, reachable: false, reason: reasonOf(error) }
        }
      }),
    )
    const newest = Math.max(0, ...peers.map((one) => (one.reachable && one.epoch === epoch ? one.revision : 0)))
    const own = this.status()
    return [...peers, { ...own, reachable: true as const, lag: lagOf(own, newest) }].sort(
      (a, b) => a.startedAt - b.startedAt || (a.id < b.id ? -1 : 1),
    )
  }

  /** Asks all other registries at once, each for a second at most. Never rejects. */
  async askPeers(path: string): Promise<PeerAnswer[]> {
    return await Promise.all(
      this.peers.map(async (peer): Promise<PeerAnswer> => {
        const registry = peer.id
        try {
          return { registry, body: await this.#peers.get(peer, path, ASK_MS, LONGEST_ASKED), reason: '' }
        } catch (error) {
          return { registry, body: undefined, reason: reasonOf(error) }
        }
      }),
    )
  }

  async close(): Promise<void> {
    const { clock } = this.#parts
    this.#stopListening()
    this.#cutOff.close()
    this.#peers.close()
    this.#reaper.close()
    this.sightings.close()
    const ended = [this.#silent, this.#seen, this.watched, this.demand, this.#presence].map((one) => one.close())
    const { promise: late, resolve } = Promise.withResolvers<void>()
    const timer = clock.startTimer(CLOSE_MS, () => resolve(), undefined)
    await Promise.race([Promise.all(ended), late])
    clock.stopTimer(timer)
  }

  /** Whether other registries may be on the store. */
  get #isShared(): boolean {
    return this.#parts.id !== LOCAL_REGISTRY
  }

  /** Leases run only while others know of us, and what expires can be written. */
  #weigh(): void {
    const { state, registrar } = this.#parts
    const { writable } = state.store.status()
    this.#cutOff.setWritable(writable || !this.#isShared)
    if (writable) this.#presence.retry()
    if (writable && (!this.#isShared || this.#presence.isAnnounced)) registrar.leases.resume()
    else registrar.leases.suspend()
  }
}
