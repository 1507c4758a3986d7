/**
 * Measures variants in separate processes that take turns in short rounds, so that noise meets all
 * alike. A figure is the median of the rounds; a ratio is the median of ratios within a round, with
 * quartiles.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { DEFAULT_TRANSPORT, TRANSPORT_PREFERENCES, type TransportPreference } from '../src/core/transport.ts'
import type { Run, RunJob } from './measured-process.ts'

/** A question is not waited for any longer; beside other work, a run may take a minute. */
const ANSWER_MS = 180_000

/** A process that is measured, or that drives one. */
export class Subject {
  readonly child: ChildProcess
  /** What it said when it was ready. */
  ready: unknown
  readonly #waiting = new Map<number, { resolve: (told: unknown) => void; reject: (error: Error) => void }>()
  #asked = 0

  private constructor(file: URL, args: readonly string[], execArgv: readonly string[], env: NodeJS.ProcessEnv) {
    this.child = fork(file, args, { execArgv: ['--no-warnings', ...execArgv], env })
    this.child.on('message', ({ id, told, failed }: { id: number; told: unknown; failed?: string }) => {
      const asker = this.#waiting.get(id)
      this.#waiting.delete(id)
      if (failed === undefined) asker?.resolve(told)
      else asker?.reject(new Error(failed))
    })
    this.child.on('exit', (code, signal) => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`${file} ended with ${code ?? signal}`))
      this.#waiting.clear()
    })
  }

  /** Starts `file` with `job` and waits until it answers. */
  static async start(
    file: URL,
    job: unknown,
    { execArgv = [], env = process.env }: { execArgv?: readonly string[]; env?: NodeJS.ProcessEnv } = {},
  ): Promise<Subject> {
    const subject = new Subject(file, [JSON.stringify(job)], execArgv, env)
    subject.ready = await subject.#answer(0)
    return subject
  }

  ask<T>(ask: string, given?: unknown): Promise<T> {
    const id = ++this.#asked
    const told = this.#answer(id)
    this.child.send({ id, ask, given })
    return told as Promise<T>
  }

  /** Ends it at once. */
  async close(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return
    const ended = once(this.child, 'exit')
    this.child.kill('SIGKILL')
    await ended
  }

  #answer(id: number): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no answer within ${ANSWER_MS} ms`)), ANSWER_MS)
      const over =
        <T>(then: (value: T) => void) =>
        (value: T): void => {
          clearTimeout(timer)
          then(value)
        }
      this.#waiting.set(id, { resolve: over(resolve), reject: over(reject) })
    })
  }
}

/** Ends all of them, also if the work failed. */
export async function withSubjects<T>(work: (keep: <S extends Subject>(subject: S) => S) => Promise<T>): Promise<T> {
  const subjects: Subject[] = []
  try {
    return await work((subject) => {
      subjects.push(subject)
      return subject
    })
  } finally {
    await Promise.all(subjects.map((subject) => subject.close()))
  }
}

/**
 * One process of a variant: `subject` is measured while `driver` makes the calls; a client is both.
 */
export interface Pair {
  readonly subject: Subject
  readonly driver?: Subject
  /** Before each run: for variants that share processes. */
  readonly prepare?: () => Promise<void>
}

/** One way of doing it, in several processes that take turns. */
export interface Variant {
  readonly name: string
  readonly twins: readonly Pair[]
}

/**
 * Starts the twins of a variant, one after the other, because to start is the hardest work of all.
 */
export async function variantOf(name: string, count: number, start: () => Promise<Pair>): Promise<Variant> {
  const twins: Pair[] = []
  while (twins.length < count) twins.push(await start())
  return { name, twins }
}

/**
 * After as many calls, all code of a call is compiled. Before, the rounds show the compiler at
 * work: at 6,000 calls, one through the mesh takes twice the CPU time that it takes at 20,000.
 */
export const COMPILED_CALLS = 20_000

export interface Plan {
  readonly calls: number
  readonly rounds: number
  readonly concurrency: number
  /** Calls of each process before the first round, such as {@link COMPILED_CALLS}. */
  readonly warmUp: number
  /** The answers come at different times instead of at once. */
  readonly apart?: boolean
}

/** What the rounds of one variant gave, in the order of the rounds. */
export interface Samples {
  readonly cpuUs: number[]
  /** Of subject and driver together. */
  readonly bothUs: number[]
  readonly perSecond: number[]
  readonly p50Ms: number[]
  readonly p99Ms: number[]
  bytes: number
}

export type Measured = ReadonlyMap<string, Samples>

/** All variants in turn, there and back, as often as planned. */
export async function measure(variants: readonly Variant[], plan: Plan): Promise<Measured> {
  const measured = new Map<string, Samples>(
    variants.map(({ name }) => [name, { cpuUs: [], bothUs: [], perSecond: [], p50Ms: [], p99Ms: [], bytes: 0 }]),
  )
  const warmUp: RunJob = { ...jobOf(plan), calls: plan.warmUp }
  for (const { twins } of variants) {
    await Promise.all(
      twins.map(async ({ subject, driver = subject, prepare }) => {
        await prepare?.()
        await driver.ask('run', warmUp)
      }),
    )
  }
  for (let round = 0; round < plan.rounds; round++) {
    for (const { name, twins } of round % 2 === 0 ? variants : [...variants].reverse()) {
      const { cpuUs, bothUs, run } = await oneRound(twins[round % twins.length]!, plan)
      const samples = measured.get(name)!
      samples.cpuUs.push(cpuUs)
      samples.bothUs.push(bothUs)
      samples.perSecond.push((plan.calls * 1_000) / run.elapsedMs)
      samples.p50Ms.push(run.p50Ms)
      samples.p99Ms.push(run.p99Ms)
    }
  }
  // By itself: counting bytes costs time at each collection.
  for (const { name, twins } of variants) {
    const { subject, driver = subject, prepare } = twins[0]!
    await prepare?.()
    await subject.ask('countBytes')
    await driver.ask('run', jobOf(plan))
    measured.get(name)!.bytes = (await subject.ask<number>('bytes')) / plan.calls
  }
  return measured
}

async function oneRound(pair: Pair, plan: Plan): Promise<{ cpuUs: number; bothUs: number; run: Run }> {
  const { subject, driver, prepare } = pair
  await prepare?.()
  const cpu = async (): Promise<[number, number]> => [
    await subject.ask<number>('cpu'),
    (await driver?.ask<number>('cpu')) ?? 0,
  ]
  const before = await cpu()
  const run = await (driver ?? subject).ask<Run>('run', jobOf(plan))
  const after = await cpu()
  const [own, driving] = [after[0] - before[0], after[1] - before[1]]
  return { cpuUs: own / plan.calls, bothUs: (own + driving) / plan.calls, run }
}

function jobOf({ calls, concurrency, apart = false }: Plan): RunJob {
  return { calls, concurrency, apart }
}

/** A figure with its spread: half of the rounds lie between `low` and `high`. */
export interface Figure {
  readonly median: number
  readonly low: number
  readonly high: number
}

export function figure(samples: readonly number[]): Figure {
  const sorted = [...samples].sort((a, b) => a - b)
  return { median: quantile(sorted, 0.5), low: quantile(sorted, 0.25), high: quantile(sorted, 0.75) }
}

/** Of sorted samples. */
export function quantile(sorted: readonly number[], share: number): number {
  const at = (sorted.length - 1) * share
  const below = sorted[Math.floor(at)]!
  return below + (sorted[Math.ceil(at)]! - below) * (at % 1)
}

/** CPU time per call of `name` over that of `base`, round by round. */
export function ratio(measured: Measured, name: string, base: string, of: 'cpuUs' | 'bothUs' = 'cpuUs'): Figure {
  const bases = measured.get(base)![of]
  return figure(measured.get(name)![of].map((cpuUs, round) => cpuUs / bases[round]!))
}

/** What is to hold. Missed only if even the better quartile of the rounds misses it. */
export interface Target {
  readonly what: string
  readonly found: Figure
  readonly wanted: { readonly atMost: number } | { readonly atLeast: number }
}

export function holds({ found, wanted }: Target): boolean {
  return 'atMost' in wanted ? found.low <= wanted.atMost : found.high >= wanted.atLeast
}

/** A figure that was taken once, or is a median already. */
export function single(value: number): Figure {
  return { median: value, low: value, high: value }
}

/** What one question answers. */
export interface Report {
  readonly title: string
  readonly rows: readonly Readonly<Record<string, string | number>>[]
  readonly targets: readonly Target[]
  /** For the last line of `--json`. */
  readonly figures: Readonly<Record<string, unknown>>
}

export interface Options {
  readonly quick: boolean
  /** What carries calls of the mesh. */
  readonly transport: TransportPreference
}

/** A row of the table for each variant, with the ratio to `base`. */
export function rowsOf(measured: Measured, base: string): Record<string, string | number>[] {
  return [...measured].map(([variant, { cpuUs, perSecond, p50Ms, p99Ms, bytes }]) => {
    const cpu = figure(cpuUs)
    const over = ratio(measured, variant, base)
    return {
      variant,
      'CPU µs/call': round(cpu.median, 1),
      'half within': `${round(cpu.low, 1)} to ${round(cpu.high, 1)}`,
      [`over ${base}`]: round(over.median, 2),
      'calls/s': Math.round(figure(perSecond).median),
      'p50 ms': round(figure(p50Ms).median, 2),
      'p99 ms': round(figure(p99Ms).median, 2),
      'kB/call': round(bytes / 1_000, 1),
    }
  })
}

export function round(value: number, digits: number): number {
  return Number(value.toFixed(digits))
}

/** Prints a report and says whether its targets hold. */
export function print({ title, rows, targets }: Report): boolean {
  console.log(`\n${title}`)
  if (rows.length > 0) console.log(table(rows))
  let all = true
  for (const target of targets) {
    const { what, found, wanted } = target
    const held = holds(target)
    all &&= held
    const bound = 'atMost' in wanted ? `at most ${wanted.atMost}` : `at least ${wanted.atLeast}`
    const spread = found.low === found.high ? '' : ` (${round(found.low, 3)} to ${round(found.high, 3)})`
    console.log(`${held ? 'holds ' : 'MISSED'}  ${what}: ${round(found.median, 3)}${spread}, wanted ${bound}`)
  }
  return all
}

/** In the manner of Markdown, so that it can be pasted. */
function table(rows: readonly Readonly<Record<string, string | number>>[]): string {
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))]
  const lines = [columns, ...rows.map((row) => columns.map((column) => String(row[column] ?? '')))]
  const widths = columns.map((_, i) => Math.max(...lines.map((line) => line[i]!.length)))
  const text = lines.map((line) => `| ${line.map((cell, i) => cell.padEnd(widths[i]!)).join(' | ')} |`)
  text.splice(1, 0, `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`)
  return text.join('\n')
}

/**
 * Runs questions one after the other from a command line: `--quick`, `--transport auto|http1`, and
 * `--json` for a last line with all figures. The exit code is 1 if a target was missed by more than
 * the spread.
 */
export async function runQuestions(questions: readonly ((options: Options) => Promise<Report>)[]): Promise<void> {
  const quick = process.argv.includes('--quick')
  const transport = transportOf(process.argv)
  // For every process that joins a mesh.
  process.env.INMESH_TRANSPORT = transport
  let all = true
  let figures: Record<string, unknown> = {}
  for (const question of questions) {
    const report = await question({ quick, transport })
    all = print(report) && all
    figures = merge(figures, report.figures)
  }
  if (process.argv.includes('--json')) console.log(JSON.stringify(figures))
  if (!all) process.exitCode = 1
}

/** From the command line, or else the default of a process. */
export function transportOf(args: readonly string[]): TransportPreference {
  const at = args.indexOf('--transport')
  const given = at < 0 ? process.env.INMESH_TRANSPORT || DEFAULT_TRANSPORT : args[at + 1]
  const known = TRANSPORT_PREFERENCES.find((one) => one === given)
  if (known === undefined) throw new Error(`--transport: expected auto or http1, got '${given}'`)
  return known
}

/** Two levels deep, because several questions add to `ratios`. */
function merge(a: Record<string, unknown>, b: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const merged = { ...a }
  for (const [key, value] of Object.entries(b)) {
    const known = merged[key]
    merged[key] = typeof known === 'object' && typeof value === 'object' ? { ...known, ...value } : value
  }
  return merged
}
