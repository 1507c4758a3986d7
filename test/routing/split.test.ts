import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SplitTurns, stickyIndex } from '../../src/routing/split.ts'

interface Weighted {
  readonly key: string
  readonly weight: number
}

function targets(...weights: number[]): Weighted[] {
  return weights.map((weight, i) => ({ key: `t${i}`, weight }))
}

/** Counts calls by target, each within one call of its exact share after each call. */
function take(turns: SplitTurns, given: readonly Weighted[], calls: number): number[] {
  const total = given.reduce((sum, { weight }) => sum + weight, 0)
  const counts = given.map(() => 0)
  // In whole numbers, times the total: exact.
  let furthest = 0
  for (let n = 1; n <= calls; n++) {
    counts[turns.next()]! += 1
    for (let i = 0; i < counts.length; i++) {
      furthest = Math.max(furthest, Math.abs(counts[i]! * total - n * given[i]!.weight))
    }
  }
  expect(furthest / total).toBeLessThanOrEqual(1)
  expect(counts.filter((count, i) => count > 0 && given[i]!.weight === 0)).toEqual([])
  return counts
}

const weights = fc
  .array(fc.oneof(fc.integer({ min: 0, max: 10 }), fc.integer({ min: 0, max: 1_000_000 })), {
    minLength: 1,
    maxLength: 20,
  })
  .filter((all) => all.some((weight) => weight > 0))
const share = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })

describe('turns', () => {
  it('keep every target within one call of its share at any moment', () => {
    fc.assert(
      fc.property(
        weights,
        share,
        (all, random) => void take(new SplitTurns(targets(...all), random), targets(...all), 300),
      ),
      {
        numRuns: 1_000,
      },
    )
  })

  it('keep it after each change of weights, counted from the change', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(weights, fc.integer({ min: 1, max: 60 })), { minLength: 2, maxLength: 6 }),
        share,
        (steps, random) => {
          const turns = new SplitTurns(targets(...steps[0]![0]), random)
          for (const [all, calls] of steps) {
            turns.configure(targets(...all))
            take(turns, targets(...all), calls)
          }
        },
      ),
      { numRuns: 1_000 },
    )
  })

  it('are even, and 90 to 10 gives one call in ten', () => {
    const turns = new SplitTurns(targets(90, 10), 0)
    const sides = Array.from({ length: 100 }, () => turns.next())
    for (let i = 0; i < 100; i += 10) expect(sides.slice(i, i + 10).filter((side) => side === 1)).toHaveLength(1)
    expect(take(new SplitTurns(targets(5, 1, 1), 0), targets(5, 1, 1), 7_000)).toEqual([5_000, 1_000, 1_000])
  })

  it('stay exact with weights that never come to a common period', () => {
    const given = targets(999_983, 999_979, 1, 7)
    take(new SplitTurns(given, 0.5), given, 20_000)
  })

  it('begin at random by weight, so that many processes share the calls from the first', () => {
    const given = targets(90, 10)
    const first = Array.from({ length: 100 }, (_, i) => new SplitTurns(given, i / 100).next())
    expect(first.filter((side) => side === 1)).toHaveLength(10)
  })

  it('change nothing when they are configured with the same weights', () => {
    const [one, other] = [new SplitTurns(targets(3, 2), 0.7), new SplitTurns(targets(3, 2), 0.7)]
    const sides = Array.from({ length: 50 }, () => one.next())
    expect(
      sides.map(() => {
        other.configure(targets(3, 2))
        return other.next()
      }),
    ).toEqual(sides)
  })

  it('starve no target when weights change before it has its first call', () => {
    const turns = new SplitTurns(targets(990, 10), 0)
    let green = 0
    for (let n = 0; n < 10_000; n++) {
      turns.configure(targets(990 - (n % 2), 10 + (n % 2)))
      green += turns.next()
    }
    expect(green).toBeGreaterThan(95)
    expect(green).toBeLessThan(115)
  })

  it('know targets by their keys, not by their places', () => {
    const turns = new SplitTurns(
      [
        { key: 'blue', weight: 1 },
        { key: 'green', weight: 1 },
      ],
      0,
    )
    expect(turns.next()).toBe(0)
    // Green is behind, wherever it stands now.
    turns.configure([
      { key: 'green', weight: 2 },
      { key: 'blue', weight: 2 },
    ])
    expect(turns.next()).toBe(0)
  })
})

const keys = Array.from({ length: 500 }, (_, i) => `user-${i}`)

describe('a sticky key', () => {
  it('leads to the same target in every process', () => {
    expect(keys.slice(0, 12).map((key) => stickyIndex(targets(50, 50), key))).toMatchInlineSnapshot(`
      [
        1,
        0,
        1,
        0,
        0,
        1,
        0,
        0,
        0,
        1,
        0,
        1,
      ]
    `)
  })

  it('moves only to a target whose weight was raised', () => {
    fc.assert(
      fc.property(
        weights,
        fc.nat({ max: 19 }),
        fc.integer({ min: 1, max: 1_000 }),
        fc.array(fc.string(), { minLength: 1, maxLength: 50 }),
        (all, at, more, some) => {
          const raised = at % all.length
          const after = all.map((weight, i) => (i === raised ? weight + more : weight))
          for (const key of some) {
            const [from, to] = [stickyIndex(targets(...all), key), stickyIndex(targets(...after), key)]
            if (from !== to) expect(to).toBe(raised)
          }
        },
      ),
      { numRuns: 1_000 },
    )
  })

  it('leaves no one of green behind when green goes from 10 to 20 of 100, over 1,000 changes', () => {
    const some = keys.slice(0, 200)
    let onGreen = new Set<string>()
    for (let weight = 1; weight <= 1_000; weight++) {
      const sides = targets(1_000 - weight, weight)
      const now = new Set(some.filter((key) => stickyIndex(sides, key) === 1))
      expect([...onGreen].filter((key) => !now.has(key))).toEqual([])
      onGreen = now
    }
    expect(onGreen.size).toBe(some.length)
  })

  it.each([[[90, 10]], [[1, 1, 1, 1]], [[1, 99]], [[700, 200, 100]]])('spreads many keys by the weights %j', (all) => {
    const counts = all.map(() => 0)
    const many = 20_000
    for (let i = 0; i < many; i++) counts[stickyIndex(targets(...all), `key ${i * 7}`)]! += 1
    const total = all.reduce((sum, weight) => sum + weight, 0)
    // Five standard deviations; the keys are always the same.
    for (const [i, weight] of all.entries()) {
      const p = weight / total
      expect(Math.abs(counts[i]! - many * p)).toBeLessThan(5 * Math.sqrt(many * p * (1 - p)))
    }
  })

  it('never leads to a target of weight 0', () => {
    expect(keys.every((key) => stickyIndex(targets(0, 1, 0), key) === 1)).toBe(true)
  })
})
