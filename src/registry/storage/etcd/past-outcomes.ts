/** Which transactions of an applied group succeeded, when the answer was lost. */
import { StorageError } from '../errors.ts'
import type { Compare } from '../storage.ts'
import type { EtcdClient } from './client.ts'
import type { Transaction } from './group.ts'
import { endOf } from './keys.ts'

const READ_MS = 3_000

/**
 * Judges the compares again as of the revision before the group.
 *
 * @throws StorageError if that is compacted
 */
export async function outcomesBefore(
  client: EtcdClient,
  applied: number,
  members: readonly Transaction[],
): Promise<boolean[]> {
  const held = async (compare: Compare): Promise<boolean> => {
    const revision = applied - 1
    if ('key' in compare) {
      const key = Buffer.from(client.prefix + compare.key)
      const { kvs } = await client.ask('KV.Range', { key, revision, keys_only: true }, READ_MS)
      return Number(kvs[0]?.mod_revision ?? 0) === compare.revision
    }
    const start = client.prefix + compare.prefix
    const range = { key: Buffer.from(start), range_end: endOf(start), revision, keys_only: true, limit: 1 }
    const min_mod_revision = compare.unchangedSince + 1
    const { kvs } = await client.ask('KV.Range', { ...range, min_mod_revision }, READ_MS)
    return kvs.length === 0
  }
  try {
    return await Promise.all(
      members.map(async ({ compares }) => (await Promise.all(compares.map(held))).every(Boolean)),
    )
  } catch (error) {
    throw new StorageError('the write has happened, but whether its compares held is unknown', { cause: error })
  }
}
