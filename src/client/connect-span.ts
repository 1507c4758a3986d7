/** When a connection was being established, for the attempts that waited for it. */
import type { Connecting } from '../core/attempt.ts'

export class ConnectSpan implements Connecting {
  readonly #beganAt: number
  #readyAt = 0

  constructor(beganAt: number) {
    this.#beganAt = beganAt
  }

  /** It is established. */
  ready(now: number): void {
    this.#readyAt = now
  }

  msSince(since: number): number {
    return this.#readyAt <= since ? 0 : this.#readyAt - Math.max(since, this.#beganAt)
  }
}
