/** One answer from several addresses of a registry, asked side by side. */
import type { Clock } from '../../core/clock.ts'
import { MeshError } from '../../core/errors.ts'
import { StaggeredStart } from './staggered-start.ts'
import { labelOf, type RegistryTarget } from './target.ts'

export interface FirstAddressOptions {
  readonly clock: Clock
  /** Of the whole search. */
  readonly timeoutMs: number
  /** Whether a failure would be the same at every address. */
  readonly isFinal: (error: unknown) => boolean
}

/**
 * Resolves with the first answer and aborts the `signal` of the other attempts. Rejects with a
 * final failure, with the first failure when all addresses have failed, or with
 * `registry-unavailable` after `timeoutMs`.
 */
export function firstAddress<T>(
  targets: readonly RegistryTarget[],
  ask: (target: RegistryTarget, signal: AbortSignal, timeoutMs: number) => Promise<T>,
  { clock, timeoutMs, isFinal }: FirstAddressOptions,
): Promise<{ readonly target: RegistryTarget; readonly answer: T }> {
  return new Promise((resolve, reject) => {
    const untilAt = clock.now() + timeoutMs
    const abort = new AbortController()
    const failures: unknown[] = []
    const finish = (outcome: () => void): void => {
      clock.stopTimer(late)
      search.stop()
      outcome()
      abort.abort()
    }
    const late = clock.startTimer(
      timeoutMs,
      () => {
        const message = `no answer from ${targets.map(labelOf).join(', ')} within ${Math.round(timeoutMs)} ms`
        finish(() => reject(new MeshError(message, { code: 'registry-unavailable', cause: failures[0] })))
      },
      undefined,
    )
    const search = new StaggeredStart(targets, clock, (target) => {
      ask(target, abort.signal, Math.max(1, untilAt - clock.now())).then(
        (answer) => finish(() => resolve({ target, answer })),
        (error: unknown) => {
          if (abort.signal.aborted) return
          failures.push(error)
          if (isFinal(error) || failures.length === targets.length) {
            finish(() => reject(isFinal(error) ? error : failures[0]))
          } else search.next()
        },
      )
    })
    search.next()
  })
}
