/** Open-loop load: calls leave by the schedule, whether or not earlier ones have come back. */
import type { Process } from './rig.ts'

export class Load {
  readonly failures: unknown[] = []
  sent = 0
  succeeded = 0
  readonly #call: (number: number) => Promise<unknown>
  readonly #running = new Set<Promise<void>>()
  readonly #timer: NodeJS.Timeout
  readonly #startedAt = performance.now()

  /** `call` rejects for a failure. */
  constructor(perSecond: number, call: (number: number) => Promise<unknown>) {
    this.#call = call
    this.#timer = setInterval(() => {
      const due = Math.floor(((performance.now() - this.#startedAt) / 1000) * perSecond)
      // After a stall of this process there is no burst of what it missed: that would be another
      // load than the one asked for.
      for (let left = Math.min(due - this.sent, Math.ceil(perSecond / 10)); left > 0; left--) this.#send()
      this.sent = due
    }, 10)
  }

  get total(): number {
    return this.succeeded + this.failures.length
  }

  /** Waits until `more` calls have succeeded from now on. */
  async succeeds(more: number): Promise<void> {
    const from = this.succeeded
    while (this.succeeded < from + more) await new Promise((resolve) => setTimeout(resolve, 20))
  }

  /** Kills a server, and returns how many calls were in flight to any until it was gone. */
  async inFlightAtEndOf(server: Process): Promise<number> {
    const [before, begun] = [this.#running.size, this.#number]
    await server.kill()
    return before + this.#number - begun
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer)
    await Promise.all(this.#running)
  }

  #number = 0

  #send(): void {
    const running = this.#call(this.#number++).then(
      () => {
        this.succeeded += 1
      },
      (error: unknown) => {
        this.failures.push(error)
      },
    )
    this.#running.add(running)
    void running.finally(() => this.#running.delete(running))
  }
}
