/** Cuts a byte stream into lines, with a bound: a peer that never ends its line is cut off, not buffered. */

export class LineTooLong extends Error {
  override readonly name = 'LineTooLong'
}

export class LineReader {
  readonly #longest: number
  readonly #onLine: (line: string) => void
  #parts: Buffer[] = []
  #size = 0

  constructor(longest: number, onLine: (line: string) => void) {
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
      const line =
        this.#parts.length === 1 ? this.#parts[0]!.toString('utf8') : Buffer.concat(this.#parts).toString('utf8')
      this.#parts = []
      this.#size = 0
      rest = rest.subarray(end + 1)
      if (line.length > 0) this.#onLine(line)
    }
    if (rest.length > 0) this.#take(rest)
  }

  #take(part: Buffer): void {
    this.#size += part.length
    if (this.#size > this.#longest) throw new LineTooLong(`a line of more than ${this.#longest} bytes`)
    this.#parts.push(part)
  }
}
