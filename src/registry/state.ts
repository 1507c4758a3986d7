/**
 * Everything the registry knows, in memory; reads and watches never touch the engine. A write is in
 * the state when it resolves.
 */
import type { Instance } from '../discovery/instance.ts'
import { TrustRecords } from './ca/trust-records.ts'
import { FleetRecords } from './fleet/fleet-records.ts'
import { ManifestRecords } from './manifests/manifest-records.ts'
import { ServedDocuments } from './manifests/served-documents.ts'
import {
  type AuditRecord,
  type InstanceRecord,
  type LossRecord,
  type OperatorRecord,
  type OverrideRecord,
  type PolicyRecord,
  type ServiceRecord,
  splitKey,
  type TokenRecord,
} from './records.ts'
import { RevisionWaits } from './revision-waits.ts'
import { type MutableService, type ServiceEntry, setInstance } from './service-entry.ts'
import type { Batch, Compare, Operation, Storage, TransactionResult } from './storage/storage.ts'
import { readRecord } from './storage/stored-record.ts'
import { parseInstance, type ServiceChange, serviceChanges } from './watch/service-change.ts'

/** Policy versions kept per service. */
export const VERSIONS_KEPT = 20
/** Audit records kept. */
export const AUDIT_KEPT = 1_000
/** A service that lost an instance within this time may not say that its short list is meant. */
export const RECENT_LOSS_MS = 600_000

export type { ServiceChange }

export interface StoredToken extends TokenRecord {
  readonly hash: string
  readonly revision: number
}

export class RegistryState {
  /** The registries on the store. */
  readonly fleet = new FleetRecords()
  /** Authorities, token keys and their rotation. */
  readonly trust = new TrustRecords()
  /** Of the Gateway API. */
  readonly manifests = new ManifestRecords()
  /** Elections, announcements and the store's condition; what it holds is read here. */
  readonly store: Pick<Storage, 'campaign' | 'announce' | 'status' | 'onStatus'>
  readonly #storage: Storage
  readonly #services = new Map<string, MutableService>()
  /** The documents that watchers get. */
  readonly served = new ServedDocuments(this.manifests, this.#services)
  readonly #tokens = new Map<string, StoredToken>()
  readonly #listeners = new Set<(change: ServiceChange) => void>()
  readonly #forgottenListeners = new Set<(service: string, revision: number) => void>()
  /** By key, so in the order of time. */
  readonly #audit = new Map<string, AuditRecord>()
  readonly #operators = new Map<string, OperatorRecord>()
  /** By key, of all records that do not carry theirs. */
  readonly #revisions = new Map<string, number>()
  /** For revisions that other registries on the store have told of. */
  readonly waits = new RevisionWaits()
  #adminHash: string | undefined
  #revision = 0
  #oldest = 0
  #incompleteUntil = 0
  readonly #unreadable: string[] = []
  #stop: (() => void) | undefined

  private constructor(storage: Storage) {
    this.store = storage
    this.#storage = storage
  }

  /**
   * Loads all, then follows the engine. `replay` gets the changes that the engine's history
   * still holds; after a damaged one, those that follow it.
   *
   * @throws StorageError naming a damaged record, and what to do about it
   */
  static async load(storage: Storage, replay: (change: ServiceChange) => void): Promise<RegistryState> {
    const state = new RegistryState(storage)
    const { items, revision } = await storage.list('')
    for (const { key, value, revision: at } of items) {
      const record = readRecord(key, value)
      if (record === undefined) state.#unreadable.push(key)
      else state.#set(key, record, at)
    }
    state.#revision = revision
    state.#oldest = storage.status().oldest
    let replayed: ServiceChange[] = []
    state.#stop = await storage.watch('', state.#oldest, (batch) => {
      if (batch.revision > revision) {
        state.#apply(batch)
        return
      }
      try {
        replayed.push(...serviceChanges(batch, parseInstance))
      } catch {
        replayed = []
        state.#oldest = batch.revision
      }
    })
    for (const change of replayed) state.#replay(change, replay)
    // Whatever a watcher missed of manifests and of backends, the last document makes good.
    for (const change of state.#withManifests([], [])) state.#replay(change, replay)
    state.trust.notify()
    state.fleet.tell()
    return state
  }

  /** Keys of instances that could not be read and were left out. */
  get unreadable(): readonly string[] {
    return this.#unreadable
  }

  /**
   * Until `wallNow` no short list is said to be meant: what this store does not know of may be
   * about to come back.
   */
  expectRegistrationsUntil(wallNow: number): void {
    this.#incompleteUntil = wallNow
  }

  get epoch(): string {
    return this.#storage.status().epoch
  }

  get revision(): number {
    return this.#revision
  }

  /** The changes after this revision were replayed at the start. */
  get oldest(): number {
    return this.#oldest
  }

  /** By the hash of the token. */
  get operators(): ReadonlyMap<string, OperatorRecord> {
    return this.#operators
  }

  /** SHA-256 of the first admin token; empty when it was revoked. */
  get adminHash(): string | undefined {
    return this.#adminHash
  }

  get services(): ReadonlyMap<string, ServiceEntry> {
    return this.#services
  }

  get tokens(): ReadonlyMap<string, StoredToken> {
    return this.#tokens
  }

  /** Oldest first. */
  get audit(): readonly AuditRecord[] {
    return [...this.#audit.values()]
  }

  get auditKeys(): IterableIterator<string> {
    return this.#audit.keys()
  }

  get auditSize(): number {
    return this.#audit.size
  }

  service(name: string): ServiceEntry | undefined {
    return this.#services.get(name)
  }

  /**
   * Whether an empty or short list of instances is meant: the service is known, and lost none of
   * late.
   */
  intended(name: string, wallNow: number): boolean {
    const service = this.#services.get(name)
    if (wallNow < this.#incompleteUntil) return false
    return service !== undefined && (service.lostAt === 0 || Math.abs(wallNow - service.lostAt) > RECENT_LOSS_MS)
  }

  /**
   * The revision that last wrote a record, for a compare; 0: there is none. Not of instances and
   * audit records.
   */
  revisionOf(key: string): number {
    return this.#revisions.get(key) ?? 0
  }

  /** Told every change about a service, in order. Returns how to stop. */
  onChange(listener: (change: ServiceChange) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Told which service exists no more, and as of which revision. Returns how to stop. */
  onForgotten(listener: (service: string, revision: number) => void): () => void {
    this.#forgottenListeners.add(listener)
    return () => this.#forgottenListeners.delete(listener)
  }

  write(operations: readonly Operation[], compares: readonly Compare[] = []): Promise<TransactionResult> {
    return this.#storage.transact(compares, operations)
  }

  close(): void {
    this.#stop?.()
    this.#listeners.clear()
    this.#forgottenListeners.clear()
    this.fleet.clear()
  }

  #apply(batch: Batch): void {
    for (const { key, value } of batch.changes) {
      this.#set(key, value === undefined ? undefined : JSON.parse(value), batch.revision)
    }
    this.#revision = batch.revision
    this.trust.notify()
    // Not parsed again: what is kept in histories and what is in force are then the same objects.
    const current = (_value: string, service: string, id: string): Instance | undefined =>
      this.#services.get(service)?.instances.get(id)?.instance
    for (const change of this.#withManifests(serviceChanges(batch, current), batch.changes)) {
      for (const listener of this.#listeners) listener(change)
    }
    for (const { key } of batch.changes) {
      const [kind, service] = splitKey(key)
      if (kind !== 'svc' || this.#services.has(service)) continue
      for (const listener of this.#forgottenListeners) listener(service, batch.revision)
    }
    this.fleet.tell()
    this.waits.reached(batch.revision)
  }

  #replay(change: ServiceChange, replay: (change: ServiceChange) => void): void {
    const service = this.#service(change.service)
    service.revision = Math.max(service.revision, change.revision)
    replay(change)
  }

  /** With the documents that manifests, and backends that come and go, have changed. */
  #withManifests(changes: Iterable<ServiceChange>, batch: Batch['changes']): readonly ServiceChange[] {
    const affected = this.served.affectedBy(batch)
    for (const name of affected) {
      const service = this.#service(name, false)
      service.revision = Math.max(service.revision, this.#revision)
      if (!service.known && this.manifests.of(name).length === 0) this.#services.delete(name)
    }
    return this.served.served(changes, affected, this.#revision)
  }

  /** `known: false`: only manifests name it. */
  #service(name: string, known = true): MutableService {
    let service = this.#services.get(name)
    if (service !== undefined) service.known ||= known
    else {
      service = {
        name,
        instances: new Map(),
        addresses: new Map(),
        overrides: new Map(),
        known,
        policy: null,
        versions: [],
        revision: 0,
        lostAt: 0,
        bytes: 0,
      }
      this.#services.set(name, service)
    }
    return service
  }

  /** Its last record was deleted. */
  #dropEmpty(service: MutableService): void {
    const { name, instances, overrides, policy, versions } = service
    const used = instances.size > 0 || overrides.size > 0
    if (used || policy !== null || versions.length > 0) return
    if (this.manifests.of(name).length > 0) service.known = false
    else this.#services.delete(name)
  }

  #set(key: string, record: unknown, revision: number): void {
    const [kind, name, rest] = splitKey(key)
    if (record === undefined) this.#revisions.delete(key)
    else if (kind !== 'inst' && kind !== 'audit') this.#revisions.set(key, revision)
    switch (kind) {
      case 'inst': {
        const service = this.#service(name)
        setInstance(service, rest, record as InstanceRecord | undefined, revision)
        service.revision = Math.max(service.revision, revision)
        break
      }
      case 'override': {
        const { overrides } = this.#service(name)
        if (record === undefined) overrides.delete(rest)
        else overrides.set(rest, record as OverrideRecord)
        break
      }
      case 'svc': {
        const service = this.#service(name)
        // Of an older registry, or the loss's own record was written before.
        service.lostAt = record === undefined ? 0 : Math.max(service.lostAt, (record as ServiceRecord).lostAt)
        service.revision = Math.max(service.revision, revision)
        if (record === undefined) this.#dropEmpty(service)
        break
      }
      case 'lost': {
        const service = this.#service(name)
        service.lostAt = (record as LossRecord | undefined)?.at ?? 0
        if (record === undefined) this.#dropEmpty(service)
        break
      }
      case 'policy': {
        const service = this.#service(name)
        service.policy = (record as PolicyRecord | undefined) ?? null
        service.revision = Math.max(service.revision, revision)
        if (record === undefined) this.#dropEmpty(service)
        break
      }
      case 'version': {
        const service = this.#service(name)
        if (record === undefined) service.versions = service.versions.filter((one) => one.version !== Number(rest))
        else service.versions.push(record as PolicyRecord)
        break
      }
      case 'token':
        if (record === undefined) this.#tokens.delete(name)
        else this.#tokens.set(name, { ...(record as TokenRecord), hash: name, revision })
        break
      case 'audit':
        if (record === undefined) this.#audit.delete(name)
        else this.#audit.set(name, record as AuditRecord)
        break
      case 'operator':
        if (record === undefined) this.#operators.delete(name)
        else this.#operators.set(name, record as OperatorRecord)
        break
      case 'admin':
        this.#adminHash = record as string | undefined
        break
      default:
        if (this.manifests.set(kind, name, rest, record)) break
        if (!this.trust.set(kind, name, record, revision)) this.fleet.set(kind, name, record)
    }
  }
}
