/** The interface through which balancers and events see the ejected endpoints of a service. */
import type { Call } from '../core/call.ts'
import type { Endpoint, EndpointState } from '../core/endpoint.ts'

/** What a balancer needs to know beyond the state of each endpoint. */
export interface ClusterHealth {
  /**
   * More than `maxShare` of the endpoints are ejected: ejections are ignored, except of endpoints
   * that refuse connections.
   */
  readonly panicking: boolean
  /** How many of the endpoints watched are out. */
  readonly ejected: number
  /** An endpoint whose hold is over, for this call to find out; `undefined`: none is due. */
  due(call: Call): Endpoint | undefined
}

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
  | 'connect-failed'
  | 'identity-rejected'
  | 'hold-over'
  | 'probe-succeeded'
  | 'probe-failed'
  | 'probe-cancelled'
  | 'health-check'
  | 'health-check-passed'
  | 'switched-off'
