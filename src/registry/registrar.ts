/**
 * Registers and removes instances, the only writer of them. Each write compares the revision that
 * it changes, so the newer write of another registry on the same store wins.
 */
import type { Clock } from '../core/clock.ts'
import { addressKey } from '../core/endpoint.ts'
import type { Instance } from '../discovery/instance.ts'
import type { Audit } from './access/audit.ts'
import { refuseAddress } from './address-policy.ts'
import { AddressTurns } from './address-turns.ts'
import { Admission } from './admission.ts'
import { type ApiCode, ApiError } from './api/error.ts'
import { Evictions } from './evictions.ts'
import { Freezes } from './fleet/freezes.ts'
import { silentElsewhere } from './fleet/silence.ts'
import { InstanceOverrides } from './instance-overrides.ts'
import { type InstanceOwner, InstanceOwners } from './instance-owners.ts'
import { GRACE_PERIOD, Leases } from './leases.ts'
import type { Logger } from './log.ts'
import { overridden, ownOf, registered, sameInstance } from './overrides.ts'
import { holderOf, type InstanceRecord, KEYS, LOCAL_REGISTRY } from './records.ts'
import type { Departure, Registrant } from './registrant.ts'
import { MOST_CONFLICTS, Removals } from './removals.ts'
import type { StoredInstance } from './service-entry.ts'
import type { RegistryState } from './state.ts'
import { type Compare, MOST_COMPARES } from './storage/storage.ts'
import type { WatchHub } from './watch/hub.ts'
import type { ServiceChange } from './watch/service-change.ts'

export type { Departure, Registrant }

/** What a registrar works with. */
export interface RegistrarHost {
  readonly state: RegistryState
  readonly hub: WatchHub
  readonly audit: Audit
  readonly clock: Clock
  readonly log: Logger
  /** This registry among those on the store. @defaultValue {@link LOCAL_REGISTRY} */
  readonly id?: string
}

export class Registrar {
  readonly leases: Leases
  readonly freezes: Freezes
  /** At each sweep of the leases: by service, how many instances have stopped renewing here. */
  onSwept: ((silent: ReadonlyMap<string, number>) => void) | undefined
  readonly overrides: InstanceOverrides
  readonly evictions: Evictions
  readonly #state: RegistryState
  readonly #audit: Audit
  readonly #clock: Clock
  readonly #log: Logger
  readonly #admission: Admission
  readonly #id: string
  readonly #removals: Removals
  readonly #turns = new AddressTurns()
  readonly #owners = new InstanceOwners()
  /** Whether a registry is gone, and this one has adopted its leases. */
  #isAdopted: (registry: string) => boolean = () => false
  readonly #stopListening: () => void

  constructor({ state, hub, audit, clock, log, id = LOCAL_REGISTRY }: RegistrarHost, leaseMs: number) {
    this.#state = state
    this.#admission = new Admission(state)
    this.#audit = audit
    this.#clock = clock
    this.#log = log
    this.#id = id
    this.#removals = new Removals(state, clock, log)
    this.overrides = new InstanceOverrides({ state, audit, clock, turns: this.#turns, removals: this.#removals })
    this.leases = new Leases(
      leaseMs,
      clock,
      {
        expired: (service, ids, why) => this.#expire(service, ids, why),
        frozen: (service, stopped, total) => this.freezes.freeze(service, stopped, total),
        released: (service, why) => this.freezes.release(service, why),
        swept: (silent) => this.onSwept?.(silent),
      },
      {
        listed: (service) => state.service(service)?.instances.size ?? 0,
        silentElsewhere: (service) => silentElsewhere(state.fleet.silent, id, service),
      },
    )
    const { leases } = this
    this.evictions = new Evictions({ state, log, leases, owners: this.#owners, removals: this.#removals })
    this.freezes = new Freezes({ state, hub, audit, clock, log, leases, id })
    for (const { name, instances } of state.services.values()) {
      for (const record of instances.values()) if (this.#holds(record)) this.#await(name, record.instance.id)
    }
    this.#stopListening = state.onChange((change) => this.#changed(change))
  }

  /**
   * Takes over the leases of registries that are gone, and ends those of registries that are not.
   * For the elected reaper only; a second one would expire instances twice.
   */
  adopt(isGone: (registry: string) => boolean): void {
    this.#isAdopted = (registry) => registry !== this.#id && isGone(registry)
    for (const { name, instances } of this.#state.services.values()) {
      for (const [id, record] of instances) {
        if (holderOf(record) === this.#id) continue
        if (!this.#holds(record)) this.leases.end(name, id)
        else if (!this.leases.has(name, id)) this.#await(name, id)
      }
    }
  }

  /**
   * Upsert. Returns the revision as of which every new watcher sees it. An unchanged instance
   * writes nothing. From now on `owner` hears when the registry removes the instance.
   */
  async register(who: Registrant, instance: Instance, owner?: InstanceOwner): Promise<number> {
    const { service, id } = instance
    if (service !== who.service) {
      throw this.#refuse(who, 'foreign-service', `${who.spiffeId} may not register instances of '${service}'`, service)
    }
    this.#checkDenied(who)
    const wrong = refuseAddress(instance.address, who.source)
    if (wrong !== undefined) throw this.#refuse(who, 'address-refused', wrong, service)
    const release = this.#admission.reserve(instance)
    // From now on, so that it cannot expire while it is being written.
    this.leases.renew(service, id)
    this.#owners.register(instance, owner)
    try {
      return await this.#turns.run(instance, () => this.#write(who, instance))
    } catch (error) {
      // What is not listed needs no lease, and must not count among the silent.
      if (!this.lists(service, id)) this.leases.end(service, id)
      throw error
    } finally {
      release()
    }
  }

  async #write(who: Registrant, instance: Instance): Promise<number> {
    const { service, id } = instance
    const key = KEYS.instance(service, id)
    for (let i = 0; i < MOST_CONFLICTS; i++) {
      const state = this.#state.service(service)
      const known = state?.instances.get(id)
      const override = state?.overrides.get(addressKey(instance))
      const listed = overridden(instance, override)
      const unchanged =
        known !== undefined &&
        known.owner === who.spiffeId &&
        holderOf(known) === this.#id &&
        sameInstance(known.instance, listed) &&
        sameInstance(registered(known), instance)
      if (unchanged && !this.#removals.has(service, id)) {
        if (await this.#isCurrent(key, known.revision)) return state!.revision
        continue
      }
      const record: InstanceRecord = {
        instance: listed,
        ...ownOf(instance, override),
        owner: who.spiffeId,
        ...(this.#id !== LOCAL_REGISTRY && { registry: this.#id }),
        registeredAt: known?.registeredAt ?? this.#clock.wallNow(),
      }
      const replaced = this.#occupant(who, instance)
      // Also an override: an operator at another registry may be deciding about this address.
      const overrideKey = KEYS.override(service, addressKey(instance))
      const compares: Compare[] = [
        { key, revision: known?.revision ?? 0 },
        { key: overrideKey, revision: this.#state.revisionOf(overrideKey) },
      ]
      if (known === undefined && this.#state.fleet.registries.size > 1 && this.#admission.isTight(instance)) {
        compares.push({ prefix: KEYS.instances(service), unchangedSince: this.#state.revision })
      }
      const operations = [{ key, value: JSON.stringify(record) }]
      if (replaced !== undefined) {
        compares.push({ key: KEYS.instance(service, replaced.instance.id), revision: replaced.revision })
        operations.push(...(this.#removals.operations(service, [replaced.instance.id], 'left') as typeof operations))
      }
      const { ok, revision } = await this.#state.write(operations, compares)
      // Another registry, or a removal, wrote in between.
      if (!ok) continue
      if (known === undefined) this.#log.info({ service, id, who: who.spiffeId, source: who.source }, 'registered')
      if (replaced !== undefined) {
        this.#log.info({ service, id: replaced.instance.id, by: id }, 'replaced at its address')
      }
      return revision
    }
    throw new ApiError('overloaded', `the instance '${id}' of '${service}' changes too often; try again`)
  }

  /** Whether an instance is listed, and not about to be removed. */
  lists(service: string, id: string): boolean {
    return this.#state.service(service)?.instances.has(id) === true && !this.#removals.has(service, id)
  }

  /**
   * Lists an instance again whose process is heard, unless another has its address. `undefined`: it
   * has.
   */
  async relist(who: Registrant, instance: Instance, owner: InstanceOwner): Promise<number | undefined> {
    return this.#occupant(who, instance) === undefined ? await this.register(who, instance, owner) : undefined
  }

  /** Watchers take it out of their pickers. */
  async drain(who: Registrant, id: string): Promise<Departure> {
    const known = this.#state.service(who.service)?.instances.get(id)
    if (known === undefined) throw new ApiError('not-found', `'${who.service}' has no instance '${id}'`)
    const revision = await this.register(who, { ...registered(known), state: 'draining' })
    return { revision, written: this.#state.service(who.service)?.instances.get(id)?.revision }
  }

  /**
   * Removes at once. An instance that is not listed is left alone, and so is one held by another
   * registry, unless `anywhere`: its process could not say so there.
   */
  async deregister(who: Registrant, id: string, anywhere = false): Promise<Departure> {
    const { service, spiffeId } = who
    this.leases.end(service, id)
    this.#owners.disown(service, id)
    const mayRemove = (record: InstanceRecord): boolean =>
      this.#mayDeregister(record) || (anywhere && record.owner === spiffeId)
    try {
      const { revision, records } = await this.#removals.remove(service, [id], 'left', mayRemove)
      return { revision, written: records.length > 0 ? revision : undefined }
    } catch (error) {
      // It is still in the store, so it needs a lease to be removed by.
      const record = this.#state.service(service)?.instances.get(id)
      if (record !== undefined && this.#holds(record)) this.leases.renew(service, id)
      throw error
    }
  }

  /** The session has ended. Its instances stay until their leases are over. */
  abandon(service: string, ids: Iterable<string>, owner: InstanceOwner): void {
    this.#owners.abandon(service, ids, owner)
  }

  close(): void {
    this.#stopListening()
    this.freezes.close()
    this.leases.close()
  }

  /** Whether this registry decides when the instance expires. */
  #holds(record: InstanceRecord): boolean {
    const holder = holderOf(record)
    return holder === this.#id || this.#isAdopted(holder)
  }

  /** Not one whose process has come back to another registry that lives. */
  #mayDeregister(record: InstanceRecord): boolean {
    return this.#holds(record) || !this.#state.fleet.registries.has(holderOf(record))
  }

  /** Whether the store has what we know, too: the watch may not have told of another's write. */
  async #isCurrent(key: string, revision: number): Promise<boolean> {
    if (this.#state.fleet.registries.size < 2) return true
    return (await this.#state.write([], [{ key, revision }])).ok
  }

  /** Begins a lease; the process has to come back. */
  #await(service: string, id: string): void {
    this.leases.renew(service, id, this.leases.leaseMs * GRACE_PERIOD)
  }

  /** Follows what was written, also by other registries on the store. */
  #changed({ service, put, gone }: ServiceChange): void {
    const { instances } = this.#state.service(service) ?? {}
    for (const { id } of put) {
      const record = instances?.get(id)
      if (record === undefined) continue
      if (this.#state.trust.denials.has(record.owner)) this.evictions.start(service, record.owner)
      if (holderOf(record) === this.#id) {
        // Written after all, though the store had not answered in time.
        if (!this.leases.has(service, id)) this.#await(service, id)
        continue
      }
      if (this.#holds(record)) this.#await(service, id)
      else this.leases.end(service, id)
      this.#owners.disown(service, id, true)
    }
    for (const { id, why } of gone) {
      if (this.#removals.has(service, id) || instances?.has(id) === true) continue
      if (why === 'lost') this.leases.lostElsewhere(service)
      this.leases.end(service, id)
      this.#owners.unlist(service, id, why === 'lost' ? 'expired' : 'replaced')
    }
  }

  #checkDenied(who: Registrant): void {
    if (!this.#state.trust.denials.has(who.spiffeId)) return
    throw this.#refuse(who, 'identity-denied', `an operator denied ${who.spiffeId} all access`, who.service)
  }

  #refuse(who: Registrant, code: ApiCode, message: string, service: string): ApiError {
    const { spiffeId, source } = who
    this.#audit.record({
      who: spiffeId,
      source,
      action: 'register',
      outcome: 'refused',
      reason: code,
      service,
      detail: message,
    })
    return new ApiError(code, message)
  }

  /**
   * Another instance of the same identity at the same address. A listener has one process, so it is
   * gone.
   */
  #occupant(who: Registrant, { service, id, ...at }: Instance): StoredInstance | undefined {
    const state = this.#state.service(service)
    const other = state?.addresses.get(addressKey(at))
    const record = other === undefined || other === id ? undefined : state!.instances.get(other)
    return record?.owner === who.spiffeId ? record : undefined
  }

  #expire(service: string, ids: readonly string[], why: 'expired' | 'released'): void {
    // An instance that has a lease again was registered again.
    const mayRemove = (record: InstanceRecord): boolean =>
      this.#holds(record) && !this.leases.has(service, record.instance.id)
    for (let i = 0; i < ids.length; i += MOST_COMPARES) {
      const some = ids.slice(i, i + MOST_COMPARES)
      this.#removals.remove(service, some, 'lost', mayRemove).then(
        ({ records }) => {
          for (const { instance } of records) {
            // Since then it may have been registered again.
            if (this.#state.service(service)?.instances.has(instance.id) === true) continue
            this.#owners.unlist(service, instance.id, why)
          }
        },
        (error: Error) => {
          this.#log.error({ service, reason: error.message }, 'expired instances not removed')
          // They are still in the store, so they need a lease to be removed by.
          for (const id of some) {
            if (this.#state.service(service)?.instances.has(id) === true) this.leases.renew(service, id)
          }
        },
      )
    }
  }
}
