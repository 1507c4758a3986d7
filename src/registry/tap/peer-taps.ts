/**
 * Taps for operators at other registries, which fetch what was seen here every second. One that is
 * no longer fetched ends.
 */
import type { Clock, Timer } from '../../core/clock.ts'
import { ApiError } from '../api/error.ts'
import type { FetchedTap } from './fetched-tap.ts'
import type { RegistryTap, SeenCall, TapHub, TapQuestion } from './tap-hub.ts'

const ABANDONED_MS = 5_000
const MOST_TAPS = 50
/** Calls that wait to be fetched. */
const MOST_WAITING = 1_000

class PeerTap {
  readonly tap: RegistryTap
  readonly #clock: Clock
  #calls: SeenCall[] = []
  #left = 0
  #timer: Timer | undefined

  constructor(hub: TapHub, clock: Clock, id: string, question: TapQuestion, over: () => void) {
    this.#clock = clock
    this.tap = hub.open(id, question, {
      take: (calls, left) => {
        const room = MOST_WAITING - this.#calls.length
        this.#calls.push(...calls.slice(0, room))
        this.#left += left + Math.max(0, calls.length - room)
      },
      over: () => {
        this.#stop()
        over()
      },
    })
  }

  fetch(registry: string): FetchedTap {
    this.#stop()
    this.#timer = this.#clock.startBackgroundTimer(ABANDONED_MS, () => this.tap.finish('time'), undefined)
    const fetched = {
      registry,
      processes: this.tap.processes,
      notTappable: this.tap.notTappable,
      busy: this.tap.busy,
      calls: this.#calls,
      left: this.#left,
    }
    this.#calls = []
    this.#left = 0
    return fetched
  }

  #stop(): void {
    if (this.#timer !== undefined) this.#clock.stopTimer(this.#timer)
    this.#timer = undefined
  }
}

export class PeerTaps {
  readonly #hub: TapHub
  readonly #clock: Clock
  readonly #registry: string
  readonly #taps = new Map<string, PeerTap>()

  constructor(hub: TapHub, clock: Clock, registry: string) {
    this.#hub = hub
    this.#clock = clock
    this.#registry = registry
  }

  /** Opens the tap if it is new. @throws ApiError `overloaded` */
  fetch(id: string, question: TapQuestion): FetchedTap {
    let found = this.#taps.get(id)
    if (found === undefined) {
      if (this.#taps.size >= MOST_TAPS) throw new ApiError('overloaded', 'too many taps are open here')
      found = new PeerTap(this.#hub, this.#clock, id, question, () => this.#taps.delete(id))
      this.#taps.set(id, found)
    }
    return found.fetch(this.#registry)
  }

  /** The operator has left. */
  end(id: string): void {
    this.#taps.get(id)?.tap.finish('time')
  }
}
