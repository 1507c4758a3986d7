/**
 * Takes a failing endpoint out of the picker for a while, then lets one attempt probe it. It
 * changes the pick and refuses no attempt. If too many of the reachable endpoints are ejected, the
 * balancer uses all of them (panic): the rest could not carry the load.
 *
 * - healthy -> ejected: failures in a row, improbable at the share the others fail with; or too
 *   large a share of failures within 10 s while the others do better; or one refused connection,
 *   unless calls have no other choice; or a rejected identity
 * - ejected -> probing: the hold is over and an attempt starts
 * - probing -> healthy: it was answered; counts start anew, strikes stay until many good answers
 *   forgive them
 * - probing -> ejected: it failed (a longer hold), or it was cancelled (the next attempt probes)
 * - any -> held (ejected, without end): health checks fail · held -> healthy: they pass again, or
 *   are no longer made; no attempt probes
 */
import type { Attempt } from '../core/attempt.ts'
import type { Call } from '../core/call.ts'
import type { Clock } from '../core/clock.ts'
import { type Endpoint, type EndpointState, withWeight } from '../core/endpoint.ts'
import type { ErrorCode } from '../core/errors.ts'
import { NOT_STARTED, type Outcome } from '../core/outcome.ts'
import type { Policy } from '../core/policy.ts'
import type { Alternative } from './alternative.ts'
import { classify } from './classification.ts'
import { type ClusterHealth, type EjectionListener, type EjectionReason, isPanic } from './cluster-health.ts'
import { ejectionReason } from './ejection-reason.ts'
import type { EjectionSettings } from './ejection-settings.ts'
import { EndpointHealth, isOpenEnded, isStale } from './endpoint-health.ts'
import { isLateByStall } from './late-by-stall.ts'
import { OtherEndpoints } from './other-endpoints.ts'
import { QUIET_MS, Recovery } from './recovery.ts'
import { TotalOutage } from './total-outage.ts'

/** Answers in a row that forgive one strike. */
const FORGIVING = 50
/** For so long a probe is left to calls that may be repeated; then any call will do. */
const RELUCTANCE_MS = 1_000

/** Stands in the `endpoint` part of a stack; one for each service, shared by its stacks. */
export class EjectionPolicy implements Policy, ClusterHealth {
  readonly name = 'ejection'
  readonly #clock: Clock
  readonly #onTransition: EjectionListener | undefined
  settings: EjectionSettings
  readonly #others: OtherEndpoints
  readonly #outage = new TotalOutage()
  readonly #recovery = new Recovery()
  /** Of the endpoints watched that take calls: how many, and whether they do so with weight 0. */
  #size = 0
  #weightless = false
  /** Those not healthy, among these. */
  #out: Endpoint[] = []
  /** How many of these could not be connected to. */
  #unreachable = 0
  /**
   * Those not healthy, watched or not. Mostly none: then a change of ten thousand endpoints needs
   * no look at each.
   */
  readonly unhealthy = new Set<Endpoint>()
  /** Counts what may concern a {@link HealthView}. */
  changes = 0
  #nextDueAt = Number.POSITIVE_INFINITY

  constructor(settings: EjectionSettings, clock: Clock, onTransition?: EjectionListener) {
    this.settings = settings
    this.#clock = clock
    this.#onTransition = onTransition
    this.#others = new OtherEndpoints(clock.now())
  }

  configure(settings: EjectionSettings): void {
    this.settings = settings
  }

  get ejected(): number {
    return this.#out.length
  }

  /** How many probes are on their way. */
  get probing(): number {
    return this.#out.reduce((count, endpoint) => count + (endpoint.state === 'probing' ? 1 : 0), 0)
  }

  get panicking(): boolean {
    return isPanic(this.#size, this.#out.length, this.#unreachable, this.settings.maxShare)
  }

  /** The endpoints in use, as they are now: those that take calls count for panic and probes. */
  watch(endpoints: readonly Endpoint[]): void {
    const members = withWeight(endpoints)
    this.#size = members.length
    this.#weightless = members[0]?.weight === 0
    const gone = [...this.unhealthy].filter((endpoint) => endpoint.withdrawn)
    for (const endpoint of gone) this.unhealthy.delete(endpoint)
    this.#out = this.unhealthy.size === 0 ? [] : members.filter((endpoint) => this.unhealthy.has(endpoint))
    this.#reckon()
    for (const endpoint of gone) this.#onTransition?.(endpoint, endpoint.state, 'healthy', 'withdrawn', 0)
  }

  /**
   * Some endpoints have others that calls go on to, until the returned function is called. Then
   * another choice helps even if all endpoints fail, or if there is only one.
   */
  addAlternative(alternative: Alternative): () => void {
    return this.#others.addAlternative(alternative)
  }

  due(call: Call): Endpoint | undefined {
    if (this.#nextDueAt === Number.POSITIVE_INFINITY || call.tried !== undefined) return undefined
    const now = this.#clock.now()
    if (now < this.#nextDueAt) return undefined
    return this.firstDue(this.#out, call, now)
  }

  /** Of `out`, the one due for longest: where few calls may probe, a dead one delays no other. */
  firstDue(out: readonly Endpoint[], call: Call, now: number): Endpoint | undefined {
    let first: Endpoint | undefined
    let firstAt = Number.POSITIVE_INFINITY
    for (const endpoint of out) {
      if (!this.isDue(endpoint, call, now)) continue
      if (endpoint.state === 'healthy') return endpoint
      const { dueAt } = endpoint.health as EndpointHealth
      if (dueAt < firstAt) {
        first = endpoint
        firstAt = dueAt
      }
    }
    return first
  }

  /** Whether `call` may find out about `endpoint`, which is out. */
  isDue(endpoint: Endpoint, call: Call, now: number): boolean {
    const health = endpoint.health as EndpointHealth
    if (now < health.dueAt || endpoint.withdrawn) return false
    if (endpoint.state !== 'probing')
      return (call.idempotent && !call.kind.streaming) || now >= health.dueAt + RELUCTANCE_MS
    if (!isOpenEnded(health.probe) || now < health.changedAt + this.settings.maxTimeMs) return false
    // A stream that has run for so long answers the question before it ends.
    health.probe = undefined
    this.#restore(endpoint, health, now, 'probe-succeeded')
    return true
  }

  /** When `isDue` may become true of `endpoint`, which is out; `Infinity`: an event will tell. */
  dueAt(endpoint: Endpoint): number {
    const health = endpoint.health as EndpointHealth
    if (endpoint.state === 'ejected') return health.dueAt
    return isOpenEnded(health.probe) ? health.changedAt + this.settings.maxTimeMs : Number.POSITIVE_INFINITY
  }

  /**
   * Takes an endpoint out until {@link letGo}, because health checks fail: a hold without end,
   * which no attempt probes.
   */
  hold(endpoint: Endpoint): void {
    if (this.isHeld(endpoint)) return
    const now = this.#clock.now()
    const health = (endpoint.health as EndpointHealth | undefined) ?? new EndpointHealth(now)
    endpoint.health = health
    health.consecutive = 0
    health.goodRun = 0
    // One that is finding out has no say any more.
    health.probe = undefined
    health.dueAt = Number.POSITIVE_INFINITY
    this.#change(endpoint, health, 'ejected', 'health-check', Number.POSITIVE_INFINITY)
  }

  /**
   * Takes it back: health checks pass, or it is no longer checked. Nothing happens to one that is
   * out for another reason.
   */
  letGo(endpoint: Endpoint, reason: 'health-check-passed' | 'switched-off'): void {
    if (!this.isHeld(endpoint)) return
    const health = endpoint.health as EndpointHealth
    health.dueAt = 0
    if (this.#out.includes(endpoint) || !this.#takesCalls(endpoint))
      this.#restore(endpoint, health, this.#clock.now(), reason)
    // It has left the picker meanwhile: no event says that it gets calls again.
    else {
      endpoint.state = 'healthy'
      this.changes += 1
      if (this.unhealthy.delete(endpoint)) this.#onTransition?.(endpoint, 'ejected', 'healthy', 'withdrawn', 0)
    }
  }

  isHeld(endpoint: Endpoint): boolean {
    return endpoint.state === 'ejected' && endpoint.health instanceof EndpointHealth && endpoint.health.held
  }

  /** Takes back what attempts took out: ejection has been switched off. */
  release(): void {
    for (const endpoint of [...this.unhealthy]) {
      const health = endpoint.health as EndpointHealth
      if (health.held || endpoint.withdrawn) continue
      health.probe = undefined
      this.#change(endpoint, health, 'healthy', 'switched-off', 0)
    }
  }

  admit(attempt: Attempt): ErrorCode | undefined {
    const endpoint = attempt.endpoint
    this.#recovery.began()
    if (endpoint === undefined || endpoint.state !== 'ejected') return undefined
    const health = endpoint.health as EndpointHealth
    if ((attempt.startedAt || this.#clock.now()) < health.dueAt) return undefined
    health.probe = attempt
    this.#change(endpoint, health, 'probing', 'hold-over', 0)
    return undefined
  }

  /** A probe that is a stream has found out with the head of its answer. */
  answered(attempt: Attempt): void {
    const { endpoint } = attempt
    this.#recovery.good(attempt.startedAt, this.#clock.now())
    const health = endpoint?.health as EndpointHealth | undefined
    if (endpoint === undefined || health === undefined || health.probe !== attempt) return
    health.probe = undefined
    this.#noteReach(attempt, endpoint, true)
    if (endpoint.state === 'probing') this.#restore(endpoint, health, this.#clock.now(), 'probe-succeeded')
  }

  settle(attempt: Attempt, outcome: Outcome): void {
    this.settleBy(this.settings, attempt, outcome)
  }

  /** As `settle`, by the settings of a route. */
  settleBy(settings: EjectionSettings, attempt: Attempt, outcome: Outcome): void {
    const endpoint = attempt.endpoint
    if (endpoint === undefined) return
    const verdict = classify(outcome)
    const now = attempt.endedAt || this.#clock.now()
    const health = endpoint.health as EndpointHealth | undefined
    const isNews = verdict !== 'none' && outcome !== NOT_STARTED
    if (isNews) this.#noteReach(attempt, endpoint, outcome.code !== 'connect-failed')
    if (verdict === 'good') this.#noteGood(attempt, endpoint, now)
    const isPast = isNews && verdict !== 'good' && !this.#recovery.counts(attempt)
    if (health !== undefined && health.probe === attempt) {
      health.probe = undefined
      if (endpoint.state !== 'probing') return
      if (verdict === 'none' || isPast || isLateByStall(attempt, outcome, this.#clock)) {
        this.#change(endpoint, health, 'ejected', 'probe-cancelled', 0)
      } else if (verdict === 'good') this.#restore(endpoint, health, now, 'probe-succeeded')
      else this.#eject(endpoint, health, 'probe-failed', now, settings)
      return
    }
    if (!isNews || isPast || isLateByStall(attempt, outcome, this.#clock)) return
    this.#others.tally.add(now, verdict !== 'good')
    const own = health ?? new EndpointHealth(now)
    if (health === undefined) endpoint.health = own
    own.tally.add(now, verdict !== 'good')
    // What started before the last change of state has no say in the present one.
    if (endpoint.state !== 'healthy' || attempt.startedAt < own.changedAt) return
    if (verdict === 'good') {
      own.consecutive = 0
      own.worse.answered()
      if (own.strikes > 0 && ++own.goodRun >= FORGIVING) {
        own.strikes -= 1
        own.goodRun = 0
      }
      return
    }
    own.goodRun = 0
    if (verdict === 'hard') own.consecutive += 1
    const others = this.#others.than(endpoint, own, this.#size, now)
    const room = this.#out.length + 1 <= this.#size * settings.maxShare
    const reason = ejectionReason(own, outcome, now, settings, others, room)
    if (reason !== undefined) this.#eject(endpoint, own, reason, now, settings)
  }

  #noteReach(attempt: Attempt, endpoint: Endpoint, reachable: boolean): void {
    if (endpoint.unreachable !== reachable || (reachable && isStale(attempt, endpoint))) return
    const wasTotal = this.#unreachable === this.#size
    endpoint.unreachable = !reachable
    if (reachable && wasTotal) this.#endOutage(endpoint)
    if (endpoint.state !== 'healthy') this.#reckon()
  }

  #noteGood(attempt: Attempt, endpoint: Endpoint, now: number): void {
    const isTotal = this.#out.length >= this.#size
    if (isTotal && isStale(attempt, endpoint)) return
    const isEnd = isTotal && this.#recovery.quietMs(now) >= QUIET_MS
    this.#recovery.good(attempt.startedAt, now)
    if (isEnd) this.#endOutage(endpoint)
  }

  /**
   * What was learned of the endpoints was true of the outage. Until probes tell, all of them are in
   * use, as in any panic: the first one alone could not bear the load.
   */
  #endOutage(first: Endpoint): void {
    const now = this.#clock.now()
    if (this.#size < 2 || !this.#outage.ends(first, now, this.settings.maxTimeMs)) return
    for (const endpoint of this.#out) {
      const health = endpoint.health as EndpointHealth
      if (health.held) continue
      endpoint.unreachable = false
      health.dueAt = Math.min(health.dueAt, now)
    }
    this.#reckon()
  }

  #eject(at: Endpoint, health: EndpointHealth, reason: EjectionReason, now: number, by: EjectionSettings): void {
    this.#change(at, health, 'ejected', reason, health.strike(now, by, this.#clock.random()))
  }

  #restore(endpoint: Endpoint, health: EndpointHealth, now: number, reason: EjectionReason): void {
    // Out of the total, too: there it would pass for what the others do.
    this.#others.tally.subtract(health.tally, now)
    health.tally.clear(now)
    health.worse.clear()
    // The balancer trusts it again, too.
    if (endpoint.doubtedUntil > now) endpoint.doubtedUntil = now
    this.#outage.restored(endpoint)
    this.#change(endpoint, health, 'healthy', reason, 0)
  }

  #change(endpoint: Endpoint, health: EndpointHealth, to: EndpointState, reason: EjectionReason, holdMs: number): void {
    const from = endpoint.state
    endpoint.state = to
    // Calls that still run there change nothing: `watch` has ended its ejection.
    if (endpoint.withdrawn) return
    if (to !== 'healthy') this.unhealthy.add(endpoint)
    else {
      this.unhealthy.delete(endpoint)
      endpoint.unreachable = false
    }
    health.changedAt = this.#clock.now()
    const at = this.#out.indexOf(endpoint)
    if (to === 'healthy' && at >= 0) this.#out.splice(at, 1)
    else if (to !== 'healthy' && at < 0 && this.#takesCalls(endpoint)) this.#out.push(endpoint)
    this.#reckon()
    this.#onTransition?.(endpoint, from, to, reason, holdMs)
  }

  #takesCalls({ weight }: Endpoint): boolean {
    return weight > 0 || this.#weightless
  }

  #reckon(): void {
    this.changes += 1
    let next = Number.POSITIVE_INFINITY
    let unreachable = 0
    for (const endpoint of this.#out) {
      if (endpoint.unreachable) unreachable += 1
      next = Math.min(next, this.dueAt(endpoint))
    }
    this.#nextDueAt = next
    this.#unreachable = unreachable
  }
}
