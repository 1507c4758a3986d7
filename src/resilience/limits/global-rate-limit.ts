/**
 * Enforces this instance's share of the rate of its whole service. The registry leases shares by
 * demand (Doorman's scheme, decision 0034), and no request waits for it: before the first lease,
 * and after the last has ended, an instance takes an equal share.
 */
import type { Attempt } from '../../core/attempt.ts'
import type { Clock, Timer } from '../../core/clock.ts'
import type { Outcome } from '../../core/outcome.ts'
import type { Policy } from '../../core/policy.ts'
import { SAMPLE_MS } from './demand-meter.ts'
import type { GlobalRateSettings } from './global-rate-settings.ts'
import { LeasedShare } from './leased-share.ts'

/** The key of the demand of all callers together. No service has this name. */
export const ALL_CALLERS = '*'
/** Callers whose shares are leased: those with the most demand. */
export const MOST_LEASED_CALLERS = 100
/** Callers with an equal share each; all others have one together. */
const MOST_CALLERS = 1_000
/** Between two reports, unless the demand moves sharply. */
const REPORT_MS = 1_000
/** The same, while requests are refused. */
const REFUSING_REPORT_MS = 250
/** A caller is forgotten when it has not called for so long. */
const IDLE_MS = 10_000

/** Requests per second by key: {@link ALL_CALLERS}, or callers' services. `''`: no certificate. */
export type Demand = readonly (readonly [key: string, perSecond: number])[]

/** A share of the rate, as the registry leases it. */
export interface QuotaLease {
  readonly leaseMs: number
  /** The rate that is shared out, and whether each caller has it. */
  readonly ratePerSecond: number
  readonly byCaller: boolean
  /** Requests per second: of all callers together, or of each that `callers` lacks. */
  readonly share: number
  readonly callers: ReadonlyMap<string, number>
}

export interface QuotaHost {
  /** Tells the registry. Lost without harm if there is none. */
  report(demand: Demand): void
  /** How many instances share the rate, as far as this process knows. */
  instances(): number
  /** It has a lease now, or none any more. */
  leased?(leased: boolean): void
}

export class GlobalRateLimitPolicy implements Policy {
  readonly name = 'global-rate-limit'
  readonly #clock: Clock
  readonly #host: QuotaHost
  #settings: GlobalRateSettings
  #lease: QuotaLease | undefined
  #leaseEndsAt = Number.NEGATIVE_INFINITY
  readonly #all: LeasedShare
  readonly #callers = new Map<string, LeasedShare>()
  #timer: Timer | undefined
  #sampledAt = 0
  #reportedAt = Number.NEGATIVE_INFINITY
  #closed = false

  constructor(settings: GlobalRateSettings, clock: Clock, host: QuotaHost) {
    this.#clock = clock
    this.#host = host
    this.#settings = settings
    this.#all = new LeasedShare(this.#equalShare(), clock)
  }

  /** What all callers together, or each one unless more is leased to it, may use here. */
  get share(): number {
    return this.#all.perSecond
  }

  get isLeased(): boolean {
    return this.#lease !== undefined && this.#clock.now() < this.#leaseEndsAt
  }

  configure(settings: GlobalRateSettings): void {
    const { ratePerSecond, byCaller } = this.#settings
    if (settings.ratePerSecond === ratePerSecond && settings.byCaller === byCaller) return
    this.#settings = settings
    if (settings.byCaller !== byCaller) this.#callers.clear()
    this.#apply()
  }

  /** From the registry. */
  grant(lease: QuotaLease): void {
    if (this.#closed) return
    const before = this.isLeased
    this.#lease = lease
    this.#leaseEndsAt = this.#clock.now() + lease.leaseMs
    this.#apply()
    if (!before) this.#host.leased?.(true)
    // The end of the lease is noticed while there is demand.
  }

  /** To a registry that knows nothing of this process yet. */
  announce(): void {
    if (!this.#closed) this.#report(this.#clock.now())
  }

  close(): void {
    this.#closed = true
    if (this.#timer !== undefined) this.#clock.stopTimer(this.#timer)
    this.#timer = undefined
  }

  admit(attempt: Attempt): 'global-rate-limited' | undefined {
    if (this.#timer === undefined) this.#wake(attempt.startedAt || this.#clock.now())
    const share = this.#settings.byCaller ? this.#shareOf(attempt.call.peer ?? '') : this.#all
    share.meter.offered += 1
    if (share.limit.admit(attempt) === undefined) return undefined
    share.refused += 1
    return 'global-rate-limited'
  }

  /** Gives back what was not used, if a later policy refused. */
  settle(attempt: Attempt, outcome: Outcome): void {
    const share = this.#settings.byCaller ? this.#callers.get(attempt.call.peer ?? '') : this.#all
    share?.limit.settle(attempt, outcome)
  }

  #shareOf(caller: string): LeasedShare {
    const known = this.#callers.get(caller)
    if (known !== undefined) return known
    if (this.#callers.size >= MOST_CALLERS) return this.#all
    const share = new LeasedShare(this.#leasedTo(caller) ?? this.#all.perSecond, this.#clock)
    this.#callers.set(caller, share)
    return share
  }

  /** Demand is sampled while there is some. */
  #wake(now: number): void {
    if (this.#closed) return
    this.#sampledAt = now
    this.#checkLease(now)
    this.#forget(now)
    this.#sampleLater()
  }

  #sampleLater(): void {
    this.#timer = this.#clock.startBackgroundTimer(SAMPLE_MS, () => this.#sample(), undefined)
  }

  #sample(): void {
    const now = this.#clock.now()
    const ms = now - this.#sampledAt
    this.#sampledAt = now
    this.#checkLease(now)
    let moved = false
    let news = false
    let quiet = true
    let isShort = false
    for (const share of this.#shares()) {
      const { meter } = share
      if (meter.offered > 0) share.usedAt = now
      moved = share.sample(ms) || moved
      news = news || share.isNews
      isShort = isShort || share.isShort
      quiet = quiet && meter.isIdle
    }
    this.#forget(now)
    const everyMs = isShort ? REFUSING_REPORT_MS : REPORT_MS
    if (moved || (news && now - this.#reportedAt >= everyMs)) this.#report(now)
    else if (quiet && !news) {
      this.#timer = undefined
      return
    }
    this.#sampleLater()
  }

  *#shares(): Iterable<LeasedShare> {
    yield this.#all
    yield* this.#callers.values()
  }

  /** A caller that owes nothing begins anew as well as it goes on. */
  #forget(now: number): void {
    for (const [caller, { usedAt, meter, limit }] of this.#callers) {
      if (now - usedAt > IDLE_MS && meter.offered === 0 && limit.isFull) this.#callers.delete(caller)
    }
  }

  #report(now: number): void {
    this.#reportedAt = now
    this.#host.report(this.#settings.byCaller ? this.#demandOfCallers() : [[ALL_CALLERS, this.#all.report()]])
  }

  #demandOfCallers(): Demand {
    // What those beyond the bound ask for has no key. It is taken as told, or it would stay news.
    this.#all.report()
    const demand = [...this.#callers].map(([caller, share]) => [caller, share.report()] as const)
    if (demand.length <= MOST_LEASED_CALLERS) return demand
    return demand.sort((a, b) => b[1] - a[1]).slice(0, MOST_LEASED_CALLERS)
  }

  #checkLease(now: number): void {
    if (this.#lease === undefined) this.#apply()
    else if (now >= this.#leaseEndsAt) {
      this.#lease = undefined
      this.#apply()
      this.#host.leased?.(false)
    }
  }

  #apply(): void {
    this.#all.perSecond = this.#leased()?.share ?? this.#equalShare()
    for (const [caller, share] of this.#callers) share.perSecond = this.#leasedTo(caller) ?? this.#all.perSecond
  }

  /** The lease, in terms of our own document: that of the registry may be older or newer. */
  #leased(): { readonly share: number; readonly scale: number } | undefined {
    const { ratePerSecond, byCaller } = this.#settings
    const lease = this.#lease
    if (lease === undefined || lease.byCaller !== byCaller || this.#clock.now() >= this.#leaseEndsAt) return undefined
    const scale = ratePerSecond / lease.ratePerSecond
    return { share: lease.share * scale, scale }
  }

  #leasedTo(caller: string): number | undefined {
    const share = this.#lease?.callers.get(caller)
    const leased = share === undefined ? undefined : this.#leased()
    return leased === undefined ? undefined : share! * leased.scale
  }

  #equalShare(): number {
    return this.#settings.ratePerSecond / Math.max(1, this.#host.instances())
  }
}
