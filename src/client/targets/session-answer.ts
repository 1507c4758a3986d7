/** What an answer tells of the session that its call belongs to. */
import type { Endpoint } from '../../core/endpoint.ts'
import { readSession, sessionHeader } from '../../routing/session.ts'
import type { Routed } from '../routed.ts'

/**
 * A header with its value; `undefined`: the route has no sessions, or the request's cookie still
 * holds. `headerOf`: a header of the request.
 */
export function sessionOfAnswer(
  { route, target }: Routed,
  endpoint: Endpoint | undefined,
  headerOf: (header: string) => string | undefined,
  wallNow: number,
): readonly [name: string, value: string] | undefined {
  const session = route?.session
  if (session === undefined || target === undefined || endpoint === undefined) return undefined
  const before = readSession(session, headerOf, wallNow)
  const same = before?.target === target.key && before.endpoint === endpoint.id
  if (same && session.cookie !== undefined) return undefined
  const since = same ? before.since : Math.floor(wallNow / 1_000)
  return sessionHeader(session, { target: target.key, endpoint: endpoint.id, since })
}
