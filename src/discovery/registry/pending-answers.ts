/** Requests of a session that wait for their answers, by number and for at most 5 s. */
import type { Clock, Timer } from '../../core/clock.ts'
import { MeshError } from '../../core/errors.ts'

/** Codes of a registry that is in trouble; the same request may succeed later. */
export const PASSING: ReadonlySet<string> = new Set([
  'storage-unavailable',
  'overloaded',
  'internal',
  'closing',
  'rate-limited',
])

/** How long a registration, a drain or a deregistration waits for its answer. */
const ANSWER_TIMEOUT_MS = 5_000

/** The answer to a request that succeeded. */
export interface Done {
  readonly revision: number
  /** Of a registration: the instance was not in the list. */
  readonly isNew?: boolean
}

interface Pending {
  readonly resolve: (done: Done) => void
  readonly reject: (error: MeshError) => void
  readonly timer: Timer
}

/** There is no session to ask in. */
export function noRegistry(): MeshError {
  return new MeshError('there is no registry right now', { code: 'registry-unavailable' })
}

export class PendingAnswers {
  readonly #clock: Clock
  readonly #pending = new Map<number, Pending>()
  #ref = 0
  #settled: (() => void)[] = []

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /**
   * Resolves with the answer. Rejects with the registry's error, or with `registry-unavailable` if
   * no answer comes or there is no session.
   */
  ask(send: (ref: number) => void, reachable: boolean): Promise<Done> {
    if (!reachable) return Promise.reject(noRegistry())
    return new Promise<Done>((resolve, reject) => {
      const ref = ++this.#ref
      const late = (): void => {
        this.#pending.delete(ref)
        this.#tellSettled()
        reject(new MeshError('the registry did not answer within 5 s', { code: 'registry-unavailable' }))
      }
      this.#pending.set(ref, { resolve, reject, timer: this.#clock.startTimer(ANSWER_TIMEOUT_MS, late, undefined) })
      send(ref)
    })
  }

  settle(ref: number, result: Done | MeshError): void {
    const pending = this.#pending.get(ref)
    if (pending === undefined) return
    this.#pending.delete(ref)
    this.#clock.stopTimer(pending.timer)
    if (result instanceof MeshError) pending.reject(result)
    else pending.resolve(result)
    this.#tellSettled()
  }

  /** Resolves when none is waited for. */
  settled(): Promise<void> {
    return new Promise((resolve) => {
      this.#settled.push(resolve)
      this.#tellSettled()
    })
  }

  failAll(error: () => MeshError): void {
    for (const ref of [...this.#pending.keys()]) this.settle(ref, error())
  }

  #tellSettled(): void {
    if (this.#pending.size > 0) return
    for (const resolve of this.#settled.splice(0)) resolve()
  }
}
