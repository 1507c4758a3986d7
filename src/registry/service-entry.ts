/** One service as the registry's state holds it. */
import { addressKey } from '../core/endpoint.ts'
import type { Instance } from '../discovery/instance.ts'
import type { InstanceRecord, OverrideRecord, PolicyRecord } from './records.ts'

/** An instance, with the revision that last changed it. */
export interface StoredInstance extends InstanceRecord {
  readonly revision: number
}

/** One service, as reads see it. */
export interface ServiceEntry {
  readonly name: string
  readonly instances: ReadonlyMap<string, StoredInstance>
  /** By `addressKey`, the id of the instance that registered there last. */
  readonly addresses: ReadonlyMap<string, string>
  /** By `addressKey`; also of addresses where nothing runs just now. */
  readonly overrides: ReadonlyMap<string, OverrideRecord>
  /** `false`: only manifests name it. */
  readonly known: boolean
  /** As applied, or `null`; without the routes of manifests. */
  readonly policy: PolicyRecord | null
  /** Oldest first. */
  readonly versions: readonly PolicyRecord[]
  /** Of the last change that watchers get. */
  readonly revision: number
  readonly lostAt: number
  /** Of its instances as JSON. */
  readonly bytes: number
}

/** The same, as the state changes it. */
export interface MutableService {
  name: string
  instances: Map<string, StoredInstance>
  addresses: Map<string, string>
  overrides: Map<string, OverrideRecord>
  known: boolean
  policy: PolicyRecord | null
  versions: PolicyRecord[]
  revision: number
  lostAt: number
  bytes: number
}

/** Its size as JSON, in bytes. */
export function instanceBytes(instance: Instance): number {
  return Buffer.byteLength(JSON.stringify(instance))
}

/** Puts or removes an instance, and keeps the indexes in step. */
export function setInstance(
  service: MutableService,
  id: string,
  record: InstanceRecord | undefined,
  revision: number,
): void {
  const { instances, addresses } = service
  const before = instances.get(id)?.instance
  if (before !== undefined) {
    service.bytes -= instanceBytes(before)
    const address = addressKey(before)
    if (addresses.get(address) === id) addresses.delete(address)
  }
  if (record === undefined) {
    instances.delete(id)
    return
  }
  // Not the key's own part, which would keep the whole key.
  const { instance } = record
  instances.set(instance.id, Object.assign(record, { revision }))
  addresses.set(addressKey(instance), instance.id)
  service.bytes += instanceBytes(instance)
}
