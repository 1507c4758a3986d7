/**
 * The epoch of the store, in etcd. A restored backup gets a new one: another cluster, or one whose
 * log is shorter than its history.
 */
import { randomUUID } from 'node:crypto'
import { StorageError } from '../errors.ts'
import type { EtcdClient } from './client.ts'
import { OWN_KEYS } from './keys.ts'
import type { Header } from './messages.ts'

const WITHIN_MS = 5_000
/**
 * A node answers with a log and a revision of slightly different times, so a difference of a few
 * entries means nothing.
 */
const SLACK = 16

interface EpochRecord {
  readonly epoch: string
  readonly clusterId: string
  readonly raftTerm: number
  readonly revision: number
  /**
   * Entries in etcd's log beyond its revision. Every revision needs an entry, so it never shrinks,
   * except by a restore, which keeps the revision and begins a new log.
   */
  readonly surplus: number
}

export interface Epoch {
  readonly epoch: string
  /** It was made by this check. */
  readonly isNew: boolean
  /** Of etcd, now. */
  readonly revision: number
}

/**
 * The epoch in force; a new one for a new or restored store. `delivered`: the last revision that
 * this process has seen in the epoch that it knows.
 *
 * @throws EtcdFailure
 */
export async function checkEpoch(client: EtcdClient, known?: { epoch: string; delivered: number }): Promise<Epoch> {
  const key = Buffer.from(client.prefix + OWN_KEYS.epoch)
  let made: string | undefined
  for (let tries = 0; tries < 20; tries++) {
    // First the read, which makes the node catch up with its leader.
    const { header, kvs } = await client.ask('KV.Range', { key }, WITHIN_MS)
    const found = kvs[0]
    const record = found === undefined ? undefined : parse(found.value.toString())
    const now = { ...positionOf(header), surplus: await surplusOf(client) }
    const wentBack = record !== undefined && record.epoch === known?.epoch && now.revision < known.delivered
    if (record !== undefined && !wentBack && !isRestored(record, now)) {
      return { epoch: record.epoch, isNew: record.epoch === made, revision: now.revision }
    }
    // Under load one reading may be too high, and a later one would look like a restore.
    const surplus = Math.min(now.surplus, await surplusOf(client), await surplusOf(client))
    const next: EpochRecord = { epoch: randomUUID(), ...now, surplus }
    made = next.epoch
    const { succeeded, header: after } = await client.ask(
      'KV.Txn',
      {
        compare: [{ key, target: 'MOD', result: 'EQUAL', mod_revision: Number(found?.mod_revision ?? 0) }],
        success: [{ request_put: { key, value: Buffer.from(JSON.stringify(next)) } }],
        failure: [],
      },
      WITHIN_MS,
    )
    if (succeeded) return { epoch: next.epoch, isNew: true, revision: Number(after.revision) }
    // Another registry was first, or an answer was lost: what is there counts.
  }
  throw new StorageError(`the record ${client.prefix}${OWN_KEYS.epoch} in etcd keeps changing`)
}

function isRestored(record: EpochRecord, now: Omit<EpochRecord, 'epoch'>): boolean {
  if (record.clusterId !== now.clusterId) return true
  return now.raftTerm < record.raftTerm || now.revision < record.revision || now.surplus < record.surplus - SLACK
}

function positionOf({ cluster_id, raft_term, revision }: Header) {
  return { clusterId: cluster_id, raftTerm: Number(raft_term), revision: Number(revision) }
}

async function surplusOf(client: EtcdClient): Promise<number> {
  const { header, raftAppliedIndex } = await client.ask('Maintenance.Status', {}, WITHIN_MS)
  return Number(raftAppliedIndex) - Number(header.revision)
}

/** @throws StorageError if it is damaged */
export function epochIn(text: string): string {
  return parse(text).epoch
}

function parse(text: string): EpochRecord {
  try {
    const record = JSON.parse(text) as EpochRecord
    const { epoch, clusterId, raftTerm, revision, surplus } = record
    if ([epoch, clusterId].every((one) => typeof one === 'string')) {
      if ([raftTerm, revision, surplus].every(Number.isFinite)) return record
    }
  } catch {}
  throw new StorageError(`the record '${OWN_KEYS.epoch}' in etcd is damaged: restore etcd from a backup`)
}
