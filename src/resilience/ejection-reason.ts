/** Judges whether the last failure of an endpoint sets it apart from the others. */
import type { Outcome } from '../core/outcome.ts'
import { classify } from './classification.ts'
import type { EjectionReason } from './cluster-health.ts'
import type { EjectionSettings } from './ejection-settings.ts'
import type { EndpointHealth } from './endpoint-health.ts'
import type { Others } from './other-endpoints.ts'

/** A run must be less probable than this to be a sign, by simulation (`npm run simulate`). */
const IMPROBABLE = 0.005

/** Others that fail half as often are no way out. */
const TIMES_AS_OFTEN = 2

/** `room`: one more ejection leaves enough endpoints to bear the load. */
export function ejectionReason(
  own: EndpointHealth,
  outcome: Outcome,
  now: number,
  settings: EjectionSettings,
  others: Others,
  room: boolean,
): EjectionReason | undefined {
  if (outcome.code === 'identity-rejected') return 'identity-rejected'
  if (outcome.code === 'connect-failed' && others.hasChoice) return 'connect-failed'
  const { consecutiveFailures, minimumCalls, errorThreshold } = settings
  const usual = others.failureShare
  if (own.consecutive >= consecutiveFailures && usual ** own.consecutive < IMPROBABLE) return 'consecutive-failures'
  // If the others fail as often, another choice does not help: that is the service breaker's case.
  if (usual >= errorThreshold) return undefined
  const total = own.tally.total(now)
  const bad = own.tally.bad(now)
  if (total >= minimumCalls && bad / total >= errorThreshold) return 'error-share'
  if (classify(outcome) !== 'hard' || others.total < minimumCalls) return undefined
  return isOutlier(own, others, now, settings) && room ? 'outlier' : undefined
}

function isOutlier(own: EndpointHealth, others: Others, now: number, settings: EjectionSettings): boolean {
  // Laplace's rule of succession: what has not happened yet is not impossible.
  const usual = (others.failureShare * others.total + 1) / (others.total + 2)
  const worse = Math.max(TIMES_AS_OFTEN * usual, usual + settings.outlierThreshold)
  return worse < 1 && own.worse.failed(now, usual, worse, own.strikes > 0)
}
