/** Finds the load report in the headers or trailers of an answer: of the mesh, or of ORCA. */
import type { Clock } from '../core/clock.ts'
import { LOAD, ORCA, ORCA_BIN } from '../core/headers.ts'
import { parseLoad } from '../core/load-header.ts'
import type { LoadReport } from '../core/load-report.ts'
import { readOrca } from './orca/read-orca.ts'

type Fields = Readonly<Record<string, string | string[] | undefined>>

export function reportedIn(fields: Fields, clock: Clock): LoadReport | undefined {
  const own = fields[LOAD]
  if (own !== undefined) return parseLoad(own, clock.now())
  const text = fields[ORCA]
  const binary = fields[ORCA_BIN]
  return text === undefined && binary === undefined ? undefined : readOrca(text, binary, clock.now())
}
