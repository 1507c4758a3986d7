/**
 * What a destination needs of a transport. It knows no protocol: pools, connections and probes stay
 * behind these interfaces.
 */
import type { Clock } from '../core/clock.ts'
import type { Endpoint, EndpointTransport } from '../core/endpoint.ts'
import type { TransportPreference } from '../core/transport.ts'
import type { OverrideProofs } from '../identity/override-proofs.ts'
import type { Probe } from './health-checks.ts'

/** The connections of one endpoint, opened on first use. One connection may carry many calls. */
export interface EndpointPool extends EndpointTransport {
  readonly endpoint: Endpoint
  /** Open connections, including those that are still being established. */
  readonly connections: number
  /**
   * Whether a connection is established. If not, waiters are blocked on connecting rather than on
   * capacity.
   */
  readonly reachable: boolean
}

/** Reaches the endpoints of services by one protocol. A mesh has one of each kind. */
export interface Transport<P extends EndpointPool = EndpointPool> {
  readonly clock: Clock
  /** Once `true`, calls fail with `closed`. */
  readonly closed: boolean
  /** Introduces overrides of requests. */
  readonly overrides: OverrideProofs
  /** Open connections to all endpoints. */
  readonly connections: number
  /**
   * The pool of `endpoint`, made on first use by what the endpoint offers. Discovery closes it when
   * it withdraws the endpoint.
   */
  poolOf(endpoint: Endpoint): P
  /**
   * What carries calls to `service` from now on. `undefined`: no document says anything. Calls in
   * flight end as they began.
   */
  prefer(service: string, preference: TransportPreference | undefined): void
  /** A probe for health checks. HTTP asks for `path`, gRPC asks the standard health service. */
  probe(path: string): Probe
  /** Stops accepting calls. Calls in flight have `graceMs` to finish. */
  close(graceMs: number): void
}
