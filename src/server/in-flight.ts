/**
 * The requests in progress, oldest first, as a list through the requests themselves: a Set, whose
 * table is made anew for every few that come and go, allocates an eighth of a kilobyte for each.
 */

/** What can be in one such list; the list keeps all three. */
export interface ListLink<T> {
  listed: boolean
  ahead: T | undefined
  behind: T | undefined
}

export class InFlight<T extends ListLink<T>> implements Iterable<T> {
  size = 0
  #first: T | undefined = undefined
  #last: T | undefined = undefined

  add(one: T): void {
    one.listed = true
    one.ahead = this.#last
    if (this.#last === undefined) this.#first = one
    else this.#last.behind = one
    this.#last = one
    this.size += 1
  }

  /** Whether it was there. */
  delete(one: T): boolean {
    if (!one.listed) return false
    one.listed = false
    if (one.ahead === undefined) this.#first = one.behind
    else one.ahead.behind = one.behind
    if (one.behind === undefined) this.#last = one.ahead
    else one.behind.ahead = one.ahead
    one.ahead = undefined
    one.behind = undefined
    this.size -= 1
    return true
  }

  /** Those of now, without those that are deleted before their turn. */
  *[Symbol.iterator](): IterableIterator<T> {
    const all: T[] = []
    for (let one = this.#first; one !== undefined; one = one.behind) all.push(one)
    for (const one of all) if (one.listed) yield one
  }
}
