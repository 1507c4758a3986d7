/**
 * The loop of further attempts, driven by p-retry. A call enters it only after its first attempt
 * has failed and another was granted, so that success costs nothing.
 */
import pRetry from 'p-retry'
import type { Call } from '../core/call.ts'
import type { Timer } from '../core/clock.ts'
import type { Stack } from './stack.ts'

/**
 * Rejection of one attempt after which another was granted. Carries no stack: it never reaches a
 * caller.
 */
export class AttemptFailed extends Error {
  readonly waitMs: number
  readonly #granted = true

  /** By its brand: `instanceof` asks the error, which may be a Proxy of the user's that throws. */
  static is(error: unknown): error is AttemptFailed {
    return typeof error === 'object' && error !== null && #granted in error
  }

  constructor(waitMs: number) {
    const limit = Error.stackTraceLimit
    Error.stackTraceLimit = 0
    super('attempt failed')
    Error.stackTraceLimit = limit
    this.waitMs = waitMs
  }
}

/**
 * Waits `waitMs`, then makes attempts until one resolves, or rejects with anything but
 * {@link AttemptFailed}. Cancelling the call ends a wait at once; the attempt that follows it is
 * then refused by the execution.
 */
export async function retryLoop<T>(stack: Stack, call: Call, waitMs: number, attempt: () => Promise<T>): Promise<T> {
  await pause(stack, call, waitMs)
  let failure: { readonly error: unknown } | undefined
  const value = await pRetry(
    async () => {
      try {
        return await attempt()
      } catch (error) {
        if (AttemptFailed.is(error)) throw error
        // p-retry would unwrap an AbortError and lose what is not an Error; what an attempt ends
        // with is the caller's.
        failure = { error }
        return undefined
      }
    },
    {
      retries: Number.POSITIVE_INFINITY,
      minTimeout: 0,
      onFailedAttempt: ({ error }) => pause(stack, call, (error as AttemptFailed).waitMs),
    },
  )
  if (failure !== undefined) throw failure.error
  return value as T
}

function pause(stack: Stack, call: Call, ms: number): Promise<void> | undefined {
  if (ms <= 0 || call.cancelled) return undefined
  return new Promise((resolve) => {
    const done = (): void => {
      stack.clock.stopTimer(timer)
      call.whenCancelled = undefined
      resolve()
    }
    const timer: Timer = stack.clock.startTimer(ms, done, undefined)
    call.whenCancelled = done
  })
}
