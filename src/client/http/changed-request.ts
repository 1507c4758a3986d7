/** Applies what a route changes of a request: headers, path and host. */

import { removeHeader } from '../../core/flat-carrier.ts'
import { rewrittenPath } from '../../routing/rewritten-path.ts'
import type { HeaderChanges } from '../../routing/settings.ts'
import type { Routed } from '../routed.ts'
import type { PreparedRequest } from './prepare-request.ts'

/** `request` is not changed. */
export function changedRequest(request: PreparedRequest, routed: Routed): PreparedRequest {
  const { requestChanges, rewrite } = routed
  let { headers, path, host } = request
  if (requestChanges.length > 0) {
    headers = [...headers]
    for (const changes of requestChanges) changeHeaders(headers, changes)
  }
  if (rewrite?.path !== undefined) path = rewrittenPath(routed.route!, rewrite.path, request.path)
  if (rewrite?.host !== undefined) host = rewrite.host
  const changed = request.with({ headers, path, host })
  changed.original ??= request
  return changed
}

/** The headers of a copy of `request`: with the changes for the copy's target instead. */
export function mirrorHeaders({ headers, original }: PreparedRequest, changes: readonly HeaderChanges[]): string[] {
  const given = original?.headers ?? headers
  if (changes.length === 0) return given
  const flat = [...given]
  for (const each of changes) changeHeaders(flat, each)
  return flat
}

/** `flat`: `[name, value, ...]`, names in lower case. */
function changeHeaders(flat: string[], { remove, set, add }: HeaderChanges): void {
  for (const name of remove) removeHeader(flat, name)
  for (const [name, value] of set) {
    removeHeader(flat, name)
    flat.push(name, value)
  }
  for (const [name, value] of add) flat.push(name, value)
}
