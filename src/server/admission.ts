/**
 * What both doors ask of every request before its handler runs: is its identity alive, may it, is
 * there time, is there room.
 */
import type { Attempt } from '../core/attempt.ts'
import { certificateTimeOf } from '../core/certificate-time.ts'
import type { Clock } from '../core/clock.ts'
import type { ErrorCode } from '../core/errors.ts'
import { startAttempt, startCall } from '../resilience/execution.ts'
import type { Stack } from '../resilience/stack.ts'
import type { EventSink } from '../telemetry/events.ts'
import type { Decision } from './authorization.ts'
import type { Connection } from './connection.ts'
import type { InboundCall } from './inbound-call.ts'

/** Why a request is not served; it has been counted as begun. */
export interface Refused {
  readonly code: ErrorCode
  readonly message: string
}

interface AdmissionHost {
  readonly service: string
  readonly clock: Clock
  readonly events: EventSink
}

/** `decision`: of the intentions; `undefined` for what needs none. `target`: path and query. */
export function admit(
  { service, clock, events }: AdmissionHost,
  stack: Stack,
  call: InboundCall,
  attempt: Attempt,
  connection: Connection,
  decision: Decision | undefined,
  target: string,
): Refused | undefined {
  startCall(stack, call)
  const { expiresAt } = connection
  // The second question is for a wall clock that has leapt, and costs too much for every call.
  if (clock.wallNow() >= expiresAt && certificateTimeOf(clock).now() >= expiresAt) {
    return { code: 'identity-rejected', message: 'The certificate of this connection has expired.' }
  }
  if (decision?.allowed === false) {
    const peer = call.peer ?? call.caller?.spiffeId ?? 'unknown'
    const path = target.split('?', 1)[0]!
    events.emit('intention:denied', { peer, method: call.route.method, path, reason: decision.rule })
    return { code: 'permission-denied', message: `No intention allows this call to '${service}'.` }
  }
  const code = startAttempt(stack, attempt, call.startedAt)
  if (code === undefined) {
    connection.inFlight += 1
    return undefined
  }
  if (code === 'deadline-exceeded') {
    return { code, message: 'The deadline of this call had passed before it could begin.' }
  }
  events.emit('admission:refused', { side: 'server', code, ...(call.peer !== undefined && { peer: call.peer }) })
  return { code, message: `'${service}' takes no more calls right now (${code}).` }
}

/** Kept with the stack that they were made from. */
const unlimited = new WeakMap<Stack, Stack>()

/**
 * For what needs no intention: it must not take the room of those who have one, and a full server
 * is not ill.
 */
export function withoutLimits(stack: Stack): Stack {
  let made = unlimited.get(stack)
  if (made === undefined) {
    made = { ...stack, service: [], endpoint: [] }
    unlimited.set(stack, made)
  }
  return made
}
