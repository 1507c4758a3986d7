/**
 * The processes that are expected to report, with what was heard of each. A process is expected
 * from its first session; after a session that ended without a word, until its lease is over and
 * none of its instances is listed.
 *
 * - reporting → departed: its session broke;  departed → reporting: it is back
 * - reporting | departed → ended: it left, or is given up
 * - ended → reporting: one that was given up is back; it was alive all the time
 */
import type { TrafficMessage } from '../../telemetry/traffic/traffic-message.ts'
import { ProcessHistory } from './process-history.ts'
import { ServedReports } from './served.ts'
import { KEPT_MS, SLOT_MS } from './slots.ts'

/** Of one service, and of all, that have ended and are remembered. */
const MOST_ENDED_PER_SERVICE = 1_000
const MOST_ENDED = 10_000
/** A process keeps what it could not report for so long. */
const KEPT_BY_PROCESS_MS = 60_000
/** Messages of one process that wait to be placed. */
const MOST_WAITING = 32
/** A report of fewer series is one message. */
const SERIES_OF_PARTS = 100
/** In a burst, after it was held up, and from then on in each interval. */
const MOST_AT_ONCE = 32
const MOST_PER_INTERVAL = 4

/** The session of a process, as its traffic needs it. */
export interface TrafficSession {
  /** `undefined`: it did not say. */
  readonly process: string | undefined
  readonly who: { readonly service: string }
  /** When it was heard last, on the clock of the registry. */
  readonly heardAt: number
  /** Ids of the instances that it has registered. */
  readonly instances: ReadonlySet<string>
  /** Wall clock, ms: the end of its certificate. */
  readonly notAfter: number
}

export interface Waiting {
  readonly at: number
  readonly forMs: number
  readonly message: TrafficMessage
  /** No message before it was lost. */
  readonly follows: boolean
  readonly continues: boolean
}

/** The sum of what a process reported last. */
export interface LastReport {
  readonly at: number
  readonly forMs: number
  readonly calls: number
  readonly failures: number
  /** A digest. */
  readonly ms: string
}

export class ReportingProcess {
  readonly service: string
  readonly name: string
  readonly history: ProcessHistory
  /** `undefined`: it broke, or the process has ended. */
  session: TrafficSession | undefined
  /** False for one of an older version, as far as is known: it says nothing. */
  reports: boolean
  /** A message of its was not kept, and none has come since. */
  hasLost = false
  instances: readonly string[] = []
  departedAt: number | undefined
  waiting: Waiting[] = []
  last: LastReport | undefined
  /** By number of the series, calls in flight as it said last; never 0. */
  readonly inFlight = new Map<number, number>()
  readonly served = new ServedReports()
  #sequence = 0
  #allowance = MOST_AT_ONCE
  #allowedAt: number

  constructor(name: string, session: TrafficSession, reports: boolean, now: number) {
    this.name = name
    this.service = session.who.service
    this.session = session
    this.reports = reports
    this.history = new ProcessHistory(now)
    this.#allowedAt = now
  }

  /** Its session broke, and it has another. */
  resume(session: TrafficSession, reports: boolean, now: number): void {
    this.session = session
    this.reports = reports
    this.departedAt = undefined
    this.#sequence = 0
    const keptSince = now - KEPT_BY_PROCESS_MS
    if (this.history.heardUntil < keptSince) this.history.missed(keptSince)
  }

  /** It reports what is left before it leaves, so nothing is missing after this. */
  get saidAllAt(): number {
    return Math.max(this.history.heardUntil, this.waiting.at(-1)?.at ?? 0)
  }

  /** Keeps a message until it is placed. */
  wait(message: TrafficMessage, at: number, follows: boolean): void {
    const last = this.waiting.at(-1)
    const isLarge = last !== undefined && last.message.series.length >= SERIES_OF_PARTS
    // Parts of one report come together, and cover exactly the same time.
    const continues = isLarge && follows && at - last.at < 100 && last.forMs === message.forMs
    this.waiting.push({ at, forMs: message.forMs, message, follows, continues })
  }

  /** Whether a message of this number may be kept; the next one tells whether some were lost. */
  admit(sequence: number, now: number): { readonly follows: boolean } | undefined {
    const refilled = ((now - this.#allowedAt) / SLOT_MS) * MOST_PER_INTERVAL
    this.#allowance = Math.min(MOST_AT_ONCE, this.#allowance + refilled)
    this.#allowedAt = now
    if (this.#allowance < 1 || this.waiting.length >= MOST_WAITING) return undefined
    this.#allowance -= 1
    const follows = sequence === this.#sequence + 1
    this.#sequence = sequence
    return { follows }
  }
}

export class Processes {
  readonly #bySession = new Map<TrafficSession, ReportingProcess>()
  readonly #byName = new Map<string, ReportingProcess>()
  /** Oldest end first. */
  readonly #ended = new Set<ReportingProcess>()
  readonly #endedOf = new Map<string, number>()
  /** Those of them that said nothing before, by name. */
  readonly #givenUp = new Map<string, ReportingProcess>()
  #unnamed = 0

  /** Of those that are expected now. */
  get size(): number {
    return this.#byName.size
  }

  of(session: TrafficSession): ReportingProcess | undefined {
    return this.#bySession.get(session)
  }

  /** All that were expected within the last hour. */
  *all(): IterableIterator<ReportingProcess> {
    yield* this.#byName.values()
    yield* this.#ended
  }

  /** Those that are expected now. */
  expected(): IterableIterator<ReportingProcess> {
    return this.#byName.values()
  }

  begin(session: TrafficSession, reports: boolean, now: number): ReportingProcess {
    const name = session.process ?? `${session.who.service} #${++this.#unnamed}`
    const known = this.#byName.get(name) ?? this.#revived(name, session)
    if (known === undefined) {
      const process = new ReportingProcess(name, session, reports, now)
      this.#byName.set(name, process)
      this.#bySession.set(session, process)
      return process
    }
    // Of two sessions at the same time, the older one has lost its connection.
    if (known.session !== undefined) this.#bySession.delete(known.session)
    known.resume(session, reports, now)
    this.#bySession.set(session, known)
    return known
  }

  /** `isOver`: it said that it leaves. */
  leave(session: TrafficSession, isOver: boolean, now: number): void {
    const process = this.#bySession.get(session)
    if (process === undefined) return
    this.#bySession.delete(session)
    process.session = undefined
    process.instances = [...session.instances]
    if (isOver) this.end(process, process.hasLost ? now : process.saidAllAt)
    else process.departedAt = now
  }

  /** Its lease is over, and it did not say that it leaves. */
  giveUp(process: ReportingProcess, now: number): void {
    this.#givenUp.set(process.name, process)
    this.end(process, now)
  }

  /** It is expected no more. */
  end(process: ReportingProcess, now: number): void {
    process.history.end(now)
    process.inFlight.clear()
    process.served.clear()
    this.#byName.delete(process.name)
    this.#ended.add(process)
    const { service } = process
    const ofService = (this.#endedOf.get(service) ?? 0) + 1
    this.#endedOf.set(service, ofService)
    if (ofService > MOST_ENDED_PER_SERVICE) this.#forget(this.#oldest((one) => one.service === service))
    else if (this.#ended.size > MOST_ENDED) this.#forget(this.#oldest(() => true))
  }

  forget(now: number): void {
    const before = now - KEPT_MS - SLOT_MS
    for (const process of this.#byName.values()) process.history.forget(before)
    for (const process of this.#ended) {
      if (process.history.until! >= before) break
      this.#forget(process)
    }
  }

  /** One that hung or had no network for longer than its lease. What it reports late is its own. */
  #revived(name: string, { who }: TrafficSession): ReportingProcess | undefined {
    const process = this.#givenUp.get(name)
    if (process === undefined || process.service !== who.service) return undefined
    this.#forget(process)
    process.history.goOn()
    this.#byName.set(name, process)
    return process
  }

  #oldest(is: (process: ReportingProcess) => boolean): ReportingProcess | undefined {
    for (const process of this.#ended) if (is(process)) return process
    return undefined
  }

  #forget(process: ReportingProcess | undefined): void {
    if (process === undefined) return
    this.#ended.delete(process)
    if (this.#givenUp.get(process.name) === process) this.#givenUp.delete(process.name)
    const left = this.#endedOf.get(process.service)! - 1
    if (left === 0) this.#endedOf.delete(process.service)
    else this.#endedOf.set(process.service, left)
  }
}
