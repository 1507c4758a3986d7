/**
 * The mirrors that were drawn for one call, at its first attempt. They are sent once, as soon as
 * the whole request is known, or dropped with a reason.
 */
import type { MirrorAttempt } from './attempt.ts'
import type { MirrorDrop } from './in-flight.ts'
import type { MirrorTarget } from './target.ts'

const NONE: readonly MirrorTarget[] = Object.freeze([])

export class CallMirrors {
  #waiting: readonly MirrorTarget[]

  constructor(targets: readonly MirrorTarget[]) {
    this.#waiting = targets
  }

  /** Whether the request is still to be copied. */
  get wanted(): boolean {
    return this.#waiting.length > 0
  }

  /** `copy`: one mirror of the request. */
  send(copy: (target: MirrorTarget) => MirrorAttempt): void {
    const targets = this.#waiting
    this.#waiting = NONE
    for (const target of targets) copy(target).launch()
  }

  /** The caller itself has marked the request as a mirror. */
  forget(): void {
    this.#waiting = NONE
  }

  /** Has no effect once they were sent. */
  drop(reason: MirrorDrop): void {
    const targets = this.#waiting
    this.#waiting = NONE
    for (const target of targets) target.drop(reason)
  }
}

const NOT_DRAWN = new CallMirrors(NONE)

export function drawMirrors(mirrors: readonly MirrorTarget[]): CallMirrors {
  const drawn = mirrors.filter((mirror) => mirror.draw())
  return drawn.length === 0 ? NOT_DRAWN : new CallMirrors(drawn)
}
