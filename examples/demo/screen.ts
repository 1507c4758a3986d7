/** The live table: rewritten in place on a terminal, a line a phase elsewhere. */

import { percentile, type Tally } from './load.ts'
import { INVENTORIES } from './phases.ts'
import type { Stream } from './services/parent.ts'

export interface Row {
  readonly name: string
  readonly tally: Tally
  readonly retried: number
  readonly circuits: string
  readonly stream: Stream | undefined
  readonly done: boolean
  readonly broken: string | undefined
}

const LIVE = process.stdout.isTTY === true

export class Screen {
  readonly #quiet: boolean
  /** Show the stream that is kept open. */
  readonly #streams: boolean
  #height = 0
  readonly #said: string[] = []

  constructor(quiet: boolean, streams: boolean) {
    this.#quiet = quiet
    this.#streams = streams
  }

  say(line: string): void {
    this.#said.push(line)
    if (!LIVE && !this.#quiet) console.log(`  · ${line}`)
  }

  draw(rows: readonly Row[]): void {
    if (this.#quiet || !LIVE) return
    const lines = [...table(rows, this.#streams), '', ...this.#said.slice(-4).map((line) => `  · ${line}`)]
    if (this.#height > 0) process.stdout.write(`\x1b[${this.#height}A\x1b[0J`)
    process.stdout.write(`${lines.join('\n')}\n`)
    this.#height = lines.length
  }

  finish(rows: readonly Row[]): void {
    if (this.#quiet) return
    if (LIVE) this.draw(rows)
    else console.log(table(rows, this.#streams).join('\n'))
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
  'stream: heard, re-opened',
  '',
] as const
const WIDTHS = [34, 8, 6, 7, 7, 8, 26, 16, 24, 0]
const STREAM = 8

function table(rows: readonly Row[], streams: boolean): string[] {
  const all = [[...COLUMNS], ...rows.map(cells)]
  return all.map((values) => line(values.map((value, i) => (i === STREAM && !streams ? undefined : value))))
}

/** `undefined`: the column is not shown. */
function line(values: readonly (string | undefined)[]): string {
  const padded = values.map((value, i) => (i === 0 ? value?.padEnd(WIDTHS[i]!) : value?.padStart(WIDTHS[i]!)))
  return padded.filter((value) => value !== undefined).join('  ')
}

function cells({ name, tally, retried, circuits, stream, done, broken }: Row): string[] {
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
    stream === undefined ? '' : `${stream.messages}, ${stream.begun}`,
    verdict,
  ]
}
