/** What one check of `inmesh doctor` has found. */
import { type Colour, printable, type Terminal } from '../terminal.ts'

export type FindingState = 'ok' | 'warning' | 'failed' | 'skipped'

export interface Finding {
  /** `registry`, `clock`, `identity`, `registration`, `dependency`, … */
  readonly check: string
  readonly state: FindingState
  /** The address or service, if there are several. */
  readonly subject?: string
  readonly message: string
  /** What to do, unless it is well. */
  readonly todo?: string
}

const COLOURS: Partial<Record<FindingState, Colour>> = { ok: 'green', warning: 'yellow', failed: 'red' }
const WIDTH = 'skipped'.length

export function findingLines(findings: readonly Finding[], terminal: Pick<Terminal, 'paint'>): string[] {
  return findings.flatMap(({ check, state, subject, message, todo }) => {
    const colour = COLOURS[state]
    const shown = state.padEnd(WIDTH)
    const about = [check, ...(subject === undefined ? [] : [subject])].join(' ')
    return [
      `${colour === undefined ? shown : terminal.paint(colour, shown)}  ${printable(`${about}: ${message}`)}`,
      ...(todo === undefined ? [] : [`${' '.repeat(WIDTH)}  do: ${printable(todo)}`]),
    ]
  })
}
