/**
 * Waits for the first endpoint of a service that is still starting. The deadline bounds the wait,
 * and a cancellation ends it.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { Call } from '../core/call.ts'
import type { ErrorCode } from '../core/errors.ts'
import type { Stack } from '../resilience/stack.ts'

/**
 * A call to a service without endpoints waits this long for one, all such waits of the call
 * together.
 */
export const LONGEST_WAIT_MS = 3_000
/** Between two looks, if a cluster says that it has endpoints and its picker that it has none. */
const RECHECK_MS = 20

/**
 * Calls `proceed` once: without a code when it is worth to start again, else with the reason why
 * not. `since`: its begin. `closed`: the mesh is.
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
  const until = Math.min(since + LONGEST_WAIT_MS, call.deadlineAt)
  const left = until - clock.now()
  if (left <= 0) {
    proceed(until === call.deadlineAt ? 'deadline-exceeded' : 'no-endpoints')
    return
  }
  // The answer comes with a push of the resolver; what follows is this caller's.
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
