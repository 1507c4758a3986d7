/** The interface through which events see the ejected endpoints of a service. */
import type { Endpoint, EndpointState } from '../core/endpoint.ts'

export type { ClusterHealth } from '../core/picker.ts'

/**
 * Told of each change of an endpoint's state; `holdMs` when it is ejected, `Infinity` until health
 * checks pass.
 */
export type EjectionListener = (
  endpoint: Endpoint,
  from: EndpointState,
  to: EndpointState,
  reason: EjectionReason,
  holdMs: number,
) => void

export type EjectionReason =
  | 'consecutive-failures'
  | 'error-share'
  | 'outlier'
  | 'connect-failed'
  | 'identity-rejected'
  | 'hold-over'
  | 'probe-succeeded'
  | 'probe-failed'
  | 'probe-cancelled'
  | 'health-check'
  | 'health-check-passed'
  | 'switched-off'
  | 'withdrawn'

/** Whether too many of `size` endpoints are out, of which some could not be connected to. */
export function isPanic(size: number, out: number, unreachable: number, maxShare: number): boolean {
  // If no endpoint can be connected to, refused connections set none apart.
  const apart = unreachable < size ? unreachable : 0
  return out - apart > (size - apart) * maxShare
}
