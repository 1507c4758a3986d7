/** One ended call as a tap shows it: no bodies, no query, no header that was not asked for. */
import type { Attempt } from '../../core/attempt.ts'
import type { Call } from '../../core/call.ts'
import type { CallDetails } from '../../core/call-details.ts'
import type { Outcome } from '../../core/outcome.ts'
import { safeText } from '../access-log/safe-text.ts'
import type { Side } from '../call-metrics.ts'
import { isSecretHeader } from '../redact.ts'
import { TAP_LIMITS, type TappedCall } from './tap-message.ts'

export interface EndedCall {
  readonly side: Side
  readonly call: Call
  readonly outcome: Outcome
  readonly details: CallDetails
  readonly decisive: Attempt | undefined
  readonly endedAt: number
  /** Wall clock. */
  readonly at: number
}

/** HTTP or gRPC status; `undefined`: no answer came. */
export function statusOf(call: Call, outcome: Outcome, details: CallDetails): number | undefined {
  const status = details.status ?? outcome.status
  return status ?? (call.kind.protocol === 'grpc' && outcome.verdict === 'success' ? 0 : undefined)
}

/** What a filter for paths looks at. */
export function pathOf(call: Call, details: CallDetails): string | undefined {
  return call.kind.protocol === 'grpc' ? call.kind.method : details.path
}

export function tappedCall(ended: EndedCall, headers: readonly string[]): TappedCall {
  const { side, call, outcome, details, endedAt, at } = ended
  const { kind, routed, trace } = call
  const endpoint = side === 'server' ? undefined : (ended.decisive?.endpoint ?? call.endpoint)
  const status = statusOf(call, outcome, details)
  const shown = headersOf(call, headers)
  return {
    at,
    ...(side === 'server' && { side }),
    to: endpoint?.service ?? kind.service,
    protocol: kind.protocol,
    method: safeText(kind.method, TAP_LIMITS.text),
    ...(kind.protocol === 'http' && details.path !== undefined && { path: safeText(details.path, TAP_LIMITS.path) }),
    ...(status !== undefined && { status }),
    ...(outcome.verdict !== 'success' && { code: outcome.code ?? outcome.verdict }),
    ms: Math.max(0, Math.round((endedAt - call.startedAt) * 1_000) / 1_000),
    attempts: side === 'server' ? 1 : call.attempts,
    ...(call.hedged && { hedged: true as const }),
    ...(endpoint !== undefined && { endpoint: endpoint.label }),
    ...(endpoint?.version !== undefined && { version: safeText(endpoint.version, TAP_LIMITS.text) }),
    ...(routed !== undefined && routed.name !== '' && { route: safeText(routed.name, TAP_LIMITS.text) }),
    ...(trace !== undefined && { trace: trace.traceId }),
    ...(shown !== undefined && { headers: shown }),
  }
}

function headersOf(call: Call, names: readonly string[]): Readonly<Record<string, string>> | undefined {
  if (names.length === 0) return undefined
  const found: Record<string, string> = {}
  for (const name of names) {
    const value = isSecretHeader(name) ? undefined : headerOf(call, name)
    if (value !== undefined) found[name] = safeText(value, TAP_LIMITS.header)
  }
  return Object.keys(found).length === 0 ? undefined : found
}

/** Metadata may have been given in a form that cannot be read as text. */
function headerOf(call: Call, name: string): string | undefined {
  try {
    return call.header(name)
  } catch {
    return undefined
  }
}
