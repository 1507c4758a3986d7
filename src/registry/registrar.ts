/**
 * Puts instances into the store and takes them out: what sessions ask for and what leases decide.
 * The only writer of instances; every removal says why in the same transaction. Coming and going is
 * logged, and only refusals are audited, so that a busy mesh does not push out of the audit log
 * what matters.
 */
import type { Clock } from '../core/clock.ts'
import { addressKey } from '../core/endpoint.ts'
import type { Instance } from '../discovery/instance.ts'
import type { Audit } from './access/audit.ts'
import { refuseAddress } from './address-policy.ts'
import { Admission } from './admission.ts'
import { ApiError } from './api/error.ts'
import { GRACE_PERIOD, Leases, type Release, type RemovalReason } from './leases.ts'
import type { Logger } from './log.ts'
import { changed, displaced, type OverrideChange, overridden, ownOf, registered, wholeId } from './overrides.ts'
import { type InstanceRecord, KEYS, type OverrideRecord, type Removal, type ServiceRecord } from './records.ts'
import type { RegistryState } from './state.ts'
import type { Operation } from './storage/storage.ts'
import type { WatchHub } from './watch/hub.ts'

/** Removals in one transaction. */
const MOST_REMOVALS = 500

export interface Registrant {
  readonly spiffeId: string
  readonly service: string
  /** The address it connects from. */
  readonly source: string
}

/** Who commands. */
export interface Operator {
  readonly by: string
  readonly source: string
}

export interface Overridden {
  readonly record: InstanceRecord
  /** `undefined`: the instance is as its process says. */
  readonly override: OverrideRecord | undefined
  readonly isNew: boolean
}

/** The session that registered an instance last. It alone keeps the instance listed. */
export interface InstanceOwner {
  /** The registry removed the instance, which the process did not ask for. */
  unlisted(instance: Instance, why: RemovalReason): void
  /** Another session has registered the same instance. */
  disowned(id: string): void
}

export class Registrar {
  readonly leases: Leases
  readonly #state: RegistryState
  readonly #hub: WatchHub
  readonly #audit: Audit
  readonly #clock: Clock
  readonly #log: Logger
  readonly #admission: Admission
  /** Keys whose removal is under way: writing them again must not be skipped as unchanged. */
  readonly #removing = new Set<string>()
  /** By service and address: the last write that is under way. */
  readonly #turns = new Map<string, Promise<unknown>>()
  /** By key; without those whose session has ended. */
  readonly #owners = new Map<string, InstanceOwner>()

  constructor(state: RegistryState, hub: WatchHub, audit: Audit, leaseMs: number, clock: Clock, log: Logger) {
    this.#state = state
    this.#admission = new Admission(state)
    this.#hub = hub
    this.#audit = audit
    this.#clock = clock
    this.#log = log
    this.leases = new Leases(leaseMs, clock, {
      expired: (service, ids, why) => this.#expire(service, ids, why),
      frozen: (service, stopped, total) => this.#freeze(service, stopped, total),
      released: (service, why) => this.#release(service, why),
    })
    for (const service of state.services.values()) {
      for (const id of service.instances.keys()) this.leases.renew(service.name, id, leaseMs * GRACE_PERIOD)
    }
  }

  /**
   * Upsert. Returns the revision as of which every new watcher sees it. An unchanged instance
   * writes nothing. From now on `owner` is told when the registry removes the instance.
   */
  async register(who: Registrant, instance: Instance, owner?: InstanceOwner): Promise<number> {
    const { service, id } = instance
    if (service !== who.service) {
      throw this.#refuse(who, 'foreign-service', `${who.spiffeId} may not register instances of '${service}'`, service)
    }
    const wrong = refuseAddress(instance.address, who.source)
    if (wrong !== undefined) throw this.#refuse(who, 'address-refused', wrong, service)
    const key = KEYS.instance(service, id)
    const release = this.#admission.reserve(instance)
    // From now on, so that it cannot expire while it is being written.
    this.leases.renew(service, id)
    if (owner !== undefined) this.#own(key, id, owner)
    try {
      return await this.#inTurn(instance, () => this.#write(who, instance))
    } finally {
      release()
    }
  }

  async #write(who: Registrant, instance: Instance): Promise<number> {
    const { service, id } = instance
    const key = KEYS.instance(service, id)
    const known = this.#state.service(service)?.instances.get(id)
    const override = this.#state.service(service)?.overrides.get(addressKey(instance))
    const listed = overridden(instance, override)
    const unchanged =
      known !== undefined &&
      known.owner === who.spiffeId &&
      same(known.instance, listed) &&
      same(registered(known), instance)
    if (unchanged && !this.#removing.has(key)) {
      return this.#state.service(service)!.revision
    }
    const record: InstanceRecord = {
      instance: listed,
      ...ownOf(instance, override),
      owner: who.spiffeId,
      registeredAt: known?.registeredAt ?? this.#clock.wallNow(),
    }
    if (known === undefined) this.#log.info({ service, id, who: who.spiffeId, source: who.source }, 'registered')
    const replaced = this.#occupant(who, instance)
    const { revision } = await this.#state.write([
      { key, value: JSON.stringify(record) },
      ...(replaced === undefined ? [] : this.#removal(service, [replaced.id], 'left')),
    ])
    if (replaced !== undefined) {
      this.leases.end(service, replaced.id)
      this.#log.info({ service, id: replaced.id, by: id }, 'replaced at its address')
      this.#tellOwner(replaced, 'replaced')
    }
    return revision
  }

  /** Whether an instance is listed, and not about to be removed. */
  lists(service: string, id: string): boolean {
    return this.#state.service(service)?.instances.has(id) === true && !this.#removing.has(KEYS.instance(service, id))
  }

  /**
   * Lists an instance again whose process is heard, unless another has its address. `undefined`: it
   * has.
   */
  async relist(who: Registrant, instance: Instance, owner: InstanceOwner): Promise<number | undefined> {
    return this.#occupant(who, instance) === undefined ? await this.register(who, instance, owner) : undefined
  }

  /** Watchers take it out of their pickers. */
  async drain(who: Registrant, id: string): Promise<number> {
    const known = this.#state.service(who.service)?.instances.get(id)
    if (known === undefined) throw new ApiError('not-found', `'${who.service}' has no instance '${id}'`)
    return await this.register(who, { ...registered(known), state: 'draining' })
  }

  /**
   * What an operator decides about an instance, for whatever registers at its address from now on.
   * Returns the record as it is then, and whether that is new.
   */
  async override(service: string, id: string, change: OverrideChange, who: Operator): Promise<Overridden> {
    const find = (): InstanceRecord => {
      const record = this.#state.service(service)?.instances.get(id)
      if (record !== undefined && !this.#removing.has(KEYS.instance(service, id))) return record
      const ids = this.#state.service(service)?.instances.keys() ?? [].values()
      throw new ApiError('not-found', `'${service}' has no instance '${id}'${wholeId(id, ids)}`)
    }
    return await this.#inTurn(find().instance, async () => {
      const record = find()
      const { overrides } = this.#state.service(service)!
      const address = addressKey(record.instance)
      const before = overrides.get(address)
      const override = changed(before, change, this.#clock.wallNow())
      if (override === before) return { record, override, isNew: false }
      const unused = before === undefined ? displaced(this.#state.service(service)!) : undefined
      const own = registered(record)
      const { owner, registeredAt } = record
      const after: InstanceRecord = {
        instance: overridden(own, override),
        ...ownOf(own, override),
        owner,
        registeredAt,
      }
      const entry = { who: who.by, source: who.source, outcome: 'done', service } as const
      const detail = `${id} at ${address}: ${override?.disabled === true ? 'disabled' : 'enabled'}, weight ${after.instance.weight}`
      await this.#state.write([
        {
          key: KEYS.override(service, address),
          value: override === undefined ? undefined : JSON.stringify(override),
        },
        ...(unused === undefined ? [] : [{ key: KEYS.override(service, unused), value: undefined }]),
        { key: KEYS.instance(service, id), value: JSON.stringify(after) },
        ...this.#audit.operations({ ...entry, action: actionOf(change), detail }),
      ])
      return { record: after, override, isNew: true }
    })
  }

  /**
   * One write after the other at an address, because each depends on what the one before left
   * there.
   */
  #inTurn<T>(at: Instance, write: () => Promise<T>): Promise<T> {
    const key = `${at.service} ${addressKey(at)}`
    const before = this.#turns.get(key)
    const result = before === undefined ? write() : before.then(write, write)
    this.#turns.set(key, result)
    const end = (): void => {
      if (this.#turns.get(key) === result) this.#turns.delete(key)
    }
    result.then(end, end)
    return result
  }

  /** Removes at once. What is not there is removed already. */
  async deregister(who: Registrant, id: string): Promise<number> {
    this.leases.end(who.service, id)
    const key = KEYS.instance(who.service, id)
    this.#owners.get(key)?.disowned(id)
    this.#owners.delete(key)
    if (this.#state.service(who.service)?.instances.has(id) !== true) {
      return this.#state.service(who.service)?.revision ?? this.#state.revision
    }
    try {
      return await this.#remove(who.service, [id], 'left')
    } catch (error) {
      // It is still in the store, so it needs a lease to be removed by.
      this.leases.renew(who.service, id)
      throw error
    }
  }

  /** The session has ended. Its instances stay until their leases are over. */
  abandon(service: string, ids: Iterable<string>, owner: InstanceOwner): void {
    for (const id of ids) {
      const key = KEYS.instance(service, id)
      if (this.#owners.get(key) === owner) this.#owners.delete(key)
    }
  }

  close(): void {
    this.leases.close()
  }

  #own(key: string, id: string, owner: InstanceOwner): void {
    const before = this.#owners.get(key)
    if (before === owner) return
    before?.disowned(id)
    this.#owners.set(key, owner)
  }

  #refuse(who: Registrant, code: 'foreign-service' | 'address-refused', message: string, service: string): ApiError {
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
   * Another instance of the same identity at the same address, as it registered: a listener has one
   * process, so it is gone.
   */
  #occupant(who: Registrant, { service, id, ...at }: Instance): Instance | undefined {
    const state = this.#state.service(service)
    const other = state?.addresses.get(addressKey(at))
    const record = other === undefined || other === id ? undefined : state!.instances.get(other)
    return record?.owner === who.spiffeId ? registered(record) : undefined
  }

  #removal(service: string, ids: readonly string[], why: 'left' | 'lost'): Operation[] {
    const gone: Removal[] = ids.map((id) => ({ id, why }))
    const lostAt = why === 'lost' ? this.#clock.wallNow() : (this.#state.service(service)?.lostAt ?? 0)
    const record: ServiceRecord = { gone, lostAt }
    return [
      ...ids.map((id) => ({ key: KEYS.instance(service, id), value: undefined })),
      { key: KEYS.service(service), value: JSON.stringify(record) },
    ]
  }

  async #remove(service: string, ids: readonly string[], why: 'left' | 'lost'): Promise<number> {
    const keys = ids.map((id) => KEYS.instance(service, id))
    for (const key of keys) this.#removing.add(key)
    try {
      const { revision } = await this.#state.write(this.#removal(service, ids, why))
      this.#log.info({ service, ids, why }, 'removed')
      return revision
    } finally {
      for (const key of keys) this.#removing.delete(key)
    }
  }

  #expire(service: string, ids: readonly string[], why: 'expired' | 'released'): void {
    const { instances } = this.#state.service(service) ?? {}
    for (let i = 0; i < ids.length; i += MOST_REMOVALS) {
      const records = ids.slice(i, i + MOST_REMOVALS).flatMap((id) => instances?.get(id) ?? [])
      if (records.length === 0) continue
      const some = records.map(({ instance }) => instance.id)
      this.#remove(service, some, 'lost').then(
        () => {
          for (const record of records) this.#tellOwner(registered(record), why)
        },
        (error: Error) => {
          this.#log.error({ service, reason: error.message }, 'expired instances not removed')
          // They are still in the store, so they need a lease to be removed by.
          for (const id of some) this.leases.renew(service, id)
        },
      )
    }
  }

  /** `instance`: as its process registered it, because it is listed again so. */
  #tellOwner(instance: Instance, why: RemovalReason): void {
    const owner = this.#owners.get(KEYS.instance(instance.service, instance.id))
    // Since then it may have been written again.
    if (this.#state.service(instance.service)?.instances.has(instance.id) !== true) owner?.unlisted(instance, why)
  }

  #freeze(service: string, stopped: number, total: number): void {
    this.#hub.setFrozen(service, true)
    const detail = `${stopped} of ${total} instances stopped renewing together; none is expired`
    this.#audit.record({ who: 'registry', source: 'local', action: 'expiry-freeze', outcome: 'done', service, detail })
  }

  #release(service: string, why: Release): void {
    this.#hub.setFrozen(service, false)
    const detail = RELEASED[why]
    this.#audit.record({ who: 'registry', source: 'local', action: 'expiry-release', outcome: 'done', service, detail })
  }
}

function actionOf({ disabled }: OverrideChange): string {
  return disabled === undefined ? 'instance-weight' : disabled ? 'instance-disable' : 'instance-enable'
}

const RELEASED: Readonly<Record<Release, string>> = {
  renewed: 'renewals are back',
  'too-long': 'frozen for 30 min',
  operator: 'an operator said so',
}

/** Both come from `readInstance`, which builds them with the same keys in the same order. */
function same(a: Instance, b: Instance): boolean {
  const order = (instance: Instance): string =>
    JSON.stringify({ ...instance, metadata: Object.entries(instance.metadata).sort(([x], [y]) => (x < y ? -1 : 1)) })
  return order(a) === order({ ...a, ...b })
}
