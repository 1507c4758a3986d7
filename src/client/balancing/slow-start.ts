/**
 * Slow start: an endpoint that has just been discovered gets a part of its share that grows with
 * its age. Discovery notes on the endpoint from when until when; pickers thin out its picks by that
 * part, so that no table is built anew as it grows.
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
