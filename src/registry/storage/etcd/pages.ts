/** Reads many keys in pages, all as of one revision. */
import type { EtcdClient } from './client.ts'
import { endOf } from './keys.ts'
import type { KeyValue } from './messages.ts'

const SMALLEST_PAGE = 10
/** Of the values in one page; more of them make the next page smaller. */
const PAGE_BYTES = 1_000_000
const READ_MS = 5_000

export interface Page {
  readonly kvs: readonly KeyValue[]
  readonly revision: number
}

export interface PagesOptions {
  /** Default: the current one, as of the first page. */
  readonly revision?: number
  readonly keysOnly?: boolean
  readonly largest: number
  /** From any node, also without a majority. */
  readonly serializable?: boolean
}

/**
 * All keys below the engine's prefix that begin with `start`, in order.
 *
 * @throws EtcdFailure
 */
export async function* pages(client: EtcdClient, start: string, options: PagesOptions): AsyncGenerator<Page> {
  const { keysOnly = false, largest, serializable = false } = options
  let { revision } = options
  let key = Buffer.from(client.prefix + start)
  const range_end = endOf(client.prefix + start)
  for (let limit = Math.min(largest, 200); ; ) {
    const asked = {
      key,
      range_end,
      limit,
      keys_only: keysOnly,
      serializable,
      ...(revision !== undefined && { revision }),
    }
    const { header, kvs, more } = await client.ask('KV.Range', asked, READ_MS)
    revision ??= Number(header.revision)
    yield { kvs, revision }
    const last = kvs.at(-1)
    if (!more || last === undefined) return
    key = Buffer.concat([last.key, Buffer.from([0])])
    const bytes = kvs.reduce((sum, { value }) => sum + value.length, 0)
    if (bytes > PAGE_BYTES) limit = Math.max(SMALLEST_PAGE, Math.floor((limit * PAGE_BYTES) / bytes))
    else if (bytes < PAGE_BYTES / 4) limit = Math.min(largest, limit * 2)
  }
}
