/**
 * The `traffic` message: the calls that a process has counted since the last one, and what has
 * changed meanwhile. Caller and process are those of the session, never of the message.
 */

/** What one message may hold. A process that has more series reports the rest as {@link OTHER}. */
export const TRAFFIC_LIMITS = Object.freeze({
  /** Of one message, in bytes; what is more goes into further messages of the same time. */
  messageBytes: 256 * 1024,
  /** Besides the one of {@link OTHER}. */
  series: 500,
  /** Instances of one process. */
  served: 100,
  codes: 32,
  marks: 50,
  /** Characters of a name. */
  text: 128,
  /** Time that one message covers. */
  forMs: 120_000,
  /** How long ago a mark may be. */
  markAgeMs: 3_600_000,
  everyMs: { min: 100, max: 60_000 },
})

/** The called service of the one series without a protocol: all calls beyond the limit. */
export const OTHER = 'other'
/** The caller of what a server served to callers that are not of the mesh. */
export const OUTSIDE = 'outside'

/**
 * The calls of one kind, since the last message. Absent counts are 0, absent texts empty. Only the
 * series of {@link OTHER} has no protocol.
 */
export interface TrafficSeries {
  /** The service that answered; without an answer, the one that was called. Absent on servers. */
  readonly to?: string
  /** `server`: counted by the server, because its callers do not report. */
  readonly side?: 'server'
  readonly from?: typeof OUTSIDE
  /** The service that was called, if a route of its document led to another. */
  readonly via?: string
  /** `http`, `grpc` or `tcp`, whose calls are connections being opened. */
  readonly protocol?: string
  /** An HTTP method or `_OTHER`, a gRPC path, or `connect` for TCP. */
  readonly method?: string
  readonly route?: string
  /** Of the endpoint that gave the final answer. */
  readonly version?: string
  readonly zone?: string
  /**
   * Whether all calls that reached an endpoint did so over mutually authenticated connections;
   * absent: none has reached one. Not part of what tells two series apart.
   */
  readonly tls?: boolean
  /** Calls that ended. */
  readonly calls?: number
  /** Those that did not succeed, by error code; `cancelled` says nothing of the called service. */
  readonly codes?: Readonly<Record<string, number>>
  /** Attempts beyond the first of their calls, counted where they went. */
  readonly retries?: number
  readonly hedges?: number
  /** Copies that routes sent; they are no calls. */
  readonly mirrored?: number
  /**
   * Calls that have not ended, now. Only series without version and zone have it, because a call
   * in flight has neither. Absent: the number has not changed; 0: the last one has ended.
   */
  readonly inFlight?: number
  /** A `LatencyDigest` of the calls that succeeded or failed at an endpoint, without streams. */
  readonly ms?: string
}

/**
 * What a server of the process has answered to all callers since the last message. Health checks do
 * not count. A server that a message does not name has answered nothing.
 */
export interface ServedSeries {
  /** Of an instance that the session has registered. */
  readonly id: string
  /** Requests that ended, however they did. */
  readonly ended?: number
  /** Those of them that failed or were refused. */
  readonly failed?: number
  /** Those of them that their callers gave up. */
  readonly cancelled?: number
  /** Requests that have not ended, now; absent: none. */
  readonly inFlight?: number
  /** A `LatencyDigest` of those that succeeded or failed, without streams. */
  readonly ms?: string
}

/** A change of a called service's state. */
export interface TrafficMark {
  /** In ms relative to the end of what the message covers: 0 or less. */
  readonly at: number
  /** It has changed earlier, before the session: the state as it is now. */
  readonly old?: true
  readonly to: string
  /** More may come; readers pass over those they do not know. */
  readonly what: string
  /** States: of a `circuit`, `closed`, `open` or `half-open`; of `panic`, `on` or `off`. */
  readonly from?: string
  readonly now?: string
  /** Unless it is HTTP. */
  readonly protocol?: string
  /** If the state is a route's own. */
  readonly route?: string
  /** Of `ejected`, `restored` and `withdrawn`: `address:port`. */
  readonly endpoint?: string
  readonly reason?: string
}

export interface TrafficMessage {
  readonly type: 'traffic'
  /** Counts the messages of the session, from 1. */
  readonly sequence: number
  /** Time in ms that it covers. */
  readonly forMs: number
  /** Calls that are counted in the series of {@link OTHER}. */
  readonly left?: number
  readonly series: readonly TrafficSeries[]
  readonly served?: readonly ServedSeries[]
  readonly marks?: readonly TrafficMark[]
  /** Marks that were more than {@link TRAFFIC_LIMITS} allow. */
  readonly marksLeft?: number
}

/** No control characters, no marks that reverse the direction of a text. */
export const UNPRINTABLE = /\p{C}/u
