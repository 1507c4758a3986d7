/**
 * Waits for the first endpoint of a service that is still starting. The deadline bounds the wait,
 * and a cancellation ends it.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { Call } from '../core/call.ts'
import type { ErrorCode } from '../core/errors.ts'
import type { Stack } from '../resilience/stack.ts'

/**
 * How long one call waits for endpoints, in total.
 */
export const LONGEST_WAIT_MS = 3_000
/** Poll interval while a cluster has endpoints but its picker finds none. */
const RECHECK_MS = 20

/**
 * Calls `proceed` once: without a code when a start may succeed, else with the reason. `since`:
 * when the wait began. `closed`: whether the mesh is closed.
 */
export function awaitEndpoint(
  stack: Stack,
  call: Call,
  since: number,
  closed: boolean,
  proceed: (ended: ErrorCode | undefined) => void,
): void {
  const { clock } = stack
  if (closed) {
    proceed('closed')
    return
  }
  const cluster = stack.cluster!
  const until = Math.min(since + Math.min(LONGEST_WAIT_MS, call.longestWaitMs), call.deadlineAt)
  const left = until - clock.now()
  if (left <= 0) {
    proceed(until === call.deadlineAt ? 'deadline-exceeded' : 'no-endpoints')
    return
  }
  // The resolver pushes in its async context; the rest runs in the caller's.
  const goOn = AsyncLocalStorage.bind(proceed)
  let waiting = true
  const leave = cluster.whenAvailable(left, (available) => {
    if (!waiting) return
    waiting = false
    call.whenCancelled = undefined
    if (available && cluster.picker.pick(call) === undefined) {
      clock.startTimer(Math.min(RECHECK_MS, left), goOn, undefined)
    } else goOn(undefined)
  })
  if (!waiting) return
  call.whenCancelled = () => {
    waiting = false
    leave()
    goOn('cancelled')
  }
}
