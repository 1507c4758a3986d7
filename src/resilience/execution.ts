/**
 * Walks a call through its attempts, and calls its policies in order. Clients, servers and guarded
 * functions share these synchronous functions, which allocate nothing on success.
 *
 * - `startCall` once, then `startAttempt` for each try; a refusal code means that nothing was
 *   started.
 * - `hedgeDelay` after an attempt has started, and `startHedge` when it has passed: then two
 *   attempts run, and the first success wins.
 * - `answerBegins` when an answer has begun that need not end.
 * - `endAttempt` exactly once for each started attempt; says how long to wait before the next, or
 *   FINAL, or NOT_DECISIVE.
 * - `endCall` for calls that end without an attempt ending (refused before the first, cancelled
 *   during a wait).
 */
import type { Attempt } from '../core/attempt.ts'
import { waitedForPeerMs } from '../core/attempt.ts'
import type { Call } from '../core/call.ts'
import type { Endpoint } from '../core/endpoint.ts'
import type { ErrorCode } from '../core/errors.ts'
import { isFinal, type Outcome } from '../core/outcome.ts'
import { LOST } from './hedge.ts'
import { admitAll, settleAll } from './policy-list.ts'
import { FINAL } from './retry.ts'
import type { Stack } from './stack.ts'

export function startCall(stack: Stack, call: Call): void {
  const parent = call.parent
  // One that is over has no say in what begins after it.
  if (parent !== undefined && !parent.over) {
    if (parent.cancelled) call.cancel(parent.cancelledBy)
    else parent.adopt(call)
  }
  stack.telemetry.callStarted(call)
}

/**
 * Lets the next attempt start, or says why not. After `no-endpoints` the same attempt may be
 * started again. `now`: a door that has just made the call knows the time.
 */
export function startAttempt(stack: Stack, attempt: Attempt, now = stack.clock.now()): ErrorCode | undefined {
  const call = attempt.call
  if (call.cancelled) return 'cancelled'
  if (now >= call.deadlineAt) return 'deadline-exceeded'
  // Policies take the instant from the attempt: looking at the clock costs as much as a policy.
  attempt.startedAt = now

  if (call.first === undefined) {
    const refusal = admitAll(stack.service, attempt)
    if (refusal !== undefined) return refusal
    call.first = attempt
    // A call that serves a retry is paid for by the caller that retries: tiers that all added a
    // fifth would multiply.
    if (call.parent === undefined || call.parent.previousAttempts === 0) stack.budget.deposit(now)
    if (call.idempotent) stack.hedge?.deposit()
  }

  if (stack.cluster !== undefined) {
    const endpoint = stack.cluster.picker.pick(call, now)
    if (endpoint === undefined) return 'no-endpoints'
    attempt.endpoint = endpoint
    call.endpoint = endpoint
  }
  const refusal = admitAll(stack.endpoint, attempt)
  if (refusal !== undefined) return refusal
  begin(stack, attempt)
  return undefined
}

const NONE: readonly Endpoint[] = Object.freeze([])

/**
 * What {@link endAttempt} returns if another attempt of the call still runs, or has decided it
 * already.
 */
export const NOT_DECISIVE = -2

/** After how many ms a second attempt should be tried beside `attempt`; Infinity: none. */
export function hedgeDelay(stack: Stack, attempt: Attempt): number {
  const { call } = attempt
  if (stack.hedge === undefined || !call.idempotent || call.hedged || call.committed || call.kind.streaming) {
    return Number.POSITIVE_INFINITY
  }
  return stack.hedge.delayMs
}

/**
 * Lets `attempt` start beside the one that is late: on another endpoint, if there are endpoints,
 * and paid for. At most once a call.
 */
export function startHedge(stack: Stack, attempt: Attempt): boolean {
  const { call } = attempt
  const { hedge, clock, cluster } = stack
  const now = clock.now()
  if (
    hedge === undefined ||
    call.hedged ||
    call.committed ||
    call.settled ||
    call.cancelled ||
    now >= call.deadlineAt
  ) {
    return false
  }
  call.hedged = true
  attempt.startedAt = now
  if (!hedge.affordable || stack.budget.balance < 1) {
    hedge.unpaid()
    return false
  }
  if (cluster !== undefined) {
    const late = call.endpoint
    if (late !== undefined) avoid(call, late)
    const endpoint = cluster.picker.pick(call, now)
    if (endpoint === undefined || endpoint === late) return false
    attempt.endpoint = endpoint
  }
  if (admitAll(stack.endpoint, attempt) !== undefined) return false
  stack.budget.tryWithdraw(now)
  hedge.sent()
  attempt.hedge = true
  if (attempt.endpoint !== undefined) call.endpoint = attempt.endpoint
  begin(stack, attempt)
  return true
}

function begin(stack: Stack, attempt: Attempt): void {
  const { call } = attempt
  attempt.number = call.attempts++
  attempt.running = true
  call.running += 1
  attempt.openEnded = call.kind.streaming || call.uploads
  if (attempt.endpoint !== undefined) enter(attempt)
  stack.telemetry.attemptStarted(attempt)
}

/**
 * The peer has begun to answer, and well, and may go on for as long as it likes. What waits for an
 * answer has it now.
 */
export function answerBegins(stack: Stack, attempt: Attempt): void {
  if (!attempt.running || attempt.begun) return
  attempt.begun = true
  const { typicalLatency } = stack
  if (typicalLatency !== undefined) typicalLatency.learnHead(tookMs(stack, attempt, typicalLatency.slowestHeadMs))
  if (!attempt.openEnded) {
    if (attempt.endpoint !== undefined) unlink(attempt, attempt.endpoint)
    attempt.openEnded = true
  }
  for (const policy of stack.endpoint) policy.answered?.(attempt)
  const { first } = attempt.call
  if (first === undefined) return
  // Service policies see a call by its first attempt.
  first.begun = true
  for (const policy of stack.service) policy.answered?.(first)
}

/**
 * The attempt is over. Returns the wait in ms before the next one, or FINAL: then the call is over,
 * too; or NOT_DECISIVE. A failure beside an attempt that still runs waits for that one; after a
 * success the door ends the other attempt as `LOST`.
 */
export function endAttempt(stack: Stack, attempt: Attempt, outcome: Outcome): number {
  if (!attempt.running) return FINAL
  attempt.running = false
  const now = stack.clock.now()
  attempt.endedAt = now
  const call = attempt.call
  call.running -= 1
  call.status = attempt.status
  if (attempt.endpoint !== undefined) leave(attempt)
  if (attempt.ownSince > 0) {
    attempt.ownMs += now - attempt.ownSince
    attempt.ownSince = 0
  }
  settleAll(stack.endpoint, attempt, outcome)
  const { typicalLatency } = stack
  if (typicalLatency !== undefined && outcome.verdict === 'success' && !attempt.begun) {
    typicalLatency.learn(tookMs(stack, attempt, typicalLatency.slowestMs, now))
  }
  if (outcome.verdict === 'refused') call.refusals += 1
  else if (attempt.sent) call.sent = true

  if (stack.hedge !== undefined) stack.hedge.ended(attempt, outcome, now)

  let waitMs = FINAL
  if (call.settled) waitMs = NOT_DECISIVE
  else if (!isFinal(outcome)) {
    call.reports ??= []
    call.reports.push({
      endpoint: attempt.endpoint?.label,
      durationMs: now - attempt.startedAt,
      code: outcome.code,
      status: outcome.status,
    })
    waitMs = call.running > 0 ? NOT_DECISIVE : stack.retry.next(attempt, outcome, stack.cluster?.endpoints ?? NONE)
    if (waitMs !== FINAL && outcome !== LOST && attempt.endpoint !== undefined) avoid(call, attempt.endpoint)
  }
  stack.telemetry.attemptEnded(attempt, outcome, waitMs)
  if (waitMs !== FINAL) return waitMs
  // With a hedge, it may be the earlier one.
  if (attempt.endpoint !== undefined) call.endpoint = attempt.endpoint
  finish(stack, call, ofCall(call, outcome), now)
  return FINAL
}

/**
 * How long the peer took. The clock is asked for stalls of our own loop only where an answer would
 * be the slowest: one stall would excuse the hangs of the next hundred calls.
 */
function tookMs(stack: Stack, attempt: Attempt, slowestMs: number, now = stack.clock.now()): number {
  const ms = waitedForPeerMs(attempt, now)
  if (ms <= slowestMs) return ms
  // What has been given back for a stall is in `ownMs` already.
  const stalledMs = Math.max(0, stack.clock.stalledMsSince(attempt.startedAt) - attempt.ownMs)
  return Math.max(0, ms - stalledMs)
}

/** Ends that say nothing of the peer. */
const OURS: ReadonlySet<ErrorCode> = new Set(['deadline-exceeded', 'cancelled'])

/**
 * The last attempt had little time, which teaches nothing; but if others failed before it, the call
 * has failed.
 */
function ofCall(call: Call, outcome: Outcome): Outcome {
  if (outcome.verdict !== 'cancelled' || outcome.code !== 'deadline-exceeded') return outcome
  const failed = call.reports?.some(({ code }) => code !== undefined && !OURS.has(code)) === true
  return failed ? { ...outcome, verdict: 'failure' } : outcome
}

/** The call is over. Only the first time counts. */
export function endCall(stack: Stack, call: Call, outcome: Outcome): void {
  if (!call.settled) finish(stack, call, outcome, call.first === undefined ? 0 : stack.clock.now())
}

function finish(stack: Stack, call: Call, outcome: Outcome, now: number): void {
  call.settled = true
  call.outcome = outcome
  call.whenCancelled = undefined
  const { first } = call
  if (first !== undefined) {
    first.endedAt = now
    settleAll(stack.service, first, outcome)
  }
  call.parent?.release(call)
  stack.telemetry.callEnded(call, outcome)
}

function avoid(call: Call, endpoint: Endpoint): void {
  if (call.tried === undefined) call.tried = [endpoint]
  else if (!call.tried.includes(endpoint)) call.tried.push(endpoint)
}

/** It counts as load of its endpoint until {@link leave}. */
export function enter(attempt: Attempt): void {
  const endpoint = attempt.endpoint!
  endpoint.pending += 1
  // How long a stream is open says nothing of how soon it was answered.
  if (attempt.openEnded) return
  attempt.older = endpoint.newest
  if (endpoint.newest === undefined) endpoint.oldest = attempt
  else endpoint.newest.newer = attempt
  endpoint.newest = attempt
}

export function leave(attempt: Attempt): void {
  const endpoint = attempt.endpoint!
  endpoint.pending -= 1
  if (!attempt.openEnded) unlink(attempt, endpoint)
}

function unlink(attempt: Attempt, endpoint: Endpoint): void {
  if (attempt.older === undefined) endpoint.oldest = attempt.newer
  else attempt.older.newer = attempt.newer
  if (attempt.newer === undefined) endpoint.newest = attempt.older
  else attempt.newer.older = attempt.older
  attempt.older = undefined
  attempt.newer = undefined
}
