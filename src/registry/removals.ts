/** Takes instances out of the store. Every removal says why in the same transaction. */
import type { Clock } from '../core/clock.ts'
import { ApiError } from './api/error.ts'
import type { Logger } from './log.ts'
import { KEYS, type LossRecord, type ServiceRecord } from './records.ts'
import type { StoredInstance } from './service-entry.ts'
import type { RegistryState } from './state.ts'
import { MOST_COMPARES, type Operation } from './storage/storage.ts'

/** Writes of another registry that may come in between, in a row. */
export const MOST_CONFLICTS = 20

export interface Removed {
  readonly revision: number
  readonly records: readonly StoredInstance[]
}

interface Removal {
  readonly ids: readonly string[]
  readonly why: 'left' | 'lost'
  readonly mayRemove: (record: StoredInstance) => boolean
  readonly resolve: (removed: Removed) => void
  readonly reject: (error: unknown) => void
}

export class Removals {
  readonly #state: RegistryState
  readonly #clock: Clock
  readonly #log: Logger
  /** Keys of removals in flight: writing them again must not be skipped as unchanged. */
  readonly #inFlight = new Set<string>()
  /** By service, behind the write in flight. */
  readonly #waiting = new Map<string, Removal[]>()

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
   * write of another registry it asks again, so the newer write wins. Removals of one service that
   * arrive during a write share the next one.
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
      return await new Promise((resolve, reject) => {
        const removal = { ids, why, mayRemove, resolve, reject }
        const waiting = this.#waiting.get(service)
        if (waiting !== undefined) waiting.push(removal)
        else void this.#run(service, [removal])
      })
    } finally {
      for (const key of keys) this.#inFlight.delete(key)
    }
  }

  async #run(service: string, waiting: Removal[]): Promise<void> {
    this.#waiting.set(service, waiting)
    while (waiting.length > 0) {
      const group = nextGroup(waiting)
      try {
        await this.#removeAll(service, group)
      } catch (error) {
        // The others would each wait for the same store.
        for (const { reject } of [...group, ...waiting.splice(0)]) reject(error)
      }
    }
    this.#waiting.delete(service)
  }

  async #removeAll(service: string, group: readonly Removal[]): Promise<void> {
    const { why } = group[0]!
    for (let i = 0; i < MOST_CONFLICTS; i++) {
      const { instances } = this.#state.service(service) ?? {}
      const found = group.map(({ ids, mayRemove }) => ids.flatMap((id) => instances?.get(id) ?? []).filter(mayRemove))
      const records = new Map(found.flat().map((record) => [record.instance.id, record]))
      let revision = this.#state.service(service)?.revision ?? this.#state.revision
      if (records.size > 0) {
        const compares = [...records].map(([id, record]) => ({
          key: KEYS.instance(service, id),
          revision: record.revision,
        }))
        const ids = [...records.keys()]
        const written = await this.#state.write(this.operations(service, ids, why), compares)
        if (!written.ok) continue
        this.#log.info({ service, ids, why }, 'removed')
        revision = written.revision
      }
      for (const [index, { resolve }] of group.entries()) resolve({ revision, records: found[index]! })
      return
    }
    throw new ApiError('overloaded', `the instances of '${service}' change too often; try again`)
  }
}

/** Takes the first removals of one kind that fit into a transaction. */
function nextGroup(waiting: Removal[]): Removal[] {
  const { why } = waiting[0]!
  let size = 0
  const end = waiting.findIndex((one) => {
    size += one.ids.length
    return one.why !== why || size > MOST_COMPARES
  })
  return waiting.splice(0, end < 0 ? waiting.length : Math.max(1, end))
}
