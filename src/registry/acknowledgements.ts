/** Who of a service's watchers has taken which revision in force, and who waits for all of them. */

/** A watcher of one service. */
export interface Acknowledging {
  /** False: it is never waited for. */
  readonly acknowledges: boolean
  acknowledged: number
}

interface Wait {
  readonly revision: number
  readonly missing: Set<Acknowledging>
  readonly total: number
  readonly done: (total: number) => void
}

export class Acknowledgements {
  readonly #waits = new Set<Wait>()

  get waiting(): number {
    return this.#waits.size
  }

  /** Calls `done`, once, with how many of `watchers` there were when all have acknowledged `revision` or left. Returns how to stop. */
  wait(watchers: Iterable<Acknowledging>, revision: number, done: (total: number) => void): () => void {
    const asked = [...watchers].filter((one) => one.acknowledges)
    const missing = new Set(asked.filter((one) => one.acknowledged < revision))
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
    for (const wait of [...this.#waits]) if (wait.revision <= revision) this.#satisfied(wait, by)
  }

  leave(by: Acknowledging): void {
    for (const wait of [...this.#waits]) this.#satisfied(wait, by)
  }

  clear(): void {
    this.#waits.clear()
  }

  #satisfied(wait: Wait, by: Acknowledging): void {
    if (!wait.missing.delete(by) || wait.missing.size > 0) return
    this.#waits.delete(wait)
    wait.done(wait.total)
  }
}
