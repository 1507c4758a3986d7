/** What ejection knows of one endpoint: its counts, its strikes, and the probe that finds out. */
import type { Attempt } from '../core/attempt.ts'
import type { Endpoint } from '../core/endpoint.ts'
import { WindowedCounts } from './windowed-counts.ts'
import { WorseThanOthers } from './worse-than-others.ts'

/** Made for an endpoint when its first attempt ends. */
export class EndpointHealth {
  readonly tally: WindowedCounts
  readonly worse = new WorseThanOthers()
  consecutive = 0
  goodRun = 0
  strikes = 0
  changedAt = Number.NEGATIVE_INFINITY
  dueAt = 0
  probe: Attempt | undefined = undefined

  constructor(now: number) {
    this.tally = new WindowedCounts(now)
  }

  /** Out until health checks say otherwise. */
  get held(): boolean {
    return this.dueAt === Number.POSITIVE_INFINITY
  }
}

/** It began before the state of its endpoint changed, so it tells of the time before. */
export function isStale(attempt: Attempt, endpoint: Endpoint): boolean {
  const health = endpoint.health as EndpointHealth | undefined
  return health !== undefined && attempt.startedAt < health.changedAt
}

/** A probe that may run for any time. */
export function isOpenEnded(probe: Attempt | undefined): boolean {
  return probe !== undefined && probe.call.deadlineAt === Number.POSITIVE_INFINITY
}

/** The share of recent attempts at `endpoints` that failed; 0 without attempts. */
export function failureShareOf(endpoints: readonly Endpoint[], now: number): number {
  let [bad, total] = [0, 0]
  for (const { health } of endpoints) {
    if (!(health instanceof EndpointHealth)) continue
    bad += health.tally.bad(now)
    total += health.tally.total(now)
  }
  return total > 0 ? bad / total : 0
}
