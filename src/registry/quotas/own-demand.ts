/** The demand at our own processes, as other registries should know it. */
import { ALL_CALLERS } from '../../resilience/limits/global-rate-limit.ts'
import type { GlobalRateSettings } from '../../resilience/limits/global-rate-settings.ts'
import type { DemandRecord, ServiceDemand } from '../fleet/fleet-records.ts'
import { type Asking, busiest } from './share-out.ts'

/** Rates in a record: the largest value that stores take is some 20 times as long. */
const MOST_RATES = 2_000
/** Changes of a rate that are worth a write: of what was written, and of the limit. */
const SMALL = { ofRate: 0.05, ofLimit: 0.005 }
const LARGE = { ofRate: 0.2, ofLimit: 0.02 }

/** What others miss. */
export type News = 'none' | 'small' | 'large'

export class OwnDemand {
  readonly #services = new Map<string, ServiceDemand>()
  #published = new Map<string, ServiceDemand>()
  #news: News = 'none'

  get isEmpty(): boolean {
    return this.#services.size === 0
  }

  /** How much has changed since it was published. */
  get news(): News {
    return this.#news
  }

  /** `instances`: the ready ones of those who ask. */
  set(service: string, asking: readonly Asking[], instances: number, global: GlobalRateSettings): void {
    const next = { processes: asking.length, instances, perSecond: sums(asking, global) }
    const before = this.#published.get(service)
    if (before !== undefined && isNear(before, next, global, SMALL)) {
      this.#services.set(service, before)
      return
    }
    this.#services.set(service, next)
    const isLarge = before === undefined || !isNear(before, next, global, LARGE)
    if (this.#news !== 'large') this.#news = isLarge ? 'large' : 'small'
  }

  /** No process of the service takes part. */
  delete(service: string): void {
    if (this.#services.delete(service)) this.#news = 'large'
  }

  /** `undefined`: nothing. The busiest services, if there are too many. */
  publish(): DemandRecord | undefined {
    this.#news = 'none'
    this.#published = new Map(this.#services)
    const record: Record<string, ServiceDemand> = {}
    let rates = 0
    for (const [service, demand] of [...this.#services].sort((a, b) => total(b[1]) - total(a[1]))) {
      rates += 1 + Object.keys(demand.perSecond).length
      if (rates > MOST_RATES) break
      record[service] = demand
    }
    return rates === 0 ? undefined : record
  }
}

function total({ perSecond }: ServiceDemand): number {
  return Object.values(perSecond).reduce((sum, one) => sum + one, 0)
}

function sums(asking: readonly Asking[], { byCaller, ratePerSecond }: GlobalRateSettings): Record<string, number> {
  const keys = byCaller ? busiest(asking) : [ALL_CALLERS]
  const sumOf = (key: string): number =>
    asking.reduce((sum, { perSecond }) => sum + Math.min(perSecond.get(key) ?? 0, ratePerSecond), 0)
  return Object.fromEntries(keys.map((key) => [key, Number(sumOf(key).toPrecision(3))]))
}

function isNear(
  before: ServiceDemand,
  after: ServiceDemand,
  { ratePerSecond }: GlobalRateSettings,
  { ofRate, ofLimit }: { readonly ofRate: number; readonly ofLimit: number },
): boolean {
  if (before.processes !== after.processes || before.instances !== after.instances) return false
  for (const key of new Set([...Object.keys(before.perSecond), ...Object.keys(after.perSecond)])) {
    const was = before.perSecond[key] ?? 0
    const move = Math.abs((after.perSecond[key] ?? 0) - was)
    if (move > Math.max(ofRate * was, ofLimit * ratePerSecond)) return false
  }
  return true
}
