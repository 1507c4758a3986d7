/**
 * The access log of one process: chooses which calls get a line when they end, and makes it. One
 * line a call, whatever its attempts; failures always, the rest by share.
 */
import type { Attempt } from '../../core/attempt.ts'
import type { Call } from '../../core/call.ts'
import type { Clock } from '../../core/clock.ts'
import type { Outcome } from '../../core/outcome.ts'
import type { Side } from '../call-metrics.ts'
import type { Metrics } from '../metrics.ts'
import { callFields, type Logged } from './call-fields.ts'
import { isLogging, LineWriter } from './line-writer.ts'
import { type AccessLogPolicy, type AccessLogSettings, type LogRule, logRule } from './settings.ts'

/** Runs `work` where the span of `call` is the active one. */
export type WithinSpan = (call: Call, work: () => void) => void

export class AccessLog {
  readonly client: LoggedCalls
  readonly server: LoggedCalls
  readonly #writer: LineWriter

  constructor(settings: AccessLogSettings, service: string, metrics: Metrics, clock: Clock) {
    this.#writer = new LineWriter(settings.log, metrics, service)
    this.client = new LoggedCalls('client', settings, service, this.#writer, clock)
    this.server = new LoggedCalls('server', settings, service, this.#writer, clock)
  }

  /** What waits is written, for a second at most. */
  close(): Promise<void> {
    return this.#writer.close()
  }
}

/** The calls of one side. */
export class LoggedCalls {
  readonly #side: Side
  readonly #settings: AccessLogSettings
  readonly #service: string
  readonly #writer: LineWriter
  readonly #clock: Clock
  /** By the called service; on a server, our own. */
  readonly #rules = new Map<string, LogRule | undefined>()
  /** Of services without a document. */
  readonly #usual: LogRule | undefined
  /** Calls that a logger makes. A line about each would make the next one. */
  readonly #ofLoggers = new WeakSet<Call>()
  /** It has just ended its call, which is notified next. */
  #decisive: Attempt | undefined = undefined
  /** Of an SDK that records spans. */
  within: WithinSpan | undefined = undefined

  constructor(side: Side, settings: AccessLogSettings, service: string, writer: LineWriter, clock: Clock) {
    this.#side = side
    this.#settings = settings
    this.#service = service
    this.#writer = writer
    this.#clock = clock
    this.#usual = logRule(side, settings, undefined)
  }

  /** What the documents in force say of `service`, from the next end of a call on. */
  configure(service: string, policy: AccessLogPolicy | false | undefined): void {
    this.#rules.set(service, logRule(this.#side, this.#settings, policy))
  }

  forget(service: string): void {
    this.#rules.delete(service)
  }

  /** Whether any call gets a line now. */
  get active(): boolean {
    if (this.#rules.size === 0) return this.#usual !== undefined
    for (const rule of this.#rules.values()) if (rule !== undefined) return true
    return false
  }

  /** In the async context of its caller. */
  callStarted(call: Call): void {
    if (isLogging()) this.#ofLoggers.add(call)
  }

  /** `attempt` has ended its call. */
  decided(attempt: Attempt): void {
    this.#decisive = attempt
  }

  callEnded(call: Call, outcome: Outcome, endedAt: number): void {
    const decisive = this.#decisive?.call === call ? this.#decisive : undefined
    this.#decisive = undefined
    // One that is open is logged when it closes.
    if (this.#side === 'client' && call.kind.protocol === 'tcp' && outcome.verdict === 'success') return
    this.#log(call, outcome, decisive, endedAt)
  }

  connectionEnded(decisive: Attempt, outcome: Outcome): void {
    this.#log(decisive.call, outcome, decisive, this.#clock.now())
  }

  mirrorStarted(mirror: Attempt, of: Call): void {
    if (this.#ofLoggers.has(of)) this.#ofLoggers.add(mirror.call)
  }

  mirrorEnded(mirror: Attempt, outcome: Outcome): void {
    this.#log(mirror.call, outcome, mirror, mirror.endedAt || this.#clock.now())
  }

  #log(call: Call, outcome: Outcome, decisive: Attempt | undefined, endedAt: number): void {
    const { service } = call.kind
    const rule = this.#rules.has(service) ? this.#rules.get(service) : this.#usual
    if (rule === undefined) return
    const logged = this.#reason(rule, call, outcome, endedAt)
    if (logged === undefined || this.#ofLoggers.has(call)) return
    if (this.#writer.full) {
      this.#writer.drop()
      return
    }
    const ended = { side: this.#side, service: this.#service, call, outcome, decisive, endedAt, logged }
    const { within } = this
    this.#writer.add({
      at: this.#clock.wallNow(),
      failed: logged === 'failure',
      fields: callFields(ended, rule.headers),
      // Only a recorded call has a span.
      within: within === undefined || call.observed === undefined ? undefined : (work) => within(call, work),
    })
  }

  /** Why it gets a line; `undefined`: it gets none. */
  #reason(rule: LogRule, call: Call, { verdict, code }: Outcome, endedAt: number): Logged | undefined {
    // Out of time is a failure for the caller, whether or not the peer is to blame.
    if (verdict !== 'success') return verdict === 'cancelled' && code === 'cancelled' ? 'cancelled' : 'failure'
    if (!call.kind.streaming && endedAt - call.startedAt >= rule.slowMs) return 'slow'
    return this.#drawn(rule.sample, call) ? 'sample' : undefined
  }

  /** By its trace, so that the processes of a request choose alike if their shares are alike. */
  #drawn(sample: number, { trace }: Call): boolean {
    if (sample <= 0 || sample >= 1) return sample >= 1
    return (trace === undefined ? this.#clock.random() : drawOf(trace.traceId)) < sample
  }
}

const DRAWN_DIGITS = 8
const DRAWS = 16 ** DRAWN_DIGITS

/** From 0 to 1, by the random end of a trace id (W3C Trace Context 2, 2.2.5). */
function drawOf(traceId: string): number {
  return Number.parseInt(traceId.slice(-DRAWN_DIGITS), 16) / DRAWS
}
