/** When the certificates of processes end, by the time that is left. */
import { expect, it } from 'vitest'
import { histogramOf } from '../../../src/registry/traffic/certificates.ts'

const NOW = 1_000_000_000_000
const HOUR_MS = 3_600_000

function certificate(process: string, leftMs: number | null): Parameters<typeof histogramOf>[0][number] {
  return { process, service: 'web', certificateEndsAt: leftMs === null ? null : NOW + leftMs }
}

it('each certificate counts in one step, the first to end named first', () => {
  const { processes, unknown, steps } = histogramOf(
    [
      certificate('a', 23 * HOUR_MS),
      certificate('b', -1),
      certificate('c', 7 * HOUR_MS),
      certificate('d', null),
      certificate('e', 400 * 24 * HOUR_MS),
    ],
    NOW,
  )
  expect([processes, unknown]).toEqual([5, 1])
  expect(steps.map((step) => step.processes)).toEqual([1, 0, 0, 0, 2, 0, 1])
  expect(steps[4]!.first.map(({ process }) => process)).toEqual(['c', 'a'])
})

it('a process that two registries know counts once, with its latest certificate', () => {
  const { processes, steps } = histogramOf([certificate('a', HOUR_MS), certificate('a', 23 * HOUR_MS)], NOW)
  expect([processes, steps[2]!.processes, steps[4]!.processes]).toEqual([1, 0, 1])
})

it('of many in one step the first 20 are named', () => {
  const many = Array.from({ length: 1_000 }, (_, i) => certificate(`p${i}`, 20 * HOUR_MS - i))
  const step = histogramOf(many, NOW).steps[4]!
  expect([step.processes, step.first.length, step.first[0]!.process]).toEqual([1_000, 20, 'p999'])
})
