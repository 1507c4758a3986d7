/**
 * Slow start: a newly discovered endpoint receives a share that grows with its age. Pickers skip
 * some of its picks, so no table is rebuilt meanwhile.
 */
import type { Endpoint } from '../../core/endpoint.ts'

/** Envoy's `min_weight_percent`: less would never warm it up. */
const AT_LEAST = 0.1

/**
 * Which part of its weight an endpoint has at `now`, from 0.1 to 1: Envoy's formula with aggression
 * 1.
 */
export function warmth(endpoint: Endpoint, now: number): number {
  if (now >= endpoint.warmAt) return 1
  const { discoveredAt, warmAt } = endpoint
  return Math.max(AT_LEAST, (now - discoveredAt) / (warmAt - discoveredAt))
}
