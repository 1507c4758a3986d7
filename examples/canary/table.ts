/** The table of scenes: rewritten in place on a terminal, printed once elsewhere. */
import type { Copies } from './scenes.ts'
import type { Tally } from './traffic.ts'

export interface Row {
  readonly name: string
  readonly tally: Tally
  readonly copies: Copies
  /** `undefined`: it runs. */
  readonly verdict: string | undefined
}

const LIVE = process.stdout.isTTY === true
const COLUMNS = ['scene', 'requests', 'failed', 'items green', 'users green', 'rest green', 'copies', 'dropped', 'p99']
const WIDTHS = [36, 8, 6, 11, 11, 10, 6, 7, 7]

export class Table {
  readonly #quiet: boolean
  #height = 0

  constructor(quiet: boolean) {
    this.#quiet = quiet
  }

  say(line: string): void {
    if (!LIVE && !this.#quiet) console.log(`  · ${line}`)
  }

  draw(rows: readonly Row[], last = false): void {
    if (this.#quiet || !(LIVE || last)) return
    const lines = [line(COLUMNS, ''), ...rows.map((row) => line(cells(row), row.verdict ?? '…'))]
    if (this.#height > 0) process.stdout.write(`\x1b[${this.#height}A\x1b[0J`)
    process.stdout.write(`${lines.join('\n')}\n`)
    this.#height = lines.length
  }
}

function line(values: readonly string[], verdict: string): string {
  const padded = values.map((value, i) => (i === 0 ? value.padEnd(WIDTHS[i]!) : value.padStart(WIDTHS[i]!)))
  return `${padded.join('  ')}  ${verdict}`
}

function cells({ name, tally, copies }: Row): string[] {
  return [
    name,
    String(tally.requests),
    String(tally.failures.length),
    `${tally.shareOf('items', 'green')} %`,
    String(tally.usersOn('green').length),
    `${tally.shareOf('rest', 'green')} %`,
    String(copies.answered),
    String(copies.dropped),
    `${tally.p99Ms} ms`,
  ]
}
