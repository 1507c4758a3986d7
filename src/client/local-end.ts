/**
 * Calls that end in this process, or are held up in it: a route answers them by itself, or injects
 * a fault. No attempt runs, and no breaker learns from it.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { Call } from '../core/call.ts'
import type { Clock } from '../core/clock.ts'
import type { ErrorCode } from '../core/errors.ts'
import type { Protocol } from '../core/protocol.ts'
import { drawFault } from '../resilience/fault-injection.ts'
import type { FixedAnswerSettings, RedirectSettings } from '../routing/settings.ts'
import type { Routed } from './routed.ts'

export type LocalAnswer = FixedAnswerSettings | RedirectSettings

/** What a route does with a call before, or instead of, its first attempt. */
export interface LocalStep {
  readonly delayMs: number
  /** `undefined`: an attempt follows. */
  readonly answer: LocalAnswer | undefined
}

/**
 * Drawn anew for each call. `header`: of its request. A fault without a status of the protocol is
 * its delay alone, as in servers.
 */
export function localStep(
  routed: Routed,
  protocol: Protocol,
  header: (name: string) => string | undefined,
  clock: Clock,
): LocalStep {
  const fault = drawFault(routed.faults, { peer: undefined, header }, clock)
  if (fault === undefined) return { delayMs: 0, answer: routed.answer }
  const { delayMs, status, grpcStatus } = fault
  if ((protocol === 'grpc' ? grpcStatus : status) === undefined) return { delayMs, answer: routed.answer }
  const answer = { kind: 'respond', body: '', headers: NO_HEADERS } as const
  return { delayMs, answer: { ...answer, status: status!, grpcStatus: grpcStatus! } }
}

const NO_HEADERS: FixedAnswerSettings['headers'] = Object.freeze([])

/** Calls `proceed` once: without a code after `ms`, else with the reason why not. */
export function holdUp(call: Call, ms: number, clock: Clock, proceed: (ended: ErrorCode | undefined) => void): void {
  const left = call.deadlineAt - clock.now()
  const goOn = AsyncLocalStorage.bind(proceed)
  const timer = clock.startTimer(Math.max(0, Math.min(ms, left)), () => finish(left <= ms), undefined)
  const finish = (late: boolean): void => {
    call.whenCancelled = undefined
    goOn(late ? 'deadline-exceeded' : undefined)
  }
  call.whenCancelled = () => {
    call.whenCancelled = undefined
    clock.stopTimer(timer)
    goOn('cancelled')
  }
}
