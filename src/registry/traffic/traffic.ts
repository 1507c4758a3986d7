/**
 * The calls of the mesh as its processes report them: takes the messages of sessions, and keeps one
 * hour of them in bounded memory.
 */
import type { Clock, Timer } from '../../core/clock.ts'
import { readTraffic } from '../../discovery/traffic/message.ts'
import { encodeDigest } from '../../telemetry/traffic/latency-digest.ts'
import { OUTSIDE, type TrafficMessage, type TrafficSeries } from '../../telemetry/traffic/traffic-message.ts'
import { Marks } from './marks.ts'
import { place } from './placement.ts'
import { Processes, type ReportingProcess, type TrafficSession } from './processes.ts'
import { Rings } from './rings.ts'
import { SeriesTable } from './series-table.ts'
import { MINUTE_MS, SLOT_MS, type Span } from './slots.ts'
import { Totals } from './totals.ts'

const TICK_MS = 1_000
/** What a lost message covered at most, as long as nothing says when it was. */
const LONGEST_LOSS_MS = 60_000
/** Series between two turns of the event loop: about 2 ms. */
const PORTION = 500
/** Of a beat: silent for longer, a process may have stopped. */
const SILENT_BEATS = 1.5

export interface TrafficHost {
  readonly clock: Clock
  readonly leaseMs: number
  readonly beatMs: number
  isKnown(service: string): boolean
  /** Whether an instance is listed. */
  lists(service: string, id: string): boolean
  failed(error: unknown): void
  /** A circuit, an ejection or a panic is another. */
  changed?(): void
  /** Called every second. */
  ticked?(): void
}

export class Traffic {
  readonly processes = new Processes()
  readonly marks: Marks
  readonly table: SeriesTable
  readonly rings: Rings
  /** Messages that came and were kept. */
  taken = 0
  /** Messages that were refused, or of which a part could not be kept. */
  dropped = 0
  /** Times that messages before one were lost on the way. */
  missed = 0
  readonly #host: TrafficHost
  /** The clock's instant at which the clock of the rings is 0: a full minute of the wall clock. */
  readonly #origin: number
  readonly #waiting = new Set<ReportingProcess>()
  readonly #totals = new Totals()
  readonly #sum = new Totals()
  #forgotAt: number
  /** Series kept so far. */
  #turns = 0
  #timer: Timer | undefined
  #working: Promise<void> | undefined

  constructor(host: TrafficHost) {
    const { clock } = host
    this.#host = host
    this.marks = new Marks(() => host.changed?.())
    this.#origin = clock.now() - (clock.wallNow() % MINUTE_MS)
    this.#forgotAt = this.now()
    this.table = new SeriesTable(host.isKnown)
    this.rings = new Rings(this.now())
    this.#wait()
  }

  /** As the greeting of a session says it. */
  readonly wanted = { everyMs: SLOT_MS } as const

  /** On the clock of the rings: monotonic, in ms. */
  now(): number {
    return this.#host.clock.now() - this.#origin
  }

  /** When an instant of the rings was, on the wall clock as it is now. */
  wallOf(at: number): number {
    return this.#host.clock.wallNow() - this.now() + at
  }

  begin(session: TrafficSession, reports: boolean): void {
    const process = this.processes.begin(session, reports, this.now())
    // A session begins with what differs from the ordinary, also of the process's last one.
    process.inFlight.clear()
    process.served.begin()
    this.marks.end(process.name)
  }

  /** @throws SnapshotRejected naming the first wrong field */
  report(session: TrafficSession, message: Readonly<Record<string, unknown>>): void {
    const process = this.processes.of(session)
    if (process === undefined) return
    process.reports = true
    const at = this.now()
    let read: TrafficMessage
    try {
      read = readTraffic(message)
    } catch (error) {
      this.#lost(process)
      throw error
    }
    const admitted = process.admit(read.sequence, at)
    if (admitted === undefined) {
      this.#lost(process)
      return
    }
    this.taken += 1
    if (!admitted.follows && !process.hasLost) this.missed += 1
    process.wait(read, at, admitted.follows)
    this.#waiting.add(process)
  }

  /** `isOver`: it left for good. */
  leave(session: TrafficSession, isOver: boolean): void {
    const process = this.processes.of(session)
    if (process === undefined) return
    this.#heard(process)
    this.processes.leave(session, isOver, this.now())
    if (isOver) this.marks.end(process.name)
  }

  /** Up to when what is open of a process counts as heard, because it is late at most. */
  assumedUntil(process: ReportingProcess): number {
    const { session, reports, hasLost } = process
    if (session === undefined || !reports || hasLost) return Number.NEGATIVE_INFINITY
    const silentMs = this.#host.clock.now() - session.heardAt
    return silentMs > SILENT_BEATS * Math.max(this.#host.beatMs, SLOT_MS) ? Number.NEGATIVE_INFINITY : this.now()
  }

  /** Whether what it says is whole: it reports, and was heard of late. */
  isHeard(process: ReportingProcess): boolean {
    return this.assumedUntil(process) !== Number.NEGATIVE_INFINITY
  }

  silentMs({ heardAt }: TrafficSession): number {
    return Math.round(this.#host.clock.now() - heardAt)
  }

  /** Everything that has come is in the rings when it resolves. */
  async work(): Promise<void> {
    this.#working ??= this.#work().finally(() => {
      this.#working = undefined
    })
    await this.#working
  }

  close(): void {
    if (this.#timer !== undefined) this.#host.clock.stopTimer(this.#timer)
    this.#timer = undefined
  }

  #wait(): void {
    this.#timer = this.#host.clock.startBackgroundTimer(TICK_MS, () => this.#tick(), undefined)
  }

  #tick(): void {
    this.#wait()
    this.#host.ticked?.()
    if (this.#working === undefined) this.work().catch((error: unknown) => this.#host.failed(error))
  }

  async #work(): Promise<void> {
    for (const _ of this.#portions()) await new Promise((resolve) => setImmediate(resolve))
  }

  *#portions(): Generator<void, void, void> {
    for (const process of this.#waiting) {
      this.#waiting.delete(process)
      yield* this.#keep(process)
    }
    const now = this.now()
    for (const process of this.processes.expected()) {
      this.#heard(process)
      if (process.departedAt !== undefined && this.#isGone(process)) {
        this.processes.giveUp(process, now)
        this.marks.end(process.name)
      }
    }
    yield* this.rings.settle(now)
    if (now - this.#forgotAt < MINUTE_MS) return
    this.#forgotAt = now
    this.table.forget(now)
    this.marks.forget(now)
    this.processes.forget(now)
  }

  #lost(process: ReportingProcess): void {
    this.dropped += 1
    process.hasLost = true
  }

  /** What was counted an interval before its last word is reported, or was nothing. */
  #heard({ session, reports, hasLost, history, waiting }: ReportingProcess): void {
    if (session === undefined || !reports || hasLost || waiting.length > 0) return
    history.heard(session.heardAt - this.#origin - SLOT_MS)
  }

  /** Its lease has ended, and it is listed nowhere. */
  #isGone({ service, departedAt, instances }: ReportingProcess): boolean {
    if (this.now() - departedAt! < this.#host.leaseMs) return false
    return !instances.some((id) => this.#host.lists(service, id))
  }

  *#keep(process: ReportingProcess): Generator<void, void, void> {
    const waiting = process.waiting
    process.waiting = []
    const { history } = process
    const spans = place(waiting, process.last?.at ?? Number.NEGATIVE_INFINITY)
    for (const [i, { message, follows }] of waiting.entries()) {
      const span = spans[i]!
      if (!follows) history.missed(span.from, Math.max(process.last?.at ?? 0, span.from - LONGEST_LOSS_MS))
      process.hasLost = process.hasLost && follows
      if (yield* this.#keepOne(process, message, span)) history.heard(span.to)
      else {
        this.dropped += 1
        history.missed(span.to, span.from)
      }
      // An instance that another process has registered is not its to speak of.
      const served = message.served?.filter(({ id }) => process.session?.instances.has(id))
      if (served !== undefined && served.length > 0) process.served.add(served, span)
      for (const { from, ...mark } of message.marks ?? []) {
        this.marks.add({
          ...mark,
          at: span.to + mark.at,
          service: process.service,
          process: process.name,
          before: from,
        })
      }
    }
  }

  /** False: a part of it is lost. */
  *#keepOne(process: ReportingProcess, message: TrafficMessage, span: Span): Generator<void, boolean, void> {
    const totals = this.#totals
    const sum = this.#sum
    sum.clear()
    let whole = true
    for (const series of message.series) {
      const number = this.#numberOf(series, process.service, span.to)
      if (number === undefined) {
        whole = false
        continue
      }
      if (series.inFlight !== undefined) {
        if (series.inFlight === 0) process.inFlight.delete(number)
        else process.inFlight.set(number, series.inFlight)
      }
      totals.clear()
      totals.calls = series.calls ?? 0
      totals.retries = series.retries ?? 0
      totals.hedges = series.hedges ?? 0
      totals.mirrored = series.mirrored ?? 0
      for (const code in series.codes) totals.addFailures(this.table.code(code), series.codes[code]!)
      if (series.ms !== undefined) totals.addDigest(series.ms)
      if (totals.isEmpty) continue
      if (series.side === undefined) sum.add(totals)
      if (!this.rings.add(number, totals, span)) whole = false
      this.#turns += 1
      if (this.#turns % PORTION === 0) yield
    }
    process.last = {
      at: span.to,
      forMs: span.to - span.from,
      calls: sum.calls,
      failures: sum.failures,
      ms: encodeDigest(sum.steps),
    }
    return whole
  }

  #numberOf(series: TrafficSeries, service: string, now: number): number | undefined {
    const isServer = series.side === 'server'
    const { via = '', protocol = '', method = '', route = '', version = '', zone = '', tls } = series
    const from = isServer ? '' : service
    const to = isServer ? service : series.to!
    return this.table.number({ from, to, via, protocol, method, route, version, zone, tls }, now)
  }
}

/** The name that answers give to callers that are not of the mesh. */
export function callerName(from: string): string {
  return from === '' ? OUTSIDE : from
}
