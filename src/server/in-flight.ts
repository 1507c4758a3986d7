/**
 * The calls in flight, oldest first, as an intrusive linked list. A Set would rebuild its table as
 * calls come and go, at 128 bytes for each.
 */

/** An entry of at most one list, which maintains these fields. */
export interface ListLink<T> {
  listed: boolean
  previous: T | undefined
  next: T | undefined
}

export class InFlight<T extends ListLink<T>> implements Iterable<T> {
  size = 0
  #first: T | undefined = undefined
  #last: T | undefined = undefined

  add(one: T): void {
    one.listed = true
    one.previous = this.#last
    if (this.#last === undefined) this.#first = one
    else this.#last.next = one
    this.#last = one
    this.size += 1
  }

  /** Returns whether `one` was in the list. */
  delete(one: T): boolean {
    if (!one.listed) return false
    one.listed = false
    if (one.previous === undefined) this.#first = one.next
    else one.previous.next = one.next
    if (one.next === undefined) this.#last = one.previous
    else one.next.previous = one.previous
    one.previous = undefined
    one.next = undefined
    this.size -= 1
    return true
  }

  /** The present entries, without those that are deleted before their turn. */
  *[Symbol.iterator](): IterableIterator<T> {
    const all: T[] = []
    for (let one = this.#first; one !== undefined; one = one.next) all.push(one)
    for (const one of all) if (one.listed) yield one
  }
}
