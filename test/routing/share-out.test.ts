import fc from 'fast-check'
import { expect, test } from 'vitest'
import { shareOut } from '../../src/routing/share-out.ts'

const share = (weights: readonly number[], ...wanted: (readonly [number, number])[]) =>
  shareOut(weights, new Map(wanted.map(([i, percent]) => [i, Math.round(percent * 100)])))

test.each([
  ['one of two', [90, 10], [[1, 25]], [75, 25]],
  ['nothing', [90, 10], [[1, 0]], [100, 0]],
  ['all', [90, 10], [[1, 100]], [0, 100]],
  ['a decimal', [90, 10], [[1, 2.5]], [975, 25]],
  ['others in proportion', [60, 30, 10], [[2, 40]], [40, 20, 40]],
  ['others that no percentage can say', [1, 1, 1, 97], [[3, 20]], [4, 4, 4, 3]],
  ['the only other one, which had nothing', [0, 100], [[1, 40]], [60, 40]],
  [
    'each of them',
    [5, 5],
    [
      [0, 30],
      [1, 70],
    ],
    [30, 70],
  ],
  ['large weights', [999_999, 1], [[1, 50]], [50, 50]],
] as const)('gives a target its share of all: %s', (_, weights, wanted, expected) => {
  expect(share(weights, ...wanted)).toEqual(expected)
})

test('weights that have the shares already stay as they are written', () => {
  expect(share([9, 1], [1, 10])).toEqual([9, 1])
  expect(share([3, 0], [0, 100])).toEqual([3, 0])
})

test.each([
  [
    [50, 50],
    [
      [0, 60],
      [1, 50],
    ],
    'the shares are 110% together',
  ],
  [
    [50, 50],
    [
      [0, 60],
      [1, 30],
    ],
    'the shares of all targets are 90% together; expected 100%',
  ],
  [[0, 0, 100], [[2, 90]], '10% are left for targets that have weight 0'],
] as const)('says why %j cannot become %j', (weights, wanted, why) => {
  expect(share(weights, ...wanted)).toEqual(expect.stringContaining(why))
})

test('the shares given are exact, the others keep their proportions, and no weight is too large', () => {
  const weight = fc.integer({ min: 0, max: 1_000_000 })
  fc.assert(
    fc.property(
      fc.array(weight, { minLength: 2, maxLength: 20 }),
      fc.nat(10_000),
      fc.nat(19),
      (weights, percent, at) => {
        const i = at % weights.length
        const found = shareOut(weights, new Map([[i, percent]]))
        const others = weights.filter((_, j) => j !== i)
        const among = others.reduce((sum, one) => sum + one, 0)
        if (typeof found === 'string') return among === 0
        const total = found.reduce((sum, one) => sum + one, 0)
        const after = found.filter((_, j) => j !== i)
        const rest = after.reduce((sum, one) => sum + one, 0)
        expect(total).toBeGreaterThan(0)
        expect(Math.max(...found)).toBeLessThanOrEqual(1_000_000)
        expect(found[i]! / total).toBeCloseTo(percent / 10_000, 4)
        if (among === 0 || rest === 0) return true
        for (const [j, one] of after.entries()) {
          expect(one / total).toBeCloseTo(((1 - percent / 10_000) * others[j]!) / among, 4)
          expect(one > 0).toBe(others[j]! > 0)
        }
        return true
      },
    ),
  )
})
