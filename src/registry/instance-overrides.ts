/**
 * What operators decide about single instances, written together with the instance that it changes.
 */
import type { Clock } from '../core/clock.ts'
import { addressKey } from '../core/endpoint.ts'
import type { Audit } from './access/audit.ts'
import type { AddressTurns } from './address-turns.ts'
import { ApiError } from './api/error.ts'
import { changed, displaced, type OverrideChange, overridden, ownOf, registered, wholeId } from './overrides.ts'
import { type InstanceRecord, KEYS, type OverrideRecord } from './records.ts'
import { MOST_CONFLICTS, type Removals } from './removals.ts'
import type { StoredInstance } from './service-entry.ts'
import type { RegistryState } from './state.ts'

/** Who decides. */
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

interface OverridesHost {
  readonly state: RegistryState
  readonly audit: Audit
  readonly clock: Clock
  readonly turns: AddressTurns
  readonly removals: Removals
}

export class InstanceOverrides {
  readonly #state: RegistryState
  readonly #audit: Audit
  readonly #clock: Clock
  readonly #turns: AddressTurns
  readonly #removals: Removals

  constructor({ state, audit, clock, turns, removals }: OverridesHost) {
    this.#state = state
    this.#audit = audit
    this.#clock = clock
    this.#turns = turns
    this.#removals = removals
  }

  /**
   * What an operator decides about an instance, for whatever registers at its address from now on.
   * Returns the record as it is then, and whether that is new.
   */
  async set(service: string, id: string, change: OverrideChange, who: Operator): Promise<Overridden> {
    const find = (): StoredInstance => {
      const record = this.#state.service(service)?.instances.get(id)
      if (record !== undefined && !this.#removals.has(service, id)) return record
      const ids = this.#state.service(service)?.instances.keys() ?? [].values()
      throw new ApiError('not-found', `'${service}' has no instance '${id}'${wholeId(id, ids)}`)
    }
    const write = async (): Promise<Overridden | undefined> => {
      const record = find()
      const { overrides } = this.#state.service(service)!
      const address = addressKey(record.instance)
      const before = overrides.get(address)
      const override = changed(before, change, this.#clock.wallNow())
      if (override === before) return { record, override, isNew: false }
      const unused = before === undefined ? displaced(this.#state.service(service)!) : undefined
      const own = registered(record)
      const { owner, registry, registeredAt } = record
      const after: InstanceRecord = {
        instance: overridden(own, override),
        ...ownOf(own, override),
        owner,
        ...(registry !== undefined && { registry }),
        registeredAt,
      }
      const entry = { who: who.by, source: who.source, outcome: 'done', service } as const
      const detail = `${id} at ${address}: ${override?.disabled === true ? 'disabled' : 'enabled'}, weight ${after.instance.weight}`
      const operations = [
        {
          key: KEYS.override(service, address),
          value: override === undefined ? undefined : JSON.stringify(override),
        },
        ...(unused === undefined ? [] : [{ key: KEYS.override(service, unused), value: undefined }]),
        { key: KEYS.instance(service, id), value: JSON.stringify(after) },
        ...this.#audit.operations({ ...entry, action: actionOf(change), detail }),
      ]
      const compares = [{ key: KEYS.instance(service, id), revision: record.revision }]
      for (const one of unused === undefined ? [address] : [address, unused]) {
        const key = KEYS.override(service, one)
        compares.push({ key, revision: this.#state.revisionOf(key) })
      }
      const { ok } = await this.#state.write(operations, compares)
      return ok ? { record: after, override, isNew: true } : undefined
    }
    return await this.#turns.run(find().instance, async () => {
      for (let i = 0; i < MOST_CONFLICTS; i++) {
        const done = await write()
        if (done !== undefined) return done
      }
      throw new ApiError('overloaded', `the instance '${id}' of '${service}' changes too often; try again`)
    })
  }
}

function actionOf({ disabled }: OverrideChange): string {
  return disabled === undefined ? 'instance-weight' : disabled ? 'instance-disable' : 'instance-enable'
}
