/** Scenario (q): its fleets, figures and tables. */
import { FLEETS } from './fleets.ts'
import { LIES } from './lies.ts'
import { type ClientKind, type MixedFleet, type MixedResult, type MixedRow, mixedFleet } from './q-mixed-fleets.ts'

export interface MixedFigures {
  /** The largest of all kinds of clients, over the same where all balance as before. */
  readonly p50OverBefore: number
  readonly p99OverBefore: number
  /** Where answers are late, over the same with the balancer of before. */
  readonly lateP99OverBefore: number
  /** The largest share of a server that lies, over its fair share. */
  readonly liarShare: number
  /** Where a tenth of the servers say that they are idle, over the same where they do not. */
  readonly p99WithLiarsOverHonest: number
  /** The smallest share of a server beside liars, over its fair share. */
  readonly leastShare: number
  /** All at once, in percent. */
  readonly failedTogether: number
  /** Of all runs. */
  readonly left: number
}

interface Row extends MixedRow {
  readonly fleet: string
  /** The largest share of a server that lies, over the fair share. */
  readonly liar: number | undefined
  /** The smallest share of another one. */
  readonly least: number
}

const NEW: ClientKind = { name: 'default', share: 1, policy: {} }
const OLD = (['peak-ewma', 'least-request'] as const).map(
  (balancer): ClientKind => ({ name: balancer, share: 1, policy: { balancer } }),
)
const MS = 8_000
const HETERO = { ...FLEETS.hetero, stages: [{ load: 0.9, ms: MS }] }
const SPARSE = { ...FLEETS.sparse, clients: 60, servers: 60, stages: [{ load: 1.1, ms: MS }] }
const LATE = { ...SPARSE, timeoutMs: 4_000, stages: [{ load: 0.7, ms: MS }] }
const isLiar = (server: number): boolean => server % 10 === 0
const THIRD = { from: 2_000, until: 6_000 }

export function figuresQ(seed: number): { figures: MixedFigures; rows: readonly Row[] } {
  const rows: Row[] = []
  let left = 0
  const run = (
    name: string,
    mixed: MixedFleet,
    lying = false,
  ): { result: MixedResult; least: number; liar: number } => {
    const result = mixedFleet(seed, mixed)
    const liar = Math.max(...result.shares.filter((_, i) => isLiar(i)))
    const least = Math.min(...result.shares.filter((_, i) => !isLiar(i)))
    for (const row of result.rows) rows.push({ fleet: name, ...row, liar: lying ? liar : undefined, least })
    left += result.left
    return { result, least, liar }
  }

  const ratios = Object.entries({ hetero: HETERO, sparse: SPARSE }).flatMap(([name, fleet]) =>
    OLD.flatMap((old) => {
      const before = run(name, { fleet, reports: 1, clients: [old] }).result.rows[0]!
      return [0.1, 0.5].flatMap((share) => {
        const clients = [
          { ...NEW, share },
          { ...old, share: 1 - share },
        ]
        const mixed = run(`${name}, ${100 * share} % of clients new`, { fleet, reports: 1, clients })
        return mixed.result.rows.map(({ p50Ms, p99Ms }) => ({
          p50: p50Ms / before.p50Ms,
          p99: p99Ms / before.p99Ms,
        }))
      })
    }),
  )

  const late = [0.1, 1].map((share) => {
    const delayMs: MixedFleet['delayMs'] = (_, chance) => (chance.happens(share) ? chance.between(100, 1_000) : 0)
    const [before, now] = [OLD[0]!, NEW].map((kind) =>
      run(`sparse, ${100 * share} % of answers late`, { fleet: LATE, reports: 1, delayMs, clients: [kind] }),
    )
    return now!.result.rows[0]!.p99Ms / before!.result.rows[0]!.p99Ms
  })

  const lying = Object.entries({ hetero: HETERO, sparse: SPARSE }).flatMap(([name, fleet]) =>
    [0.4, 0.9].map((load) => {
      const at = { ...fleet, stages: [{ load, ms: MS }] }
      const where = `${name} at ${100 * load} %`
      const honest = run(where, { fleet: at, reports: 1, clients: [NEW] })
      const [idle, ...others] = Object.entries(LIES).map(([lie, report]) =>
        run(
          `${where}, a tenth ${lie}`,
          { fleet: at, reports: (i) => (isLiar(i) ? report : true), clients: [NEW] },
          true,
        ),
      )
      return {
        share: Math.max(...[idle!, ...others].map(({ liar }) => liar)),
        p99: idle!.result.rows[0]!.p99Ms / honest.result.rows[0]!.p99Ms,
        least: Math.min(...[idle!, ...others].map(({ least }) => least)),
      }
    }),
  )

  const together = run(
    'all at once',
    {
      fleet: {
        ...{ ...SPARSE, stages: [{ load: 0.7, ms: MS }] },
        faults: [
          { server: 7, ...THIRD, kind: { fails: 0.3 } },
          { server: 17, ...THIRD, kind: { slow: 10 } },
          { server: 27, ...THIRD, kind: 'refuses' },
        ],
      },
      reports: (i) => (isLiar(i) ? LIES.idle : i % 2 === 1),
      delayMs: (_, chance) => (chance.happens(0.01) ? chance.between(100, 1_000) : 0),
      weight: (i) => (i % 4 === 3 ? 3 : 1),
      streams: 0.02,
      clients: [
        { name: 'default, subsets of 20', share: 0.5, policy: { subset: { size: 20 } } },
        ...OLD.map((old) => ({ ...old, share: 0.25 })),
      ],
    },
    true,
  ).result.rows
  const sum = (of: 'failed' | 'calls'): number => together.reduce((all, row) => all + row[of], 0)
  return {
    figures: {
      p50OverBefore: Math.max(...ratios.map(({ p50 }) => p50)),
      p99OverBefore: Math.max(...ratios.map(({ p99 }) => p99)),
      lateP99OverBefore: Math.max(...late),
      liarShare: Math.max(...lying.map(({ share }) => share)),
      p99WithLiarsOverHonest: Math.max(...lying.map(({ p99 }) => p99)),
      leastShare: Math.min(...lying.map(({ least }) => least)),
      failedTogether: (100 * sum('failed')) / sum('calls'),
      left,
    },
    rows,
  }
}
