/**
 * Hands lines to the application's logger, apart from the calls: after the turn in which they
 * ended, a few milliseconds at a time, in no call's async context. What the logger cannot keep up
 * with is dropped and counted.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { ACCESS_LOG } from '../metric-definitions.ts'
import type { Counter, Metrics } from '../metrics.ts'

/** The attributes of a call by their names. */
export type AccessLogFields = Readonly<Record<string, string | number | boolean | readonly string[]>>

/** A logger such as one of pino. */
export interface AccessLogger {
  info(fields: AccessLogFields, message: string): unknown
  /** For calls that failed. */
  warn(fields: AccessLogFields, message: string): unknown
}

/** Takes the lines: a logger, or a function that gets each as JSON, without an end of line. */
export type AccessLogTarget = AccessLogger | ((line: string) => unknown)

/** A line that waits for the logger. */
export interface Line {
  /** Wall clock, ms since 1970. */
  readonly at: number
  readonly failed: boolean
  readonly fields: AccessLogFields
  /** Runs the logger where the call's span is the active one; `undefined`: it has none. */
  readonly within: ((work: () => void) => void) | undefined
}

export const MESSAGE = 'access'

/** About a megabyte of lines. */
const MOST_WAITING = 1_000
/** Promises of the logger that have not settled. */
const MOST_UNSETTLED = 1_000
/** Of one turn of the event loop. */
const SLICE_MS = 5
/** For what waits when the mesh closes. */
const LAST_MS = 1_000

const inNoContext = AsyncLocalStorage.snapshot()
const logging = new AsyncLocalStorage<boolean>()

/** Whether a logger runs, or what it has begun. */
export function isLogging(): boolean {
  return logging.getStore() === true
}

export class LineWriter {
  readonly #target: AccessLogTarget
  readonly #written: Counter
  readonly #dropped: (reason: 'queue-full' | 'logger-failed' | 'closed') => void
  #waiting: Line[] = []
  #scheduled = false
  #unsettled = 0
  /** For the end: called when the last promise of the logger has settled. */
  #whenSettled: (() => void) | undefined = undefined
  #closed = false

  constructor(target: AccessLogTarget, metrics: Metrics, service: string) {
    this.#target = target
    this.#written = metrics.counter(ACCESS_LOG.lines).series(service)
    const dropped = metrics.counter(ACCESS_LOG.dropped)
    this.#dropped = (reason) => {
      dropped.series(service, reason).value += 1
    }
  }

  /** Whether a line would be dropped, so that making it is in vain. */
  get full(): boolean {
    return this.#closed || this.#waiting.length >= MOST_WAITING || this.#unsettled >= MOST_UNSETTLED
  }

  drop(): void {
    this.#dropped(this.#closed ? 'closed' : 'queue-full')
  }

  add(line: Line): void {
    if (this.full) {
      this.drop()
      return
    }
    this.#waiting.push(line)
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(writeNext, this)
  }

  /** Writes what waits, and waits for the logger's promises: a second at most for both. */
  async close(): Promise<void> {
    const untilAt = performance.now() + LAST_MS
    while (this.#waiting.length > 0 && performance.now() < untilAt) await new Promise(setImmediate)
    this.#closed = true
    for (const _ of this.#waiting.splice(0)) this.drop()
    if (this.#unsettled > 0) await this.#allSettled(untilAt - performance.now())
  }

  #allSettled(atMostMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, Math.max(0, atMostMs))
      this.#whenSettled = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  /** @internal */
  writeSome(): void {
    const lines = this.#waiting
    const untilAt = performance.now() + SLICE_MS
    let written = 0
    // The end may have dropped them all.
    while (written < lines.length) {
      this.#write(lines[written]!)
      written += 1
      if (performance.now() >= untilAt) break
    }
    lines.splice(0, written)
    this.#scheduled = lines.length > 0
    if (this.#scheduled) setImmediate(writeNext, this)
  }

  #write(line: Line): void {
    let returned: unknown
    try {
      if (line.within === undefined) returned = this.#log(line)
      else
        line.within(() => {
          returned = this.#log(line)
        })
      if (typeof (returned as PromiseLike<unknown> | undefined)?.then === 'function') this.#settle(returned)
      else this.#written.value += 1
    } catch {
      this.#dropped('logger-failed')
    }
  }

  #log({ at, failed, fields }: Line): unknown {
    const target = this.#target
    const level = failed ? 'warn' : 'info'
    if (typeof target !== 'function') return target[level](fields, MESSAGE)
    return target(JSON.stringify({ time: at, level, msg: MESSAGE, ...fields }))
  }

  /** A promise that rejects without a handler would end the process. */
  #settle(promised: unknown): void {
    this.#unsettled += 1
    const settled = (): void => {
      this.#unsettled -= 1
      if (this.#unsettled === 0) this.#whenSettled?.()
    }
    Promise.resolve(promised).then(
      () => {
        this.#written.value += 1
        settled()
      },
      () => {
        this.#dropped('logger-failed')
        settled()
      },
    )
  }
}

function writeNext(writer: LineWriter): void {
  inNoContext(() => logging.run(true, () => writer.writeSome()))
}
