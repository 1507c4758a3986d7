/**
 * The names in a load report of ORCA (`xds.data.orca.v3.OrcaLoadReport`, gRFC A51), and those under
 * which servers of the mesh report their own three numbers.
 */

/** The fields of the message that are used, by their number. */
export const ORCA_FIELD = {
  cpu_utilization: 1,
  /** Deprecated, and whole. */
  rps: 3,
  rps_fractional: 6,
  eps: 7,
  named_metrics: 8,
  application_utilization: 9,
} as const

/** Requests in flight. */
export const IN_FLIGHT_METRIC = 'inmesh.in_flight'
/** The latency of a request at that load. */
export const LATENCY_METRIC = 'inmesh.latency_ms'
/** How long the request took that is answered. */
export const SERVED_METRIC = 'inmesh.served_ms'
