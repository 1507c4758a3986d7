/** Waits in the order of arrival. Taking the first costs the same in a queue of any length. */
export class Fifo<T> {
  readonly #items: T[] = []
  #head = 0

  get length(): number {
    return this.#items.length - this.#head
  }

  push(item: T): void {
    this.#items.push(item)
  }

  /** `undefined`: it is empty. */
  shift(): T | undefined {
    if (this.length === 0) return undefined
    const first = this.#items[this.#head++]
    if (this.#head > 1_000 && this.#head * 2 > this.#items.length) {
      this.#items.splice(0, this.#head)
      this.#head = 0
    }
    return first
  }
}
