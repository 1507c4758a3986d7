/** Says of what figures are, and what is missing in them. */
import type { CoverageSummary } from '../../registry/traffic/coverage.ts'
import { printable } from '../terminal.ts'

const MOST_NAMED = 5

export interface Covered {
  readonly windowMs: number
  readonly coverage: CoverageSummary
}

/** One line for each thing that is missing; none if everything was heard. */
export function gapsOf({ windowMs, coverage }: Covered, askedMs: number): string[] {
  const { processes, heard, silent, notReporting, unreachable } = coverage
  const lines: string[] = []
  if (windowMs < askedMs) lines.push(`only ${seconds(windowMs)} of ${seconds(askedMs)} are known`)
  if (heard < processes) {
    const missing = processes - heard
    const more = missing > MOST_NAMED ? `, and ${missing - MOST_NAMED} more` : ''
    const named = silent.slice(0, MOST_NAMED).map(printable).join(', ')
    lines.push(`gaps in the reports of ${missing} of ${count(processes, 'process')}: ${named}${more}`)
  }
  if (notReporting > 0) {
    lines.push(`${notReporting} of them never report: of an older version, or with \`traffic: false\``)
  }
  for (const { registry, reason } of unreachable) {
    lines.push(`registry ${printable(registry)} does not answer: ${printable(reason)}`)
  }
  return lines
}

const PLURALS = { process: 'processes', registry: 'registries', call: 'calls' } as const

/** `1 process`, `2 processes`. */
export function count(of: number, what: keyof typeof PLURALS): string {
  return `${of} ${of === 1 ? what : PLURALS[what]}`
}

export function seconds(ms: number): string {
  return ms >= 120_000 && ms % 60_000 === 0 ? `${ms / 60_000} min` : `${Math.round(ms / 1_000)} s`
}

/** The record that begins each answer with `--json`. */
export function windowRecord<T extends Covered & { readonly at: number }>({ at, windowMs, coverage }: T) {
  return { type: 'window', at, windowMs, coverage }
}
