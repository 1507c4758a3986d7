/**
 * The whole terminal, for a picture that changes and for keys. What was on it comes back at the
 * end, also when the process fails.
 */
import { StringDecoder } from 'node:string_decoder'
import type { CliContext } from '../terminal.ts'

/** The other screen, no cursor, no wrapping of long lines. */
const OPEN = '\u001b[?1049h\u001b[?25l\u001b[?7l'
const CLOSE = '\u001b[?7h\u001b[?25h\u001b[?1049l'
/** The terminal shows what is between only when it is whole; those that cannot ignore it. */
const BEGIN = '\u001b[?2026h'
const END = '\u001b[?2026l'
const HOME = '\u001b[H'
const CLEAR_LINE = '\u001b[K'
const CLEAR_BELOW = '\u001b[J'
/** Of a terminal that does not say. */
const SIZE = { columns: 80, rows: 24 }

/** A key with a character, or the name of one without. */
export type Key = string

const NAMED: Readonly<Record<string, Key>> = {
  '\u0003': 'ctrl-c',
  '\u001b[A': 'up',
  '\u001b[B': 'down',
  '\u001b[C': 'right',
  '\u001b[D': 'left',
  '\u001b[5~': 'page-up',
  '\u001b[6~': 'page-down',
}
/** A sequence of a key without a character, or one character. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: keys are control characters.
const KEYS = /\u001b(?:\[|O)[0-9;]*[A-Za-z~]|[\s\S]/gu

export interface ScreenEvents {
  key(key: Key): void
  resized(): void
}

export class Screen {
  readonly #context: CliContext
  readonly #events: ScreenEvents
  readonly #decoder = new StringDecoder('utf8')
  #shown = ''
  #isOpen = true

  constructor(context: CliContext, events: ScreenEvents) {
    this.#context = context
    this.#events = events
    const { stdout, stdin } = context
    process.once('exit', this.close)
    stdout.write(OPEN)
    stdout.on?.('resize', this.#onResize)
    if (stdin.isTTY !== true) return
    stdin.setRawMode?.(true)
    stdin.on?.('data', this.#onData)
    stdin.resume?.()
  }

  get columns(): number {
    return this.#context.stdout.columns || SIZE.columns
  }

  get rows(): number {
    return this.#context.stdout.rows || SIZE.rows
  }

  /** Only if it differs from what is shown. Lines beyond the last row are cut. */
  draw(lines: readonly string[]): void {
    if (!this.#isOpen) return
    const picture = lines
      .slice(0, this.rows)
      .map((line) => `${line}${CLEAR_LINE}`)
      .join('\r\n')
    if (picture === this.#shown) return
    this.#shown = picture
    this.#context.stdout.write(`${BEGIN}${HOME}${picture}${CLEAR_BELOW}${END}`)
  }

  /** Idempotent. */
  close = (): void => {
    if (!this.#isOpen) return
    this.#isOpen = false
    process.off('exit', this.close)
    const { stdout, stdin } = this.#context
    stdout.off?.('resize', this.#onResize)
    if (stdin.isTTY === true) {
      stdin.off?.('data', this.#onData)
      stdin.setRawMode?.(false)
      stdin.pause?.()
    }
    stdout.write(CLOSE)
  }

  #onResize = (): void => {
    this.#shown = ''
    this.#events.resized()
  }

  #onData = (bytes: Uint8Array | string): void => {
    const text = typeof bytes === 'string' ? bytes : this.#decoder.write(Buffer.from(bytes))
    for (const [key] of text.matchAll(KEYS)) if (this.#isOpen) this.#events.key(NAMED[key] ?? key)
  }
}
