/** The command's options. */

import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { TRANSPORT_PREFERENCES, type TransportPreference } from '../../src/core/transport.ts'

/** At which Istio measures its proxies (istio.io, Performance and Scalability). */
export const DEFAULT_RATE = 1_000
/** At which wake-ups are shared by few requests. */
const SLOW_RATE = 200

export const USAGE = `npm run compare -- [--quick] [--json] [--out DIR] [--rate N]
                          [--transport auto|http1]

  --quick     fewer and shorter rounds: about 2.5 min instead of about 9 min
  --json      the figures as the last line
  --out DIR   where report and charts go (default bench/results)
  --rate N    requests per second while nothing is wrong, 10 to 5000 (default 1000);
              the CPU is measured again at 200
  --transport what carries the calls of inmesh (default: that of joinMesh)`

export interface Plan {
  readonly quick: boolean
  readonly json: boolean
  readonly out: string
  /** Requests per second while nothing is wrong. */
  readonly rate: number
  readonly rounds: number
  readonly secondsPerRound: number
  readonly warmUpSeconds: number
  /** The same once more at this rate, for the CPU alone. */
  readonly slowRate: number
  readonly slowRounds: number
  /** Longer, because a second has few requests. */
  readonly slowSecondsPerRound: number
  /** What carries the calls of inmesh; `undefined`: as its default is. */
  readonly transport: TransportPreference | undefined
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
      transport: { type: 'string' },
    },
  })
  const rate = Number(values.rate)
  if (!(rate >= 10 && rate <= 5_000)) throw new Error(`--rate: expected a number from 10 to 5000, got '${values.rate}'`)
  const transport = TRANSPORT_PREFERENCES.find((one) => one === values.transport)
  if (values.transport !== undefined && transport === undefined) {
    throw new Error(`--transport: expected auto or http1, got '${values.transport}'`)
  }
  const { quick, json, out } = values
  const lengths = quick
    ? { rounds: 4, secondsPerRound: 1.5, warmUpSeconds: 1, slowRounds: 4, slowSecondsPerRound: 3, faultSeconds: 3 }
    : { rounds: 20, secondsPerRound: 2, warmUpSeconds: 5, slowRounds: 10, slowSecondsPerRound: 5, faultSeconds: 10 }
  return { quick, json, out, rate, slowRate: SLOW_RATE, transport, faultRate: 100, postShare: 0.1, ...lengths }
}
