/**
 * A binary heap of the armed timers of a fake clock. A simulation starts and stops millions of
 * them.
 */

export interface FakeTimer {
  readonly at: number
  /** Equal instants fire in the order in which they were started. */
  readonly order: number
  readonly fire: () => void
  /** Its index in the heap; -1 when it is not armed. */
  index: number
}

export class TimerHeap {
  readonly #heap: FakeTimer[] = []

  get size(): number {
    return this.#heap.length
  }

  get first(): FakeTimer | undefined {
    return this.#heap[0]
  }

  add(timer: FakeTimer): void {
    this.#heap.push(timer)
    this.#rise(timer, this.#heap.length - 1)
  }

  /** Has no effect if it is not armed. */
  delete(timer: FakeTimer): void {
    const at = timer.index
    if (at < 0 || this.#heap[at] !== timer) return
    timer.index = -1
    const last = this.#heap.pop()!
    if (last === timer) return
    this.#rise(last, at)
    this.#sink(last, last.index)
  }

  #rise(timer: FakeTimer, from: number): void {
    const heap = this.#heap
    let at = from
    while (at > 0) {
      const above = (at - 1) >> 1
      const parent = heap[above]!
      if (!isBefore(timer, parent)) break
      this.#put(parent, at)
      at = above
    }
    this.#put(timer, at)
  }

  #sink(timer: FakeTimer, from: number): void {
    const heap = this.#heap
    let at = from
    for (;;) {
      let below = 2 * at + 1
      if (below >= heap.length) break
      if (below + 1 < heap.length && isBefore(heap[below + 1]!, heap[below]!)) below += 1
      const child = heap[below]!
      if (!isBefore(child, timer)) break
      this.#put(child, at)
      at = below
    }
    this.#put(timer, at)
  }

  #put(timer: FakeTimer, at: number): void {
    this.#heap[at] = timer
    timer.index = at
  }
}

function isBefore(a: FakeTimer, b: FakeTimer): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order)
}
