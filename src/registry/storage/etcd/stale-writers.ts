/** Removes the slots of processes that were killed. */
import type { EtcdClient } from './client.ts'
import { OWN_KEYS } from './keys.ts'
import { pages } from './pages.ts'

/** A slot that lives is written far more often, so that clocks may differ. */
const STALE_MS = 86_400_000
const MOST_AT_ONCE = 100

/** @throws EtcdFailure */
export async function removeStaleWriters(client: EtcdClient): Promise<void> {
  for await (const { kvs } of pages(client, OWN_KEYS.writers, { largest: MOST_AT_ONCE })) {
    for (const { key, value, mod_revision } of kvs) {
      const at = Number.parseInt(value.toString(), 10)
      if (at > Date.now() - STALE_MS) continue
      const unchanged = { key, target: 'MOD', result: 'EQUAL', mod_revision: Number(mod_revision) } as const
      const removal = [{ request_delete_range: { key } }]
      await client.ask('KV.Txn', { compare: [unchanged], success: removal, failure: [] }, 5_000)
    }
  }
}
