/** The command's options. */

import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

/** At which Istio measures its proxies (istio.io, Performance and Scalability). */
export const DEFAULT_RATE = 1_000

export const USAGE = `npm run compare -- [--quick] [--json] [--out DIR] [--rate N]

  --quick     fewer and shorter rounds: about 85 s instead of about 5 min
  --json      the figures as the last line
  --out DIR   where report and charts go (default bench/results)
  --rate N    requests per second while nothing is wrong, 10 to 5000 (default 1000)`

export interface Plan {
  readonly quick: boolean
  readonly json: boolean
  readonly out: string
  /** Requests per second while nothing is wrong. */
  readonly rate: number
  readonly rounds: number
  readonly secondsPerRound: number
  readonly warmUpSeconds: number
  /** Of each way under faults, in which all ways run at the same time. */
  readonly faultRate: number
  readonly faultSeconds: number
  /** Share of requests that are POSTs. */
  readonly postShare: number
}

/** @throws an error whose message says what is valid */
export function planOf(args: readonly string[]): Plan {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      out: { type: 'string', default: fileURLToPath(new URL('../results', import.meta.url)) },
      rate: { type: 'string', default: String(DEFAULT_RATE) },
    },
  })
  const rate = Number(values.rate)
  if (!(rate >= 10 && rate <= 5_000)) throw new Error(`--rate: expected a number from 10 to 5000, got '${values.rate}'`)
  const { quick, json, out } = values
  const lengths = quick
    ? { rounds: 4, secondsPerRound: 1.5, warmUpSeconds: 1, faultSeconds: 3 }
    : { rounds: 20, secondsPerRound: 2, warmUpSeconds: 5, faultSeconds: 10 }
  return { quick, json, out, rate, faultRate: 100, postShare: 0.1, ...lengths }
}
