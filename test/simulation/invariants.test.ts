import { describe, expect, it } from 'vitest'
import { invariants } from '../../bench/simulator/invariants.ts'

/** In parts, so that no single test takes long. */
const PARTS = Array.from({ length: 8 }, (_, i) => 1 + i * 250)

describe('in 2,000 worlds full of random faults every call settles by its deadline, and nothing is held in the end', () => {
  it.each(PARTS)('250 seeds from %i', { timeout: 300_000 }, (from) => {
    expect(invariants(from, 250)).toEqual({ seeds: 250, broken: 0, examples: [] })
  })
})
