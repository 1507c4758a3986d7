/**
 * Aborts a long response whose reader takes nothing of the data that has arrived. A slow reader, or
 * one that waits for a silent peer, may continue.
 */
import type { Clock, Timer } from '../../../core/clock.ts'
import type { ResponseBody } from './response.ts'

/**
 * Looks in one idle time: the end comes at most half of it late, and no chunk has to look at the
 * clock.
 */
const LOOKS = 2

export class IdleReader {
  readonly #clock: Clock
  readonly #body: ResponseBody
  readonly #ms: number
  #timer: Timer
  #taken: number
  #idleLooks = 0

  /** `ms`: how long the reader may take nothing. */
  constructor(clock: Clock, body: ResponseBody, ms: number) {
    this.#clock = clock
    this.#body = body
    this.#ms = ms
    this.#taken = body.taken
    this.#timer = this.#start()
  }

  stop(): void {
    this.#clock.stopTimer(this.#timer)
  }

  look(): void {
    const body = this.#body
    this.#idleLooks = body.keepsUp || body.taken !== this.#taken ? 0 : this.#idleLooks + 1
    this.#taken = body.taken
    if (this.#idleLooks < LOOKS) this.#timer = this.#start()
    else body.abandon(new Error(`nothing of the answer was read for ${Math.round(this.#ms)} ms (idleTimeout)`))
  }

  #start(): Timer {
    return this.#clock.startBackgroundTimer(this.#ms / LOOKS, look, this)
  }
}

function look(reader: IdleReader): void {
  reader.look()
}
