/**
 * The changes of a batch by service, as watchers get them.
 */
import type { Instance } from '../../discovery/instance.ts'
import { type InstanceRecord, type PolicyRecord, type Removal, type ServiceRecord, splitKey } from '../records.ts'
import type { Batch } from '../storage/storage.ts'

/** What one revision changed about one service. */
export interface ServiceChange {
  readonly service: string
  readonly revision: number
  readonly put: readonly Instance[]
  readonly gone: readonly Removal[]
  /** `undefined`: unchanged; `null`: deleted. */
  readonly policy: unknown
}

export function parseInstance(value: string): Instance {
  return (JSON.parse(value) as InstanceRecord).instance
}

/**
 * Shared by all changes without: histories keep thousands, and an array that grew by `push` has
 * room for 16 more.
 */
const NONE: never[] = []

export function serviceChanges(
  batch: Batch,
  read: (value: string, service: string, id: string) => Instance | undefined,
): Iterable<ServiceChange> {
  const changes = new Map<string, { put: Instance[]; gone: Removal[]; policy: unknown }>()
  for (const { key, value } of batch.changes) {
    const [kind, service, id] = splitKey(key)
    if (kind !== 'inst' && kind !== 'svc' && kind !== 'policy') continue
    // A service that is forgotten: nothing to tell.
    if (kind === 'svc' && value === undefined) continue
    let change = changes.get(service)
    if (change === undefined) {
      change = { put: NONE, gone: NONE, policy: undefined }
      changes.set(service, change)
    }
    if (kind === 'inst' && value !== undefined) {
      // `undefined`: put and removed by the same batch.
      const instance = read(value, service, id)
      if (instance === undefined) continue
      if (change.put === NONE) change.put = [instance]
      else change.put.push(instance)
    } else if (kind === 'svc' && value !== undefined) {
      const { gone } = JSON.parse(value) as ServiceRecord
      change.gone = [...change.gone, ...gone]
    } else if (kind === 'policy')
      change.policy = value === undefined ? null : (JSON.parse(value) as PolicyRecord).document
  }
  return [...changes].map(([service, change]) => ({ service, revision: batch.revision, ...change }))
}
