/**
 * Decides which endpoints a picker may choose, and which it takes when none is left. All balancers
 * share these rules.
 */
import type { Endpoint } from '../../core/endpoint.ts'
import type { ClusterHealth } from '../../resilience/cluster-health.ts'

export type Tried = readonly Endpoint[] | undefined

/** The scope of a pick: healthy endpoints, reachable ones, or all. */
export type PickScope = typeof HEALTHY | typeof REACHABLE | typeof EVERY_ENDPOINT
export const HEALTHY = 0
export const REACHABLE = 1
export const EVERY_ENDPOINT = 2

/**
 * Panic ignores ejections, except of endpoints that refuse connections: they relieve no others.
 */
export function pickScope(health: ClusterHealth | undefined): PickScope {
  if (health === undefined) return EVERY_ENDPOINT
  return health.panicking ? REACHABLE : HEALTHY
}

export function isUsable(endpoint: Endpoint, tried: Tried, among: PickScope): boolean {
  if (endpoint.state !== 'healthy' && (among === HEALTHY || (among === REACHABLE && endpoint.unreachable))) return false
  return tried === undefined || !tried.includes(endpoint)
}

/**
 * The best that a search from `from` finds when ordinary picking found nothing. A healthy one that
 * failed once in this call is a better bet than an ejected one.
 */
export function searchAll(endpoints: readonly Endpoint[], from: number, tried: Tried, among: PickScope): Endpoint {
  return (
    search(endpoints, from, tried, among) ??
    search(endpoints, from, undefined, HEALTHY) ??
    search(endpoints, from, tried, REACHABLE) ??
    search(endpoints, from, tried, EVERY_ENDPOINT) ??
    endpoints[from]!
  )
}

function search(endpoints: readonly Endpoint[], from: number, tried: Tried, among: PickScope): Endpoint | undefined {
  const size = endpoints.length
  for (let i = 0; i < size; i++) {
    const endpoint = endpoints[(from + i) % size]!
    if (isUsable(endpoint, tried, among)) return endpoint
  }
  return undefined
}
