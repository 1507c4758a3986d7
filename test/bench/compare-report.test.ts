/**
 * What `npm run compare` makes of its samples: figures, charts, Markdown, and what it takes as
 * options.
 */
import { describe, expect, it } from 'vitest'
import { FAULTS, type FaultResult } from '../../bench/compare/faults.ts'
import { figuresOf } from '../../bench/compare/figures.ts'
import { countRepeats } from '../../bench/compare/ledger.ts'
import { planOf } from '../../bench/compare/options.ts'
import { type Comparison, charts, markdown } from '../../bench/compare/report.ts'
import { verdicts } from '../../bench/compare/screen.ts'
import type { Sample } from '../../bench/compare/steady.ts'
import { barChart, niceStep } from '../../bench/compare/svg.ts'
import { WAYS, type WayName } from '../../bench/compare/ways/way.ts'

function sample(cpu: number, p50Ms: number): Sample {
  const load = { gets: { requests: 9, failed: 0 }, posts: { requests: 1, failed: 0 }, latenciesMs: [], failures: {} }
  const roles = { client: cpu / 2, backends: cpu / 2, proxies: 0, registry: 0 }
  return { cpu: roles, memoryMb: { ...roles, client: 50 }, p50Ms, p90Ms: 2 * p50Ms, p99Ms: 4 * p50Ms, load }
}

/** Direct, direct with mTLS, sidecar, inmesh. */
function round(cpu: readonly number[], p50: readonly number[]): Map<string, Sample> {
  return new Map(WAYS.map((way, i) => [way, sample(cpu[i]!, p50[i]!)]))
}

function faulty(failed: Partial<Record<WayName, number>>): Map<string, FaultResult> {
  return new Map(
    WAYS.map((way) => [
      way,
      {
        load: {
          gets: { requests: 90, failed: failed[way] ?? 0 },
          posts: { requests: 10, failed: 1 },
          latenciesMs: [1, 2, 3],
          failures: failed[way] === undefined ? {} : { '502 a | b': failed[way] },
        },
        repeats: { posts: 0, gets: 2 },
        broken: undefined,
      },
    ]),
  )
}

const ROUNDS = [
  round([0.4, 0.5, 0.8, 0.5], [1, 1.1, 2, 1.2]),
  round([0.4, 0.5, 0.8, 0.5], [1, 1.1, 2, 1.2]),
  // Somebody else was at work here.
  round([0.9, 0.9, 0.95, 1.4], [5, 5, 5.1, 9]),
]

const SLOW_ROUNDS = [round([1, 1.2, 2, 1.4], [1, 1, 1, 1]), round([1, 1.2, 2, 1.4], [1, 1, 1, 1])]

function comparison(failed: Partial<Record<WayName, number>> = { direct: 3 }): Comparison {
  const faults = new Map(FAULTS.map(({ key }) => [key, faulty(failed)]))
  return {
    plan: planOf(['--quick']),
    proxy: { program: 'haproxy', version: 'HAProxy 2.6' },
    startedAt: new Date('2026-11-27T10:00:00Z'),
    machine: { processor: 'a processor', cores: 2, memoryGb: 4, system: 'linux', node: 'v24.0.0' },
    busy: { before: 0.1, after: 1, cores: 2 },
    shapes: new Map(WAYS.map((way) => [way, { hops: 1, processes: 4 }])),
    rounds: ROUNDS,
    faults,
    figures: figuresOf(ROUNDS, SLOW_ROUNDS, faults),
  }
}

describe('compare: figures', () => {
  it('compare what inmesh adds with what the pair adds, round by round, and one bad round does not move them', () => {
    const { cpuAddedOverSidecar, cpuAddedOverSidecarSlow, p50AddedOverSidecar, cpuSlow, cpuAddedSlow } =
      comparison().figures
    expect(cpuAddedOverSidecar.median).toBeCloseTo(0.25)
    expect(cpuAddedOverSidecar.high).toBeCloseTo(10)
    expect(cpuAddedOverSidecarSlow.median).toBeCloseTo(0.4)
    expect(cpuSlow.inmesh.median).toBeCloseTo(1.4)
    expect(cpuAddedSlow.sidecar.median).toBeCloseTo(1)
    expect(p50AddedOverSidecar.median).toBeCloseTo(0.2)
  })

  it('sum failures over all faults, idempotent requests apart from the others', () => {
    const { failed, failedPosts, duplicated, repeatedGets } = comparison().figures
    expect(failed).toEqual({ direct: 15, 'direct-mtls': 0, sidecar: 0, inmesh: 0 })
    expect(failedPosts.inmesh).toBe(5)
    expect(duplicated.sidecar).toBe(0)
    expect(repeatedGets.sidecar).toBe(10)
  })

  it('say of each target whether it was met', () => {
    expect(verdicts(comparison()).map((line) => line.split(' ')[0])).toEqual(['MISSED', 'met', 'met', 'met'])
    expect(verdicts(comparison({ inmesh: 1 }))[3]).toMatch(/^MISSED .*: 5 \(target: 0\)/)
  })
})

describe('compare: the ledger', () => {
  it('finds what was executed twice, of one load only, and keeps POSTs apart', () => {
    const ledger = ['a-g1', 'a-g1', 'a-g1', 'a-p2', 'a-p3', 'a-p3', 'ab-g1', 'ab-g1']
    expect(countRepeats(ledger, 'a')).toEqual({ posts: 1, gets: 1 })
  })
})

describe('compare: the report', () => {
  it('has a row for every way and fault, the machine, and what the sidecar is not', () => {
    const text = markdown(comparison())
    for (const way of WAYS) expect(text).toMatch(new RegExp(`^\\| ${way} \\|`, 'm'))
    for (const { name } of FAULTS) expect(text).toMatch(new RegExp(`^\\| ${name} \\|`, 'm'))
    expect(text).toContain('a processor, 2 cores')
    expect(text).toContain('not Istio, Linkerd or Consul')
    expect(text).toContain('502 a \\| b')
    for (const line of text.split('\n')) expect(line).not.toMatch(/NaN|undefined/)
  })

  it('names the command that makes it again', () => {
    expect(markdown(comparison())).toContain('`npm run compare -- --quick`')
  })

  it('draws every chart with finite numbers only', () => {
    for (const chart of Object.values(charts(comparison()))) {
      const svg = barChart(chart)
      expect(svg).toMatch(/^<svg [^>]*viewBox/)
      expect(svg).not.toMatch(/NaN|Infinity|undefined/)
    }
  })
})

describe('compare: a busy machine', () => {
  it('is told of in the report, and an idle one is not', () => {
    const idle = comparison()
    expect(markdown({ ...idle, busy: { before: 3, after: 3, cores: 2 } })).toMatch(
      /\*\*The machine was busy .*average 3\.0/,
    )
    expect(markdown(idle)).not.toContain('busy')
  })
})

describe('compare: a chart', () => {
  const bar = (value: number) => ({ label: 'b', parts: [{ name: 'p', value }] })
  const heights = (svg: string): number[] =>
    [...svg.matchAll(/<rect x="[\d.]+" y="[\d.]+" width="[\d.]+" height="([\d.]+)" fill="#3/g)].map(([, h]) =>
      Number(h),
    )

  it('draws bars in proportion, also below zero', () => {
    const [one, two, three] = heights(
      barChart({ title: 't', unit: 'u', groups: [{ label: 'g', bars: [bar(1), bar(2), bar(-1)] }] }),
    )
    expect(two! / one!).toBeCloseTo(2, 1)
    expect(three).toBeCloseTo(one!, 0)
  })

  it('is drawn when all is zero, and when there is nothing', () => {
    const svg = barChart({ title: 't', unit: 'u', groups: [{ label: 'g', bars: [bar(0)] }] })
    expect(svg).not.toMatch(/NaN|Infinity/)
    expect(barChart({ title: 't', unit: 'u', groups: [] })).not.toMatch(/NaN|Infinity/)
  })

  it('lets no text out of its element', () => {
    expect(barChart({ title: '<a & "b">', unit: 'u', groups: [] })).toContain('&lt;a &amp; &quot;b&quot;&gt;')
  })

  it('counts its axis in steps of 1, 2 or 5', () => {
    expect([0.03, 0.1, 0.11, 3, 7, 1_000].map(niceStep)).toEqual([0.05, 0.1, 0.2, 5, 10, 1_000])
  })
})

describe('compare: options', () => {
  it('are shorter with --quick', () => {
    const [full, quick] = [planOf([]), planOf(['--quick', '--json', '--out', 'there'])]
    expect(quick).toMatchObject({ quick: true, json: true, out: 'there' })
    expect(quick.rounds * quick.secondsPerRound).toBeLessThan(full.rounds * full.secondsPerRound)
    expect(full.out).toMatch(/bench.results$/)
  })

  it('name the transport of inmesh, or leave it to its default', () => {
    expect(planOf([]).transport).toBeUndefined()
    expect(planOf(['--transport', 'http1']).transport).toBe('http1')
    const text = markdown({ ...comparison(), plan: planOf(['--quick', '--transport', 'auto']) })
    expect(text).toContain('`npm run compare -- --quick --transport auto`')
  })

  it.each([['--transport', 'h2'], ['--rate', '0'], ['--rate', 'many'], ['--rat', '5'], ['extra']])(
    'refuse %s %s',
    (...args) => {
      expect(() => planOf(args)).toThrow()
    },
  )
})
