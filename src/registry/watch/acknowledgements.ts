/**
 * Which revision each watcher of a service has acknowledged, and the waits for all of them.
 */
/** A watcher of one service. */
export interface Acknowledging {
  /** False: it is never waited for. */
  readonly acknowledges: boolean
  /** Over connections. `undefined`: another connection is another watcher. */
  readonly process: string | undefined
  acknowledged: number
}

interface Wait {
  readonly revision: number
  /** A watcher, or the process of one that was lost. */
  readonly missing: Set<Acknowledging | string>
  readonly total: number
  readonly done: (total: number) => void
}

interface Lost {
  readonly acknowledged: number
  readonly untilAt: number
}

/** The newest ones are kept. */
const MOST_LOST = 1_000

export class Acknowledgements {
  readonly #waits = new Set<Wait>()
  /**
   * By process: connections that broke. It may be alive, and know nothing newer than it
   * acknowledged.
   */
  readonly #lost = new Map<string, Lost>()

  get waiting(): number {
    return this.#waits.size
  }

  /**
   * Calls `done`, once, with how many of `watchers` there were when all have acknowledged
   * `revision` or left. Those that were lost of late have to come back and say so as well. Returns
   * how to stop.
   */
  wait(watchers: Iterable<Acknowledging>, revision: number, now: number, done: (total: number) => void): () => void {
    const asked = [...watchers].filter((one) => one.acknowledges)
    const missing = new Set<Acknowledging | string>(asked.filter((one) => one.acknowledged < revision))
    const there = new Set(asked.map((one) => one.process))
    for (const [process, { acknowledged, untilAt }] of this.#lost) {
      if (untilAt <= now) this.#lost.delete(process)
      else if (acknowledged < revision && !there.has(process)) missing.add(process)
    }
    if (missing.size === 0) {
      done(asked.length)
      return () => {}
    }
    const wait: Wait = { revision, missing, total: asked.length, done }
    this.#waits.add(wait)
    return () => this.#waits.delete(wait)
  }

  acknowledge(by: Acknowledging, revision: number): void {
    by.acknowledged = Math.max(by.acknowledged, revision)
    if (by.process !== undefined) this.#lost.delete(by.process)
    for (const wait of [...this.#waits]) if (wait.revision <= revision) this.#satisfied(wait, by)
  }

  /** It wants to know nothing more. */
  leave(by: Acknowledging): void {
    if (by.process !== undefined) this.#lost.delete(by.process)
    for (const wait of [...this.#waits]) this.#satisfied(wait, by)
  }

  /** Its connection broke: it is waited for until `untilAt`, on the monotonic clock. */
  lose(by: Acknowledging, untilAt: number): void {
    const { process, acknowledged, acknowledges } = by
    if (process === undefined || !acknowledges) {
      this.leave(by)
      return
    }
    this.#lost.delete(process)
    this.#lost.set(process, { acknowledged, untilAt })
    for (const { missing } of this.#waits) if (missing.delete(by)) missing.add(process)
    if (this.#lost.size > MOST_LOST) this.#lost.delete(this.#lost.keys().next().value!)
  }

  clear(): void {
    this.#waits.clear()
    this.#lost.clear()
  }

  #satisfied(wait: Wait, by: Acknowledging): void {
    const { missing } = wait
    const wasMissing = [by, by.process].filter((one) => one !== undefined && missing.delete(one)).length > 0
    if (!wasMissing || missing.size > 0) return
    this.#waits.delete(wait)
    wait.done(wait.total)
  }
}
