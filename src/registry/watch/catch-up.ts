/** Waits until this registry knows what another one on the same store knew before. */
import type { Clock } from '../../core/clock.ts'
import type { RegistryState } from '../state.ts'

/** Then the watcher gets a snapshot. */
const CATCH_UP_MS = 2_000

/** Calls `done` once, when the state has reached `revision`, or after 2 s. */
export function catchUp(state: RegistryState, clock: Clock, revision: number, done: () => void): void {
  const end = (): void => {
    clock.stopTimer(late)
    stop()
    done()
  }
  const late = clock.startBackgroundTimer(CATCH_UP_MS, end, undefined)
  const stop = state.waits.add(revision, end)
}
