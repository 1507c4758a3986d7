/** When a connection was being established, for the attempts that waited for it. */
export class ConnectSpan {
  readonly #beganAt: number
  #readyAt = 0

  constructor(beganAt: number) {
    this.#beganAt = beganAt
  }

  /** It is established. */
  ready(now: number): void {
    this.#readyAt = now
  }

  /** How much of it, in ms, an attempt has waited that began at `since`. */
  msSince(since: number): number {
    return this.#readyAt <= since ? 0 : this.#readyAt - Math.max(since, this.#beganAt)
  }
}
