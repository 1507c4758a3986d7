/**
 * Takes the key for consistent hashing from the part of the request that the policy names. Without
 * a key, any endpoint may serve the call.
 */
import type { HashKey } from '../../core/call.ts'
import { cookieOf } from '../../core/cookie.ts'
import type { RequestHead } from '../../core/request-head.ts'

/** The first that the request has of: the header, the cookie, the path without its query. */
export function hashKeyOf(source: HashKey, head: RequestHead): string | undefined {
  const { path } = head
  const header = source.header === undefined ? undefined : head.header(source.header)
  if (header !== undefined && header !== '') return header
  const cookies = source.cookie === undefined ? undefined : head.header('cookie')
  const cookie = cookies === undefined ? undefined : cookieOf(cookies, source.cookie!)
  if (cookie !== undefined && cookie !== '') return cookie
  if (!source.path) return undefined
  const query = path.indexOf('?')
  return query < 0 ? path : path.slice(0, query)
}
