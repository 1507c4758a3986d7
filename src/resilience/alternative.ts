/** The interface through which ejection and circuit learn that calls go on to other endpoints. */
import type { Endpoint } from '../core/endpoint.ts'

/** The endpoints that calls go on to when others fail. */
export interface Alternative {
  /**
   * The share of failed attempts at the endpoints behind `endpoint`; `undefined` if there are none.
   */
  failureShareBehind(endpoint: Endpoint, now: number): number | undefined
}
