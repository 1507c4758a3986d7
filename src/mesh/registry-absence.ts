/** Warns when a process has been without a registry for long, and says when one answers again. */
import type { Clock, Timer } from '../core/clock.ts'

/** A registry that restarts is away for seconds. */
export const LONG_MS = 30_000

export class RegistryAbsence {
  readonly #clock: Clock
  readonly #registries: string
  #timer: Timer | undefined
  /** Since when, if that has been said. */
  #saidSince: number | undefined

  constructor(clock: Clock, registries: readonly string[]) {
    this.#clock = clock
    this.#registries = registries.join(', ')
  }

  /** This process starts without one: `how`. */
  startsWithout(how: string): void {
    this.#saidSince = this.#clock.now()
    warn(`no registry answers (${this.#registries}): this process starts ${how}`)
  }

  begins(): void {
    if (this.#timer !== undefined || this.#saidSince !== undefined) return
    const since = this.#clock.now()
    this.#timer = this.#clock.startBackgroundTimer(LONG_MS, () => this.#isLong(since), undefined)
  }

  ends(): void {
    this.close()
    const since = this.#saidSince
    if (since === undefined) return
    this.#saidSince = undefined
    warn(`a registry answers again, after ${Math.round((this.#clock.now() - since) / 1_000)} s`)
  }

  close(): void {
    if (this.#timer !== undefined) this.#clock.stopTimer(this.#timer)
    this.#timer = undefined
  }

  #isLong(since: number): void {
    this.#timer = undefined
    this.#saidSince = since
    const seconds = LONG_MS / 1_000
    warn(`no registry has answered for ${seconds} s (${this.#registries}): calls go on with what is known`)
  }
}

function warn(message: string): void {
  process.emitWarning(message, { type: 'InmeshWarning', code: 'INMESH_NO_REGISTRY' })
}
