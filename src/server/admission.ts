/**
 * Admission of a call on a server, before its handler runs: certificate, authorization, deadline
 * and limits, in this order.
 */
import type { Attempt } from '../core/attempt.ts'
import { certificateTimeOf } from '../core/certificate-time.ts'
import type { Clock } from '../core/clock.ts'
import type { ErrorCode } from '../core/errors.ts'
import { startAttempt } from '../resilience/execution.ts'
import type { Stack } from '../resilience/stack.ts'
import type { EventSink } from '../telemetry/events.ts'
import type { Decision, RequestHead } from './authorization/authorizer.ts'
import type { Connection } from './connection.ts'
import type { InboundCall } from './inbound-call.ts'

/** Why a call is not admitted. */
export interface Refused {
  readonly code: ErrorCode
  readonly message: string
}

interface AdmissionHost {
  readonly service: string
  readonly clock: Clock
  readonly events: EventSink
}

/** Why a call of a caller that an operator denied ends. */
export function deniedMessage({ caller }: Connection): string {
  return `An operator denied ${caller?.spiffeId} all access.`
}

const ANONYMOUS = ' It came without a certificate of the mesh, which only a rule with `unauthenticated: true` admits.'

/** `now`: the instant of the decision. On success, the attempt has started. */
export function admit(
  { service, clock, events }: AdmissionHost,
  stack: Stack,
  call: InboundCall,
  attempt: Attempt,
  connection: Connection,
  head: RequestHead,
  decision: Decision,
  now: number,
): Refused | undefined {
  const { expiresAt, denied } = connection
  if (denied) return { code: 'identity-rejected', message: deniedMessage(connection) }
  // The second clock corrects a wall clock that has jumped, and is too slow for every call.
  if (clock.wallNow() >= expiresAt && certificateTimeOf(clock).now() >= expiresAt) {
    return { code: 'identity-rejected', message: 'The certificate of this connection has expired.' }
  }
  if (!decision.allowed) {
    tellDenied(events, call, head, decision)
    const who = call.peer === undefined ? ANONYMOUS : ''
    return { code: 'permission-denied', message: `No intention allows this call to '${service}'.${who}` }
  }
  const code = startAttempt(stack, attempt, now)
  if (code === undefined) return undefined
  if (code === 'deadline-exceeded') {
    return { code, message: 'The deadline of this call had passed before it could begin.' }
  }
  events.emit('admission:refused', { side: 'server', code, ...(call.peer !== undefined && { peer: call.peer }) })
  return { code, message: `'${service}' takes no more calls right now (${code}).` }
}

/** Reports that `decision` does not allow `call`. */
export function tellDenied(events: EventSink, call: InboundCall, head: RequestHead, { rule }: Decision): void {
  const peer = call.peer ?? call.caller?.spiffeId ?? 'unknown'
  const path = head.target.split('?', 1)[0]!
  events.emit('intention:denied', { peer, method: call.kind.method, path, reason: rule })
}

/** Cached with the stack they derive from. */
const unlimited = new WeakMap<Stack, Stack>()

/**
 * The stack for calls that need no intention, such as health checks. They take no permits from
 * authorized calls, and a full server does not fail them.
 */
export function withoutLimits(stack: Stack): Stack {
  let made = unlimited.get(stack)
  if (made === undefined) {
    made = { ...stack, service: [], endpoint: [] }
    unlimited.set(stack, made)
  }
  return made
}
