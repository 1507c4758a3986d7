/**
 * Cuts a byte stream into lines, with a bound: a peer that never ends its line is cut off, not
 * buffered.
 */
import { isUtf8 } from 'node:buffer'

export class LineTooLong extends Error {
  override readonly name = 'LineTooLong'
}

export class LineReader {
  readonly #longest: number
  readonly #onLine: (line: string | undefined) => void
  #parts: Buffer[] = []
  #size = 0

  /**
   * `onLine` gets `undefined` for a line that is not UTF-8, which two readers would repair
   * differently.
   */
  constructor(longest: number, onLine: (line: string | undefined) => void) {
    this.#longest = longest
    this.#onLine = onLine
  }

  /** @throws LineTooLong; the reader is of no use afterwards. */
  push(chunk: Buffer): void {
    let rest = chunk
    for (;;) {
      const end = rest.indexOf(10)
      if (end < 0) break
      this.#take(rest.subarray(0, end))
      const line = this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts)
      this.#parts = []
      this.#size = 0
      rest = rest.subarray(end + 1)
      if (line.length > 0) this.#onLine(isUtf8(line) ? line.toString('utf8') : undefined)
    }
    if (rest.length > 0) this.#take(rest)
  }

  #take(part: Buffer): void {
    this.#size += part.length
    if (this.#size > this.#longest) throw new LineTooLong(`a line of more than ${this.#longest} bytes`)
    this.#parts.push(part)
  }
}
