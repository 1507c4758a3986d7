/** What the balancer knows of an endpoint's load, for people. */
import type { Endpoint } from '../../core/endpoint.ts'
import { ReportedCapacity } from './reported-capacity.ts'
import { ReportedLoad } from './reported-load.ts'

export interface KnownLoad {
  /** What we measure: a mean of its latency, in ms; 0: not known. */
  readonly estimateMs: number
  /** The last report of its server, for `least-load`; `undefined`: there is none. */
  readonly reported: LastReport | undefined
  /** For weights that are reported; `undefined`: nothing is. */
  readonly capacity: LastCapacity | undefined
}

export interface LastReport {
  readonly inFlight: number
  /** As it counts: not much better than what we measure. */
  readonly latencyMs: number
  /** The mean time between us and the server. */
  readonly networkMs: number
  readonly ageMs: number
  /** No failure has made it void since. */
  readonly valid: boolean
}

export interface LastCapacity {
  /** Requests a second that it could serve. */
  readonly perSecond: number
  /** Its weight by that, relative to the mean of all. */
  readonly share: number
  readonly ageMs: number
}

export function knownLoad({ estimateMs, load, capacity, share }: Endpoint, now: number): KnownLoad {
  return {
    estimateMs: inMicroseconds(estimateMs),
    reported: load instanceof ReportedLoad ? lastReport(load, now) : undefined,
    capacity:
      capacity instanceof ReportedCapacity
        ? {
            perSecond: inMicroseconds(capacity.reportedPerSecond),
            share: inMicroseconds(share),
            ageMs: Math.round(now - capacity.at),
          }
        : undefined,
  }
}

function lastReport(load: ReportedLoad, now: number): LastReport {
  return {
    inFlight: load.reportedInFlight,
    latencyMs: inMicroseconds(load.reportedLatencyMs),
    networkMs: inMicroseconds(load.networkMs),
    ageMs: Math.round(now - load.at),
    valid: load.valid,
  }
}

function inMicroseconds(ms: number): number {
  return Math.round(ms * 1_000) / 1_000
}
