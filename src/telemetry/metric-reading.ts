/** What a metric holds at one moment, for all that format or export it. */
import type { Histogram } from './histogram.ts'
import type { CounterDefinition, GaugeDefinition, HistogramDefinition } from './metric-definitions.ts'

export type Labels = Readonly<Record<string, string>>

/** One series as it is now. */
export interface Sample {
  /** Without those that are empty. */
  readonly labels: Labels
  readonly value: number
}

export interface HistogramSample {
  readonly labels: Labels
  readonly value: Histogram
}

/** One metric as it is now. */
export type Reading =
  | { readonly definition: CounterDefinition | GaugeDefinition; readonly samples: Iterable<Sample> }
  | { readonly definition: HistogramDefinition; readonly samples: Iterable<HistogramSample> }
