/** The first contact with etcd at a start, when a mistake in the options shows. */
import { StorageError } from '../errors.ts'
import type { EtcdClient } from './client.ts'
import { EtcdFailure } from './failure.ts'

const REACH_MS = 5_000
const FIRST_ATTEMPT_MS = 2_000

/**
 * Resolves when a node that knows a leader answers. Fails at once when no node is what the options
 * say, and within seconds when none answers.
 *
 * @throws EtcdFailure, StorageError
 */
export async function reachEtcd(client: EtcdClient): Promise<void> {
  const failures: EtcdFailure[] = []
  const probe = { key: Buffer.from(client.prefix), limit: 1, keys_only: true }
  for (let i = 0; i < client.endpoints.size; i++) {
    try {
      await client.attempt('KV.Range', probe, FIRST_ATTEMPT_MS)
      return
    } catch (error) {
      if (!(error instanceof EtcdFailure) || error.kind !== 'transient') throw error
      failures.push(error)
    }
  }
  if (failures.every(({ mistaken }) => mistaken)) throw failures[0]!
  try {
    await client.ask('KV.Range', probe, REACH_MS)
  } catch (error) {
    if (!(error instanceof EtcdFailure) || error.kind !== 'transient') throw error
    throw new StorageError(`etcd cannot be used (store, --store): ${error.message}`, { cause: error })
  }
}
