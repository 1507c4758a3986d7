/** Why a service has no instance for a call, as far as its source says: part of an error's text. */
import type { Protocol } from '../core/protocol.ts'
import type { ServiceEndpoints } from './resolver.ts'

/**
 * `undefined`: there is one, or the source has not said so. `unanswered`: that the source does not
 * answer, if so, for endpoints of the last run.
 */
export function absenceOf(endpoints: ServiceEndpoints, protocol: Protocol, unanswered?: string): string | undefined {
  const { instances, nearest, stale, doubted, unread } = endpoints
  if (doubted === true || unread !== undefined) return undefined
  if (stale) {
    if (unanswered === undefined) return undefined
    return `${unanswered}, and ${instances.length === 0 ? 'no instance' : `none that serves ${protocol}`} was known before`
  }
  if (instances.length === 0) {
    return `no process registers it${nearest === undefined ? '' : `; did you mean '${nearest}'?`}`
  }
  const spoken = new Set(instances.map((instance) => instance.protocol))
  return spoken.has(protocol) ? undefined : `its instances serve ${[...spoken].join(' and ')}, not ${protocol}`
}
