/** Judges whether the last failure of an endpoint sets it apart from the others. */
import type { Outcome } from '../core/outcome.ts'
import type { EjectionReason } from './cluster-health.ts'
import type { EjectionSettings } from './ejection-settings.ts'
import type { EndpointHealth } from './endpoint-health.ts'
import type { Others } from './other-endpoints.ts'

/** A run must be less probable than this to be a sign, by simulation (`npm run simulate`). */
const IMPROBABLE = 0.005

export function ejectionReason(
  own: EndpointHealth,
  outcome: Outcome,
  now: number,
  settings: EjectionSettings,
  { hasChoice, failureShare: usual }: Others,
): EjectionReason | undefined {
  if (outcome.code === 'identity-rejected') return 'identity-rejected'
  if (outcome.code === 'connect-failed' && hasChoice) return 'connect-failed'
  const { consecutiveFailures, minimumCalls, errorThreshold } = settings
  const total = own.tally.total(now)
  const share = own.tally.bad(now) / total
  const many = total >= minimumCalls && share >= errorThreshold
  if (own.consecutive >= consecutiveFailures && usual ** own.consecutive < IMPROBABLE) return 'consecutive-failures'
  // If the others fail as often, another choice does not help: that is the service breaker's case.
  return many && usual < errorThreshold ? 'error-share' : undefined
}
