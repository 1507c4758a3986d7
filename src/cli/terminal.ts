/**
 * The input and output of a command. Results go to stdout, everything else to stderr. Control
 * characters are removed from the registry's texts, because terminals execute escape sequences.
 */
import { type Failure, formatLocated, type LocatedIssue } from './failure.ts'

export interface Output {
  /** False: `drain` is emitted when it takes more. */
  write(text: string | Uint8Array): unknown
  readonly isTTY?: boolean | undefined
  /** Of a terminal. */
  readonly columns?: number | undefined
  readonly rows?: number | undefined
  on?(event: 'resize' | 'drain' | 'error', listener: (error?: Error) => void): unknown
  off?(event: 'resize' | 'drain' | 'error', listener: (error?: Error) => void): unknown
}

/** A terminal's input also gives keys. */
export interface Input extends AsyncIterable<Uint8Array | string> {
  readonly isTTY?: boolean | undefined
  setRawMode?(isRaw: boolean): unknown
  on?(event: 'data', listener: (keys: Uint8Array | string) => void): unknown
  off?(event: 'data', listener: (keys: Uint8Array | string) => void): unknown
  resume?(): unknown
  pause?(): unknown
}

/** The process as a command sees it; tests pass their own. */
export interface CliContext {
  readonly stdout: Output
  readonly stderr: Output
  readonly stdin: Input
  readonly env: Readonly<Record<string, string | undefined>>
}

export type Colour = 'red' | 'green' | 'yellow'

const SGR: Record<Colour, number> = { red: 31, green: 32, yellow: 33 }

/**
 * Control characters, and the formats (Unicode's Cf) that turn, join or hide what stands beside
 * them, as the bidirectional ones and the tags do; line and paragraph separators.
 */
const OBEYED = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu
/** Of those, what `JSON.stringify` leaves as it is. */
const escaped = (character: string): string =>
  Array.from(
    { length: character.length },
    (_, i) => `\\u${character.charCodeAt(i).toString(16).padStart(4, '0')}`,
  ).join('')

/** JSON without sequences that a terminal executes; a parser reads the same value. */
function jsonLine(value: unknown): string {
  return `${JSON.stringify(value).replace(OBEYED, escaped)}\n`
}

/** Text of several lines without control characters that a terminal executes. */
export function printableLines(text: string): string {
  return text.replace(OBEYED, (character) => (character === '\n' || character === '\t' ? character : '?'))
}

/** One line without control characters. */
export function printable(value: unknown): string {
  return String(value ?? '-').replace(OBEYED, '?')
}

export class Terminal {
  readonly json: boolean
  readonly #surroundings: CliContext

  constructor(surroundings: CliContext, json: boolean) {
    this.#surroundings = surroundings
    this.json = json
  }

  /** The result: as JSON on one line with `--json`, otherwise as `lines`. */
  result(value: unknown, lines: () => readonly string[]): void {
    const { stdout } = this.#surroundings
    if (this.json) stdout.write(jsonLine(value))
    else for (const line of lines()) stdout.write(`${line}\n`)
  }

  /** With `--json` each value on its line, otherwise `lines`. */
  records(values: Iterable<unknown>, lines: () => readonly string[]): void {
    const { stdout } = this.#surroundings
    stdout.write(
      this.json
        ? Array.from(values, jsonLine).join('')
        : lines()
            .map((line) => `${line}\n`)
            .join(''),
    )
  }

  /** Where results go; for bytes that are shown as they come. */
  get stdout(): Output {
    return this.#surroundings.stdout
  }

  /** A remark beside the result. Silent with `--json`. */
  note(text: string): void {
    if (!this.json) this.#surroundings.stderr.write(`${text}\n`)
  }

  /** What is valid and may not be meant. With `--json` the result says it. */
  warn(warnings: readonly LocatedIssue[]): void {
    const { stderr } = this.#surroundings
    const word = this.#paint('yellow', 'warning:', stderr)
    if (!this.json) for (const one of warnings) stderr.write(`${word} ${printable(formatLocated(one))}\n`)
  }

  fail(failure: Failure): void {
    const { stderr } = this.#surroundings
    if (this.json) {
      const { code, message, exitCode, issues } = failure
      stderr.write(jsonLine({ error: { code, message, exitCode, ...(issues.length > 0 && { issues }) } }))
      return
    }
    for (const issue of failure.issues) stderr.write(`${printable(formatLocated(issue))}\n`)
    stderr.write(`${this.#paint('red', 'error:', stderr)} ${failure.message.split('\n').map(printable).join('\n')}\n`)
  }

  /** Coloured for a terminal, plain for a pipe or with NO_COLOR (https://no-color.org). */
  paint(colour: Colour, text: string): string {
    return this.#paint(colour, text, this.#surroundings.stdout)
  }

  #paint(colour: Colour, text: string, output: Output): string {
    const { NO_COLOR, TERM } = this.#surroundings.env
    const plain = output.isTTY !== true || (NO_COLOR !== undefined && NO_COLOR !== '') || TERM === 'dumb'
    return plain ? text : `\u001b[${SGR[colour]}m${text}\u001b[0m`
  }
}

/** Columns as wide as their widest cell. */
export function table(head: readonly string[], rows: readonly (readonly unknown[])[]): string[] {
  const cells = [head, ...rows.map((row) => row.map(printable))]
  const widths = head.map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)))
  return cells.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('  ')
      .trimEnd(),
  )
}
