/**
 * Active health checks of one destination, outside of its calls; ejection removes endpoints that
 * fail. Each endpoint has a random place within the interval, so probes never align.
 *
 * - passing -> held: `unhealthyAfter` failures in a row
 * - held -> passing: `healthyAfter` successes in a row, or no longer checked
 */
import type { Clock, Timer } from '../core/clock.ts'
import { outsideCalls } from '../core/context.ts'
import type { Endpoint } from '../core/endpoint.ts'
import type { EjectionPolicy } from '../resilience/ejection.ts'
import type { HealthCheckSettings } from '../resilience/health-check.ts'

/**
 * Probes one endpoint and calls `done` once, within `timeoutMs`, unless the returned function
 * cancels it first. `undefined`: the endpoint could not be asked, through no fault on its side.
 * `reason` is for people; {@link TIMED_OUT} also for us.
 */
export type Probe = (endpoint: Endpoint, timeoutMs: number, done: ProbeListener) => () => void
export type ProbeListener = (healthy: boolean | undefined, reason: string) => void

/**
 * The reason of a probe that timed out. It does not count if our event loop stalled meanwhile.
 */
export const TIMED_OUT = 'no answer in time'

export interface HealthChecksParts {
  readonly clock: Clock
  readonly ejection: EjectionPolicy
  /** Makes the probe of a policy's path. */
  readonly probe: (path: string) => Probe
}

/**
 * Probes in flight per destination: at 10 ms an answer, 12,800 a second. Hanging probes occupy
 * places until they time out, which delays the others.
 */
export const MOST_RUNNING = 128
/** Minimum between two wake-ups; with thousands of endpoints, each starts several probes. */
const TICK_MS = 10
/**
 * A probe that overlaps a longer stall of our loop proves nothing (SystemClock counts stalls from
 * 20 ms).
 */
const STALL_MS = 20

/**
 * A probe later than this part of the interval delays the whole round. Catching up would align the
 * probes after a stall.
 */
const SLACK = 0.1

class Check {
  readonly endpoint: Endpoint
  /** Its place within the interval, from 0 to 1. */
  readonly phase: number
  /** Counts its probes; answers of older ones are ignored. */
  number = 0
  running = false
  cancel: (() => void) | undefined = undefined
  startedAt = 0
  failures = 0
  successes = 0
  failure: string | undefined = undefined

  constructor(endpoint: Endpoint, phase: number) {
    this.endpoint = endpoint
    this.phase = phase
  }
}

export class HealthChecks {
  readonly #parts: HealthChecksParts
  #settings: HealthCheckSettings | undefined
  #probe: Probe | undefined
  #endpoints: readonly Endpoint[] = []
  #checks = new Map<Endpoint, Check>()
  /** By phase. */
  #ring: Check[] = []
  /** Index of the next probe, in the round that began at `#roundAt`. */
  #next = 0
  #roundAt = 0
  #running = 0
  #timer: Timer | undefined
  #starting = false

  constructor(parts: HealthChecksParts) {
    this.#parts = parts
  }

  /** Probes in flight. */
  get running(): number {
    return this.#running
  }

  /** Why the last probe of `endpoint` failed; `undefined` if it passed. */
  failureOf(endpoint: Endpoint): string | undefined {
    return this.#checks.get(endpoint)?.failure
  }

  /**
   * Applies new settings and keeps the counts. `undefined` switches checks off and restores held
   * endpoints.
   */
  configure(settings: HealthCheckSettings | undefined): void {
    const before = this.#settings
    this.#settings = settings
    if (settings === undefined) {
      this.#endAll()
      for (const { endpoint } of this.#checks.values()) this.#parts.ejection.letGo(endpoint, 'switched-off')
      this.#checks.clear()
      this.#ring = []
      return
    }
    if (settings.path !== before?.path) this.#probe = this.#parts.probe(settings.path)
    if (settings.intervalMs !== before?.intervalMs) {
      this.#roundAt = this.#parts.clock.now()
      this.#next = 0
    }
    this.update(this.#endpoints)
  }

  /** The current endpoints that may be picked. */
  update(endpoints: readonly Endpoint[]): void {
    this.#endpoints = endpoints
    if (this.#settings === undefined) return
    const { clock, ejection } = this.#parts
    if (this.#ring.length === 0) this.#roundAt = clock.now()
    const last = this.#next === 0 ? -1 : this.#ring[this.#next - 1]!.phase
    const gone = this.#checks
    const added: Check[] = []
    const kept = new Map<Endpoint, Check>()
    for (const endpoint of endpoints) {
      let check = gone.get(endpoint)
      if (check === undefined) {
        check = new Check(endpoint, clock.random())
        added.push(check)
      } else gone.delete(endpoint)
      kept.set(endpoint, check)
    }
    this.#checks = kept
    for (const check of gone.values()) {
      this.#end(check)
      // It may come back, and without checks it would stay held.
      if (!check.endpoint.withdrawn) ejection.letGo(check.endpoint, 'switched-off')
    }
    const ring = gone.size === 0 ? this.#ring : this.#ring.filter(({ endpoint }) => kept.has(endpoint))
    this.#ring = added.length === 0 ? ring : [...ring, ...added].sort((a, b) => a.phase - b.phase)
    this.#next = this.#ring.findIndex(({ phase }) => phase > last)
    if (this.#next < 0) this.#next = this.#ring.length
    this.#go()
  }

  /** Stops all timers and probes. */
  close(): void {
    this.#endAll()
    this.#settings = undefined
    this.#checks.clear()
    this.#ring = []
  }

  /** Starts the probes that are due, up to the limit, then waits for the next. */
  #go(): void {
    const settings = this.#settings
    if (settings === undefined || this.#starting) return
    this.#stopTimer()
    const { clock } = this.#parts
    const { intervalMs } = settings
    const now = clock.now()
    this.#starting = true
    while (this.#running < MOST_RUNNING && this.#ring.length > 0) {
      if (this.#next >= this.#ring.length) {
        this.#next = 0
        this.#roundAt += intervalMs
      }
      const check = this.#ring[this.#next]!
      if (check.endpoint.withdrawn) {
        this.#ring.splice(this.#next, 1)
        this.#checks.delete(check.endpoint)
        this.#end(check)
        continue
      }
      const dueAt = this.#roundAt + check.phase * intervalMs
      if (dueAt > now) {
        // The chain of timers must not retain the call in which it began.
        this.#timer = outsideCalls(() => clock.startBackgroundTimer(Math.max(TICK_MS, dueAt - now), goOn, this))
        break
      }
      if (now - dueAt > SLACK * intervalMs) this.#roundAt += now - dueAt
      this.#next += 1
      if (!check.running) this.#start(check, settings, now)
    }
    this.#starting = false
  }

  goOn(): void {
    this.#timer = undefined
    this.#go()
  }

  #start(check: Check, settings: HealthCheckSettings, now: number): void {
    const { clock } = this.#parts
    const { endpoint } = check
    // The clock watches the loop only while stalls are queried.
    clock.stalledMsSince(now)
    check.number += 1
    check.running = true
    check.startedAt = now
    this.#running += 1
    const { number } = check
    const cancel = this.#probe!(endpoint, settings.timeoutMs, (healthy, reason) => {
      if (!check.running || check.number !== number) return
      check.running = false
      check.cancel = undefined
      this.#running -= 1
      this.#judge(check, healthy, reason)
      // The timer runs unless the limit was reached.
      if (this.#timer === undefined) this.#go()
    })
    if (check.running && check.number === number) check.cancel = cancel
  }

  #judge(check: Check, healthy: boolean | undefined, reason: string): void {
    const { clock, ejection } = this.#parts
    const { endpoint } = check
    const settings = this.#settings
    if (settings === undefined || healthy === undefined || endpoint.withdrawn) return
    if (healthy) {
      check.failures = 0
      check.failure = undefined
      if (!ejection.isHeld(endpoint)) return
      check.successes += 1
      if (check.successes >= settings.healthyAfter) ejection.letGo(endpoint, 'health-check-passed')
      return
    }
    if (reason === TIMED_OUT && clock.stalledMsSince(check.startedAt) > STALL_MS) return
    check.successes = 0
    check.failures += 1
    check.failure = reason
    if (check.failures >= settings.unhealthyAfter) ejection.hold(endpoint)
  }

  #end(check: Check): void {
    if (!check.running) return
    check.running = false
    this.#running -= 1
    check.cancel?.()
    check.cancel = undefined
  }

  #endAll(): void {
    this.#stopTimer()
    for (const check of this.#checks.values()) this.#end(check)
  }

  #stopTimer(): void {
    if (this.#timer !== undefined) this.#parts.clock.stopTimer(this.#timer)
    this.#timer = undefined
  }
}

function goOn(checks: HealthChecks): void {
  checks.goOn()
}
