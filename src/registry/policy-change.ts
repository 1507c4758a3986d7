/** What a change does to one service's document. */
import type { PolicyRecord } from './records.ts'

export type StoredPolicy = Readonly<Record<string, unknown>>

/** What an apply does, or would do, to one service. */
export interface PolicyChange {
  /** Of a manifest its kind, namespace and name, such as `HTTPRoute/shop/items`. */
  readonly service: string
  readonly change: 'created' | 'updated' | 'unchanged' | 'deleted'
  /** After the change. */
  readonly version: number
  readonly before: StoredPolicy | null
  readonly after: StoredPolicy | null
  /** Of a manifest: the services that it was or is attached to. */
  readonly attached?: readonly string[]
}

/** `after: null` deletes. Documents that differ only in the order of their keys are equal. */
export function comparePolicy(service: string, current: PolicyRecord | null, after: StoredPolicy | null): PolicyChange {
  const before = current?.document ?? null
  const version = current?.version ?? 0
  if (canonical(before) === canonical(after)) return { service, change: 'unchanged', version, before, after }
  const change = after === null ? 'deleted' : before === null ? 'created' : 'updated'
  return { service, change, version: version + 1, before, after }
}

/** The same text for documents that differ only in the order of their keys. */
function canonical(document: StoredPolicy | null): string {
  return JSON.stringify(document, (_key, value: unknown) =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value,
  )
}
