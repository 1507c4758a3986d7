/** Waits until this registry's state has reached a revision that another registry told of. */
export class RevisionWaits {
  readonly #waits = new Set<{ readonly revision: number; readonly done: () => void }>()

  /** Calls `done` once. Returns how to stop. */
  add(revision: number, done: () => void): () => void {
    const wait = { revision, done }
    this.#waits.add(wait)
    return () => this.#waits.delete(wait)
  }

  reached(revision: number): void {
    for (const wait of this.#waits) {
      if (wait.revision > revision) continue
      this.#waits.delete(wait)
      wait.done()
    }
  }
}
