/** Takes instances out of the store. Every removal says why in the same transaction. */
import type { Clock } from '../core/clock.ts'
import { ApiError } from './api/error.ts'
import type { Logger } from './log.ts'
import { KEYS, type LossRecord, type ServiceRecord } from './records.ts'
import type { StoredInstance } from './service-entry.ts'
import type { RegistryState } from './state.ts'
import type { MOST_COMPARES, Operation } from './storage/storage.ts'

/** Writes of another registry that may come in between, in a row. */
export const MOST_CONFLICTS = 20

export interface Removed {
  readonly revision: number
  readonly records: readonly StoredInstance[]
}

export class Removals {
  readonly #state: RegistryState
  readonly #clock: Clock
  readonly #log: Logger
  /** Keys of removals in flight: writing them again must not be skipped as unchanged. */
  readonly #inFlight = new Set<string>()

  constructor(state: RegistryState, clock: Clock, log: Logger) {
    this.#state = state
    this.#clock = clock
    this.#log = log
  }

  has(service: string, id: string): boolean {
    return this.#inFlight.has(KEYS.instance(service, id))
  }

  /** What a removal writes, for a transaction that changes more. */
  operations(service: string, ids: readonly string[], why: 'left' | 'lost'): Operation[] {
    const at = this.#clock.wallNow()
    const lostAt = why === 'lost' ? at : (this.#state.service(service)?.lostAt ?? 0)
    const record: ServiceRecord = { gone: ids.map((id) => ({ id, why })), lostAt }
    const loss: LossRecord = { at }
    return [
      ...ids.map((id) => ({ key: KEYS.instance(service, id), value: undefined })),
      { key: KEYS.service(service), value: JSON.stringify(record) },
      ...(why === 'lost' ? [{ key: KEYS.loss(service), value: JSON.stringify(loss) }] : []),
    ]
  }

  /**
   * Removes those instances that `mayRemove` allows, of at most {@link MOST_COMPARES}. After a
   * write of another registry it asks again, so the newer write wins.
   */
  async remove(
    service: string,
    ids: readonly string[],
    why: 'left' | 'lost',
    mayRemove: (record: StoredInstance) => boolean,
  ): Promise<Removed> {
    const keys = ids.map((id) => KEYS.instance(service, id))
    for (const key of keys) this.#inFlight.add(key)
    try {
      for (let i = 0; i < MOST_CONFLICTS; i++) {
        const { instances } = this.#state.service(service) ?? {}
        const records = ids.flatMap((id) => instances?.get(id) ?? []).filter(mayRemove)
        if (records.length === 0) {
          return { revision: this.#state.service(service)?.revision ?? this.#state.revision, records }
        }
        const some = records.map(({ instance }) => instance.id)
        const compares = records.map(({ instance, revision }) => ({
          key: KEYS.instance(service, instance.id),
          revision,
        }))
        const { ok, revision } = await this.#state.write(this.operations(service, some, why), compares)
        if (!ok) continue
        this.#log.info({ service, ids: some, why }, 'removed')
        return { revision, records }
      }
      throw new ApiError('overloaded', `the instances of '${service}' change too often; try again`)
    } finally {
      for (const key of keys) this.#inFlight.delete(key)
    }
  }
}
