/** Waits for the first endpoint of a cluster that follows the clusters of services. */
import type { Clock } from '../../core/clock.ts'

/** What it follows. */
interface Source {
  readonly closed: boolean
  onChange(listener: () => void): () => void
}

/**
 * Calls `listener` once: with `true` when `has` holds after a change of one of the sources, with
 * `false` when all of them are closed, and after `ms` with whatever holds then. Returns how to
 * stop.
 */
export function whenAvailable(
  sources: readonly Source[],
  clock: Clock,
  has: () => boolean,
  ms: number,
  listener: (available: boolean) => void,
): () => void {
  const finish = (available: boolean): void => {
    leave()
    listener(available)
  }
  const look = (): void => {
    if (has()) finish(true)
    else if (sources.every(({ closed }) => closed)) finish(false)
  }
  const timer = clock.startTimer(ms, () => finish(has()), undefined)
  const unsubscribe = sources.map((source) => source.onChange(look))
  const leave = (): void => {
    for (const each of unsubscribe) each()
    clock.stopTimer(timer)
  }
  return leave
}
