/** What a metric holds at one moment, for all that format or export it. */
import type { Call } from '../core/call.ts'
import type { Outcome } from '../core/outcome.ts'
import type { CallAttributes } from './call-attributes.ts'
import type { CounterDefinition, GaugeDefinition, HistogramDefinition } from './define-metric.ts'
import type { Histogram } from './histogram.ts'

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

/** Gets each duration beside the histograms. None of its methods throws. */
export interface DurationExporter {
  /** Whether anything is to be exported; ask before each duration. */
  isOn(): boolean
  /** `known`: what the calls of one series have in common. */
  callEnded(side: 'client' | 'server', call: Call, outcome: Outcome, ms: number, known: CallAttributes): void
  lasted(definition: HistogramDefinition, ms: number, labels: Labels): void
}
