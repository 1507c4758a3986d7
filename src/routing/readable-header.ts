/** Headers of which no route can know the value: callers make them when they send the request. */
import { isReserved } from '../core/headers.ts'
import { show } from '../options/fields.ts'
import { UNCHANGEABLE } from './header-changes.ts'
import type { MatchSettings } from './settings.ts'
import { HOST } from './value-match.ts'

/** Written by gRPC itself, whatever the metadata says. */
const OF_GRPC = /^(?:user-agent|content-type|grpc-.*)$/

/**
 * Why routes cannot read a header; `undefined`: they can.
 *
 * @param name - in lower case
 * @param protocol - `undefined`: both
 */
export function unreadableHeader(name: string, protocol: MatchSettings['protocol']): string | undefined {
  // A header of HTTP may have such a name, and its value is text.
  if (name.endsWith('-bin') && protocol !== 'http') {
    return `${show(name)} is binary metadata in gRPC, which routes do not read; expected one whose name does not end with '-bin'`
  }
  if (name !== HOST && UNCHANGEABLE.has(name)) {
    return `${show(name)} belongs to the connection, and is not known when a route is chosen; leave it out`
  }
  if (isReserved(name))
    return `${show(name)} is reserved, and taken from requests before a route is chosen; leave it out`
  if (protocol === 'grpc' && OF_GRPC.test(name)) {
    return `${show(name)} is written by gRPC after a route is chosen; leave it out`
  }
  return undefined
}
