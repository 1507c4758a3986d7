/**
 * A subset of the endpoints for each client, so that thousands of clients do not hold connections to thousands of endpoints each. By rendezvous
 * hashing (Thaler, Ravishankar 1996; gRFC A68): no client needs a number or knows of the others, and one endpoint more or less changes at most one.
 */
import type { Endpoint } from '../../core/endpoint.ts'
import { hashText, mix } from './hash.ts'

/** The `size` endpoints that rank first for this client, in their order; all, if there are no more. */
export function subsetOf(endpoints: readonly Endpoint[], size: number, clientId: string): readonly Endpoint[] {
  if (endpoints.length <= size) return endpoints
  // One of weight 0 would take a place and no calls.
  const weighty = endpoints.filter((endpoint) => endpoint.weight > 0)
  const candidates = weighty.length >= size ? weighty : endpoints
  if (candidates.length === size) return candidates
  const seeds = [hashText(clientId, 1), hashText(clientId, 2)] as const
  const ranks = Float64Array.from(candidates, ({ hashKey }) => rank(hashKey, seeds))
  const least = ranks.toSorted()[ranks.length - size]!
  return candidates.filter((_, i) => ranks[i]! >= least)
}

/** 53 bits, all that a number holds: among 10,000 endpoints two are equal once in 10^8 times. */
function rank(key: string, seeds: readonly [number, number]): number {
  return mix(hashText(key, seeds[0])) * 2 ** 21 + (hashText(key, seeds[1]) >>> 11)
}
