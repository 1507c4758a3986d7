/**
 * Reads parameters of a request's query as WHATWG's URL standard does. Without escapes it compares
 * in place; otherwise it parses the query once.
 */

/** A query longer than this is parsed, so that many conditions do not scan it many times. */
const LONGEST_SCANNED = 256

export class QueryReader {
  #target = ''
  /** Where the query begins; -1: there is none. */
  #at = -1
  /** First values by name. */
  #parsed: ReadonlyMap<string, string> | undefined
  /** Not known yet whether it has to be parsed. */
  #fresh = false

  /** Reads the query of `target` from now on. */
  reset(target: string): void {
    this.#target = target
    this.#fresh = true
    this.#parsed = undefined
  }

  /** The first value of `name`; `undefined`: the query has no such parameter. */
  get(name: string): string | undefined {
    if (this.#fresh) this.#begin()
    if (this.#at < 0) return undefined
    if (this.#parsed !== undefined) return this.#parsed.get(name)
    const at = this.#find(name)
    if (at < 0) return undefined
    const ampersand = this.#target.indexOf('&', at)
    return this.#target.slice(at, ampersand < 0 ? this.#target.length : ampersand)
  }

  has(name: string): boolean {
    if (this.#fresh) this.#begin()
    if (this.#at < 0) return false
    return this.#parsed === undefined ? this.#find(name) >= 0 : this.#parsed.has(name)
  }

  /** Whether the first value of `name` is `value`. */
  is(name: string, value: string): boolean {
    if (this.#fresh) this.#begin()
    if (this.#at < 0) return false
    if (this.#parsed !== undefined) return this.#parsed.get(name) === value
    const at = this.#find(name)
    if (at < 0 || !this.#target.startsWith(value, at)) return false
    const end = at + value.length
    return end === this.#target.length || this.#target.charCodeAt(end) === 0x26
  }

  #begin(): void {
    this.#fresh = false
    const target = this.#target
    const mark = target.indexOf('?')
    this.#at = mark < 0 ? -1 : mark + 1
    if (mark >= 0 && !isPlain(target, mark + 1)) this.#parsed = firstValues(target.slice(mark))
  }

  /** Where the first value of `name` begins, in a query without escapes. */
  #find(name: string): number {
    const target = this.#target
    for (let at = this.#at; at < target.length; ) {
      const after = at + name.length
      if (target.startsWith(name, at)) {
        const code = target.charCodeAt(after)
        if (code === 0x3d) return after + 1
        if (after === target.length || code === 0x26) return after
      }
      const ampersand = target.indexOf('&', at)
      if (ampersand < 0) return -1
      at = ampersand + 1
    }
    return -1
  }
}

/** `URLSearchParams.get` would walk all parameters for each condition. */
function firstValues(query: string): ReadonlyMap<string, string> {
  const first = new Map<string, string>()
  for (const [name, value] of new URLSearchParams(query)) if (!first.has(name)) first.set(name, value)
  return first
}

/** Short, in ASCII, and without `%` and `+`. */
function isPlain(target: string, from: number): boolean {
  if (target.length - from > LONGEST_SCANNED) return false
  for (let i = from; i < target.length; i++) {
    const code = target.charCodeAt(i)
    if (code === 0x25 || code === 0x2b || code >= 0x80) return false
  }
  return true
}
