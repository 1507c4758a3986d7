/** The segments of one path after another: where they begin and end, and their hashes. */
import { normalPath } from '../net/request-path.ts'
import { HASH_BEGIN, hashEnd, hashNext } from './path-index.ts'

const SLASH = 0x2f
const DOT = 0x2e
const PERCENT = 0x25
const BACKSLASH = 0x5c
/** The last character of a path that servers read. */
const TILDE = 0x7e
/** Begins the query. */
const MARK = 0x3f
const NO_MARK = -1

export class PathCursor {
  /** In its normal form; the query may follow after `end`. */
  path = ''
  end = 0
  /** Segments, of which no more than the depth and one are counted. */
  count = 0
  readonly #starts: Int32Array
  readonly #ends: Int32Array
  readonly #hashes: Int32Array

  constructor(depth: number) {
    this.#starts = new Int32Array(depth + 1)
    this.#ends = new Int32Array(depth + 1)
    this.#hashes = new Int32Array(depth + 1)
  }

  start(segment: number): number {
    return this.#starts[segment]!
  }

  endOf(segment: number): number {
    return this.#ends[segment]!
  }

  hash(segment: number): number {
    return this.#hashes[segment]!
  }

  /** Returns whether `target` has a path that can be compared. */
  read(target: string): boolean {
    if (target.charCodeAt(0) !== SLASH) return false
    if (this.#scan(target, MARK, false)) return true
    const normal = normalPath(target)
    return normal !== undefined && this.#scan(normal, MARK, true)
  }

  /** The full name of a gRPC method is compared as it is. */
  readGrpc(method: string): boolean {
    return method.charCodeAt(0) === SLASH && this.#scan(method, NO_MARK, true)
  }

  /** `false`: the path may have to be brought into its normal form first. */
  #scan(path: string, mark: number, normal: boolean): boolean {
    const most = this.#starts.length
    let count = 0
    let begin = 1
    let hash = HASH_BEGIN
    let i = 1
    for (; i < path.length; i++) {
      const code = path.charCodeAt(i)
      if (code === mark) break
      if (code === SLASH) {
        if (begin === i && !normal) return false
        if (count < most) {
          this.#set(count, begin, i, hash)
          count += 1
        }
        begin = i + 1
        hash = HASH_BEGIN
        continue
      }
      if (!normal) {
        if (code === PERCENT || code === BACKSLASH || code > TILDE) return false
        if (code === DOT && begin === i) return false
      }
      hash = hashNext(hash, code)
    }
    if (count < most) {
      this.#set(count, begin, i, hash)
      count += 1
    }
    this.path = path
    this.end = i
    this.count = count
    return true
  }

  #set(segment: number, start: number, end: number, hash: number): void {
    this.#starts[segment] = start
    this.#ends[segment] = end
    this.#hashes[segment] = hashEnd(hash)
  }
}
