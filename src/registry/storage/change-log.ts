/** The recent batches of an engine that keeps its history in memory. */

import { CompactedError } from './errors.ts'
import type { Batch } from './storage.ts'

export class ChangeLog {
  readonly #capacity: number
  #batches: Batch[] = []
  #oldest: number

  /** `oldest`: the revision after which it begins. */
  constructor(capacity: number, oldest = 0) {
    this.#capacity = capacity
    this.#oldest = oldest
  }

  /** The revision after which the history begins. */
  get oldest(): number {
    return this.#oldest
  }

  append(batch: Batch): void {
    this.#batches.push(batch)
    if (this.#batches.length <= this.#capacity) return
    // In one cut per tenth of the capacity: shifting one by one would move the whole array at every
    // write.
    const dropped = this.#batches.splice(0, Math.max(1, Math.floor(this.#capacity / 10)))
    this.#oldest = dropped.at(-1)!.revision
  }

  /** @throws CompactedError if not all of them are known any more */
  after(revision: number): readonly Batch[] {
    if (revision < this.#oldest) throw new CompactedError(revision, this.#oldest)
    return this.#batches.filter((batch) => batch.revision > revision)
  }
}
