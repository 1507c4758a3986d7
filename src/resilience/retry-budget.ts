/**
 * Bounds retries to a share of traffic, so that retries of several tiers do not multiply (Finagle's
 * RetryBudget). `execution.ts` deposits, and withdraws for hedges; `retry.ts` withdraws for
 * retries.
 */
import type { Clock } from '../core/clock.ts'
import { withDefault } from '../options/fields.ts'
import { number } from '../options/quantities.ts'
import { definePolicy, type OptionsOf, type PolicyDefinition, type SettingsOf } from './define-policy.ts'

const definition = definePolicy('budget', {
  /** Retries per call. @defaultValue `0.2` (Finagle) */
  ratio: withDefault(number({ min: 0, max: 10 }), 0.2),
  /**
   * Retries per second and process that are always allowed, for services with little traffic.
   * @defaultValue `10` (Finagle)
   */
  minPerSecond: withDefault(number({ min: 0, max: 100_000 }), 10),
})

/** How many retries the traffic of a service may cause. */
export interface RetryBudgetOptions extends OptionsOf<typeof definition> {}
export interface RetryBudgetSettings extends SettingsOf<typeof definition> {}
export const RETRY_BUDGET: PolicyDefinition<RetryBudgetOptions, RetryBudgetSettings> = definition

/**
 * Finagle keeps deposits for 10 s, which lets the savings of a quiet time through at once: 8.8
 * times the load in the worst second of a simulated storm. One second holds worst second and mean
 * alike at 1.8 (`npm run simulate`).
 */
const WINDOW_MS = 1_000
const SLICES = 10
const SLICE_MS = WINDOW_MS / SLICES

export class RetryBudget {
  readonly #clock: Clock
  #settings: RetryBudgetSettings
  readonly #slices = new Float64Array(SLICES)
  #sum = 0
  #slice: number
  /** Of the slice. */
  #endsAt: number

  constructor(settings: RetryBudgetSettings, clock: Clock) {
    this.#settings = settings
    this.#clock = clock
    this.#slice = Math.floor(clock.now() / SLICE_MS)
    this.#endsAt = (this.#slice + 1) * SLICE_MS
  }

  /** New settings, old balance. */
  configure(settings: RetryBudgetSettings): void {
    this.#settings = settings
  }

  /** Once per call, before its first attempt. */
  deposit(now = this.#clock.now()): void {
    this.#add(this.#settings.ratio, now)
  }

  /** `true` if one more attempt is paid for. */
  tryWithdraw(now = this.#clock.now()): boolean {
    if (this.#balanceAt(now) < 1) return false
    this.#add(-1, now)
    return true
  }

  /** How many attempts it would pay for right now. */
  get balance(): number {
    return this.#balanceAt(this.#clock.now())
  }

  #balanceAt(now: number): number {
    this.#turn(now)
    return this.#sum + this.#settings.minPerSecond * (WINDOW_MS / 1_000) + 1e-9
  }

  #add(amount: number, now: number): void {
    this.#turn(now)
    this.#slices[this.#slice % SLICES]! += amount
    this.#sum += amount
  }

  /** Forgets the slices that have left the window. */
  #turn(now: number): void {
    if (now < this.#endsAt) return
    const slice = Math.floor(now / SLICE_MS)
    if (slice - this.#slice >= SLICES) {
      this.#slices.fill(0)
      this.#sum = 0
    } else {
      for (let s = this.#slice + 1; s <= slice; s++) {
        this.#sum -= this.#slices[s % SLICES]!
        this.#slices[s % SLICES] = 0
      }
    }
    this.#slice = slice
    this.#endsAt = (slice + 1) * SLICE_MS
  }
}
