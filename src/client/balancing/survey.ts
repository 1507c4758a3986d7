/**
 * Surveys all endpoints of a picker in a single pass, because a change may involve thousands of
 * them.
 */
import type { Endpoint } from '../../core/endpoint.ts'
import { withWeight } from './usable.ts'

export interface Survey {
  /** Those who take calls. */
  readonly endpoints: readonly Endpoint[]
  /** All of them have the same weight. */
  readonly equal: boolean
  /** When all of them will be warm; 0: they are. */
  readonly warmAt: number
}

export function survey(endpoints: readonly Endpoint[]): Survey {
  const first = endpoints[0]?.weight
  let equal = true
  let without = false
  let warmAt = 0
  for (const endpoint of endpoints) {
    if (endpoint.weight !== first) equal = false
    if (endpoint.weight === 0) without = true
    if (endpoint.warmAt > warmAt) warmAt = endpoint.warmAt
  }
  // Equal and without weight: all say so, and take calls.
  return without && !equal ? survey(withWeight(endpoints)) : { endpoints, equal, warmAt }
}
