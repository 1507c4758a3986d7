/** The trust domain of a state, from its authorities, or else from what their services own. */
import { parseSpiffeId } from '../../identity/spiffe-id.ts'
import { splitKey } from '../records.ts'
import type { Item } from '../storage/storage.ts'

/** `undefined`: its keys are sealed, and nothing is registered. */
export function trustDomainOf(items: Iterable<Pick<Item, 'key' | 'value'>>): string | undefined {
  let owner: string | undefined
  for (const { key, value } of items) {
    const [kind] = splitKey(key)
    if (kind !== 'ca' && (kind !== 'inst' || owner !== undefined)) continue
    const record = fieldsOf(value)
    if (typeof record.trustDomain === 'string') return record.trustDomain
    if (typeof record.owner === 'string') owner = record.owner
  }
  return owner === undefined ? undefined : parseSpiffeId(owner)?.trustDomain
}

function fieldsOf(value: string): { readonly trustDomain?: unknown; readonly owner?: unknown } {
  try {
    return (JSON.parse(value) as object | null) ?? {}
  } catch {
    return {}
  }
}
