/** What ejection knows of one endpoint: its counts, its strikes, and the probe that finds out. */
import type { Attempt } from '../core/attempt.ts'
import type { Endpoint } from '../core/endpoint.ts'
import type { EjectionSettings } from './ejection-settings.ts'
import { WindowedCounts } from './windowed-counts.ts'
import { WorseThanOthers } from './worse-than-others.ts'

/** Each further hold is this much longer, by simulation (`npm run simulate`). */
const GROWTH = 4
/**
 * Holds are up to so much shorter, that the probes of many clients do not come together. With 20 %,
 * 5 of 1, 4, 10, 10, 10 s may end within 30 s (in 7 % of cases); with 10 % they take at least 31.5
 * s.
 */
const SPREAD = 0.1

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

  /** One more strike. Returns how long the endpoint is held; `chance` is from 0 to 1. */
  strike(now: number, { baseTimeMs, maxTimeMs }: EjectionSettings, chance: number): number {
    const holdMs = Math.min(maxTimeMs, baseTimeMs * GROWTH ** this.strikes) * (1 - SPREAD * chance)
    this.strikes = Math.min(this.strikes + 1, 16)
    this.consecutive = 0
    this.goodRun = 0
    this.dueAt = now + holdMs
    return holdMs
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
