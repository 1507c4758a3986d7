import { describe, expect, it } from 'vitest'
import { invariants } from '../../bench/simulator/invariants.ts'

/** In parts, so that no single test takes long. */
const PARTS = [1, 501, 1_001, 1_501]

describe('in 2,000 worlds full of random faults every call settles by its deadline, and nothing is held in the end', () => {
  it.each(PARTS)('500 seeds from %i', { timeout: 60_000 }, (from) => {
    expect(invariants(from, 500)).toEqual({ seeds: 500, broken: 0, examples: [] })
  })
})
