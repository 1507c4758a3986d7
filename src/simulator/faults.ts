/** What goes wrong with a simulated instance: one fault, or several at once, each until it ends. */
import type { Clock } from '../core/clock.ts'
import { type Outcome, SUCCESS } from '../core/outcome.ts'
import { httpOutcome } from '../core/status.ts'
import type { Chance } from './chance.ts'
import type { Machine } from './machine.ts'
import { answersAfter, type SimulatedServer } from './server.ts'

/**
 * `slow` by a factor; `stopped`, as by SIGSTOP; `refuses` connections; `fails` a share of its calls
 * within 1 ms.
 */
export type FaultKind =
  | { readonly slow: number }
  | { readonly fails: number; readonly status?: number }
  | 'stopped'
  | 'refuses'

const STOPPED = 1e9
const FAILED_MS = 1

export class FaultyInstance {
  readonly server: SimulatedServer
  readonly #clock: Clock
  readonly #chance: Chance
  readonly #machine: Machine
  readonly #onListening: (listens: boolean) => void
  readonly #faults = new Set<FaultKind>()
  readonly #usual: SimulatedServer['handler']

  /** `onListening`: notified when the instance begins or ceases to listen. */
  constructor(
    clock: Clock,
    chance: Chance,
    machine: Machine,
    server: SimulatedServer,
    onListening: (listens: boolean) => void,
  ) {
    this.#clock = clock
    this.#chance = chance
    this.#machine = machine
    this.server = server
    this.#usual = server.handler
    this.#onListening = onListening
  }

  begin(fault: FaultKind): void {
    this.#faults.add(fault)
    this.#apply()
  }

  end(fault: FaultKind): void {
    this.#faults.delete(fault)
    this.#apply()
  }

  #apply(): void {
    let slowness = 1
    let handler = this.#usual
    for (const fault of this.#faults) {
      if (fault === 'stopped') slowness *= STOPPED
      else if (fault === 'refuses') continue
      else if ('slow' in fault) slowness *= fault.slow
      else handler = this.#failing(fault, handler)
    }
    this.#machine.slowness = slowness
    this.server.handler = handler
    this.#onListening(!this.#faults.has('refuses'))
  }

  #failing({ fails: share, status = 500 }: { fails: number; status?: number }, usual: SimulatedServer['handler']) {
    const fails = answersAfter(this.#clock, () => FAILED_MS, answerOf(status))
    return (...request: Parameters<SimulatedServer['handler']>): void =>
      (this.#chance.happens(share) ? fails : usual)(...request)
  }
}

/** As a client takes an answer with that status. */
export function answerOf(status: number): Outcome {
  return status < 400 ? SUCCESS : httpOutcome(status, false, undefined)
}
