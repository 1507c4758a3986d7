/**
 * What was called within the last 10 s: differences between samples of the counters, which are
 * taken only while a stream is open.
 */

import type { MetricDefinition } from '../define-metric.ts'
import { Histogram } from '../histogram.ts'
import { CLIENT_CALLS, FUNCTIONS } from '../metric-definitions.ts'
import type { Metrics } from '../metrics.ts'

/** Hystrix's rolling window, in samples of one second. */
export const WINDOW_MS = 10_000
export const SAMPLE_MS = 1_000
/** Names beyond it are left out: the dashboard shows one picture for each. */
const MOST_NAMES = 500

/** What one service or function was called for. */
export interface Usage {
  /** By `ok` or a code. */
  readonly codes: ReadonlyMap<string, number>
  readonly executed: number
  readonly duration: Histogram
  /** Now, and the most of all samples. */
  readonly inFlight: number
  readonly mostInFlight: number
}

interface Sample {
  readonly at: number
  readonly totals: ReadonlyMap<string, Total>
}

interface Total {
  readonly codes: Map<string, number>
  readonly duration: Histogram
  executed: number
  inFlight: number
}

/** The metrics of one kind of command, and the label that has its name. */
interface Source {
  readonly label: string
  readonly calls: MetricDefinition
  readonly attempts: MetricDefinition
  readonly durations: MetricDefinition
  readonly inFlight: MetricDefinition
}

const SERVICES: Source = { label: 'peer', calls: CLIENT_CALLS.requests, ...CLIENT_CALLS }
const FUNCTION_CALLS: Source = { label: 'function', ...FUNCTIONS }

export class RollingUsage {
  readonly #metrics: Metrics
  readonly #source: Source
  #samples: Sample[] = []

  constructor(metrics: Metrics, kind: 'services' | 'functions') {
    this.#metrics = metrics
    this.#source = kind === 'services' ? SERVICES : FUNCTION_CALLS
  }

  sample(now: number): void {
    // One more than fits, to have a difference over the whole window.
    this.#samples = this.#samples.filter(({ at }) => at >= now - WINDOW_MS - SAMPLE_MS / 2)
    this.#samples.push({ at: now, totals: this.#totals() })
  }

  forget(): void {
    this.#samples = []
  }

  /** By name. */
  usage(): ReadonlyMap<string, Usage> {
    const [oldest] = this.#samples
    const newest = this.#samples.at(-1)
    const usage = new Map<string, Usage>()
    for (const [name, total] of newest?.totals ?? []) {
      const before = oldest?.totals.get(name)
      const codes = new Map<string, number>()
      for (const [code, count] of total.codes) codes.set(code, count - (before?.codes.get(code) ?? 0))
      usage.set(name, {
        codes,
        executed: total.executed - (before?.executed ?? 0),
        duration: before === undefined ? total.duration : total.duration.since(before.duration),
        inFlight: total.inFlight,
        mostInFlight: Math.max(...this.#samples.map(({ totals }) => totals.get(name)?.inFlight ?? 0)),
      })
    }
    return usage
  }

  #totals(): Map<string, Total> {
    const totals = new Map<string, Total>()
    const { calls, attempts, durations, inFlight, label } = this.#source
    const of = (name: string): Total | undefined => {
      let total = totals.get(name)
      if (total === undefined && totals.size < MOST_NAMES) {
        total = { codes: new Map(), duration: new Histogram(), executed: 0, inFlight: 0 }
        totals.set(name, total)
      }
      return total
    }
    for (const definition of [calls, attempts, durations, inFlight]) {
      for (const { labels, value } of this.#metrics.reading(definition.name)?.samples ?? []) {
        const total = of(labels[label] ?? '')
        if (total === undefined) continue
        const code = labels.code ?? ''
        if (typeof value !== 'number') total.duration.merge(value)
        else if (definition === calls) total.codes.set(code, (total.codes.get(code) ?? 0) + value)
        else if (definition === attempts) total.executed += value
        else total.inFlight += value
      }
    }
    return totals
  }
}
