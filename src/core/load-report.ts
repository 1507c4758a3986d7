/** The load of a server, as it reports it with an answer. */
export interface LoadReport {
  /** Requests of any caller in flight there, without the one that is answered. */
  readonly inFlight: number
  /** The latency of a request there at that load, in ms; 0: not known. */
  readonly latencyMs: number
  /** From arrival to end of the request that is answered, in ms. */
  readonly servedMs: number
  /** When it arrived at its caller. @defaultValue with the end of the attempt */
  readonly arrivedAt?: number
  /**
   * How many requests a second a foreign server could serve, by its utilization (gRFC A58). Its
   * requests in flight and its latency are not known then. @defaultValue not known
   */
  readonly capacity?: number
}

/** Larger numbers are cut to these on the way out, and no report on the way in. */
export const MOST_IN_FLIGHT = 0xffff
export const MOST_MICROSECONDS = 0xffff_ffff
