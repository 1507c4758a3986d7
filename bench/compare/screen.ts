/** The comparison as tables in the terminal. */
import { table } from '../simulator/table.ts'
import { FAULTS } from './faults.ts'
import { TARGETS } from './figures.ts'
import type { Comparison } from './report.ts'
import { percentile, type Spread } from './statistics.ts'
import { WAYS } from './ways/way.ts'

export function print(comparison: Comparison): void {
  const { plan, shapes, figures, faults } = comparison
  const costs = WAYS.map((way) => {
    const of = figures.ways[way]
    const shape = shapes.get(way)!
    return {
      way,
      'CPU s per 1,000': ranged(of.cpu, 3),
      'CPU added': of.cpuAdded.median.toFixed(3),
      [`CPU at ${plan.slowRate}/s, added`]: [figures.cpuSlow[way], figures.cpuAddedSlow[way]]
        .map(({ median }) => median.toFixed(3))
        .join(', '),
      'memory MB': Math.round(of.memoryMb),
      'p50 ms': of.p50Ms.median.toFixed(2),
      'p50 / p90 / p99 added ms': [of.p50Added, of.p90Added, of.p99Added]
        .map(({ median }) => median.toFixed(2))
        .join(' / '),
      processes: shape.processes,
      hops: shape.hops,
    }
  })
  console.log()
  console.log(
    table(
      `Nothing is wrong, ${plan.rate} requests/s: medians of ${plan.rounds} rounds (between which the middle half lies)`,
      costs,
    ),
  )
  const failures = FAULTS.map(({ key, name }) => {
    const cells = WAYS.map((way) => {
      const { load, repeats, broken } = faults.get(key)!.get(way)!
      const p99 = Math.round(percentile(load.latenciesMs, 0.99))
      return [
        way,
        `${load.gets.failed} / ${load.posts.failed} / ${repeats.posts}  p99 ${p99}${broken ? ' BROKEN' : ''}`,
      ]
    })
    return { fault: name, ...Object.fromEntries(cells) }
  })
  console.log(
    table(
      `Under faults, ${plan.faultRate} requests/s each: GETs failed / POSTs failed / POSTs executed twice, and p99 in ms`,
      failures,
    ),
  )
  for (const line of verdicts(comparison)) console.log(line)
  const warning = busyWarning(comparison)
  if (warning !== undefined) console.log(`\n${warning}`)
}

/**
 * Above this share of the cores at work before we began, figures say more about the others than
 * about us.
 */
const BUSY = 0.5

export function busyWarning({ busy }: Comparison): string | undefined {
  if (busy.before <= BUSY * busy.cores) return undefined
  return `The machine was busy with something else when this began (load average ${busy.before.toFixed(1)} on ${busy.cores} cores): latencies are not to be believed, CPU time only roughly.`
}

/** The targets, each with what was measured. */
export function verdicts({ figures, plan }: Comparison): string[] {
  const judge = (met: boolean, line: string): string => `${met ? 'met   ' : 'MISSED'}  ${line}`
  const { cpuAddedOverSidecar: cpu, cpuAddedOverSidecarSlow: slow, p50AddedOverSidecar: p50, failed } = figures
  const added = (rate: number): string => `CPU that inmesh adds over direct plaintext, mTLS included, at ${rate}/s`
  return [
    judge(
      cpu.median <= TARGETS.cpu,
      `${added(plan.rate)}: ${ranged(cpu, 2)} of what the sidecar pair adds (target: at most ${TARGETS.cpu})`,
    ),
    judge(
      slow.median <= TARGETS.cpuSlow,
      `${added(plan.slowRate)}: ${ranged(slow, 2)} of what the sidecar pair adds (target: at most ${TARGETS.cpuSlow})`,
    ),
    judge(
      p50.median <= TARGETS.p50,
      `p50 that inmesh adds: ${ranged(p50, 2)} of what the sidecar pair adds (target: at most ${TARGETS.p50})`,
    ),
    judge(failed.inmesh === 0, `idempotent requests failed with inmesh in all faults: ${failed.inmesh} (target: 0)`),
  ]
}

export function ranged({ median, low, high }: Spread, digits: number): string {
  return `${median.toFixed(digits)} (${low.toFixed(digits)} to ${high.toFixed(digits)})`
}
