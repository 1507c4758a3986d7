/**
 * Surveys all endpoints of a picker in a single pass, because a change may involve thousands of
 * them.
 */
import { type Endpoint, withWeight } from '../../core/endpoint.ts'

export interface Survey {
  /** Endpoints that take calls. */
  readonly endpoints: readonly Endpoint[]
  /** All of them have the same weight. */
  readonly equal: boolean
  /** When all of them have warmed up; 0 if they have. */
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
  // If all weights are 0, all endpoints take calls.
  return without && !equal ? survey(withWeight(endpoints)) : { endpoints, equal, warmAt }
}
