/** The live table: rewritten in place on a terminal, a line a phase elsewhere. */

import { percentile, type Tally } from './load.ts'
import { INVENTORIES } from './phases.ts'

export interface Row {
  readonly name: string
  readonly tally: Tally
  readonly retried: number
  readonly circuits: string
  readonly done: boolean
  readonly broken: string | undefined
}

const LIVE = process.stdout.isTTY === true

export class Screen {
  readonly #quiet: boolean
  #height = 0
  readonly #said: string[] = []

  constructor(quiet: boolean) {
    this.#quiet = quiet
  }

  say(line: string): void {
    this.#said.push(line)
    if (!LIVE && !this.#quiet) console.log(`  · ${line}`)
  }

  draw(rows: readonly Row[]): void {
    if (this.#quiet || !LIVE) return
    const lines = [...table(rows), '', ...this.#said.slice(-4).map((line) => `  · ${line}`)]
    if (this.#height > 0) process.stdout.write(`\x1b[${this.#height}A\x1b[0J`)
    process.stdout.write(`${lines.join('\n')}\n`)
    this.#height = lines.length
  }

  finish(rows: readonly Row[]): void {
    if (this.#quiet) return
    if (LIVE) this.draw(rows)
    else console.log(table(rows).join('\n'))
  }
}

const COLUMNS = [
  'phase',
  'requests',
  'failed',
  'retried',
  'p50 ms',
  'p99 ms',
  'shares of inventory 1/2/3',
  'circuits',
  '',
] as const
const WIDTHS = [34, 8, 6, 7, 7, 8, 26, 16, 0]

function table(rows: readonly Row[]): string[] {
  return [line(COLUMNS), ...rows.map((row) => line(cells(row)))]
}

function line(values: readonly string[]): string {
  return values.map((value, i) => (i === 0 ? value.padEnd(WIDTHS[i]!) : value.padStart(WIDTHS[i]!))).join('  ')
}

function cells({ name, tally, retried, circuits, done, broken }: Row): string[] {
  const answers = [...tally.shares.values()].reduce((sum, count) => sum + count, 0)
  const shares = INVENTORIES.map((instance) =>
    Math.round((100 * (tally.shares.get(instance) ?? 0)) / Math.max(1, answers)),
  )
  const verdict = !done ? '…' : tally.failed === 0 && broken === undefined ? 'ok' : 'FAILED'
  return [
    name,
    String(tally.requests),
    String(tally.failed),
    String(retried),
    String(percentile(tally.latenciesMs, 0.5)),
    String(percentile(tally.latenciesMs, 0.99)),
    `${shares.join(' / ')} %`,
    circuits,
    verdict,
  ]
}
