/** Spreads the retirement of connections that still use the last certificate after a rotation. */
import { certificateTimeOf, LEAP_GRACE_MS, LEAP_SPREAD_MS } from '../core/certificate-time.ts'
import type { Clock } from '../core/clock.ts'

export interface Retirement {
  readonly from: number
  readonly spreadMs: number
}

/**
 * Within `spreadMs`. After a leap of the wall clock they serve until every server has had the time
 * to renew its certificate, too, and end before servers refuse what they were opened with.
 */
export function retirement(clock: Clock, spreadMs: number): Retirement {
  const from = clock.now()
  const { leaptAt } = certificateTimeOf(clock)
  if (leaptAt === undefined) return { from, spreadMs }
  return { from: Math.max(from, leaptAt + LEAP_GRACE_MS / 2), spreadMs: Math.min(spreadMs, LEAP_SPREAD_MS) }
}
