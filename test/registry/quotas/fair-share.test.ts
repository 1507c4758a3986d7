import fc from 'fast-check'
import { expect, it } from 'vitest'
import { fairShares } from '../../../src/registry/quotas/fair-share.ts'

const rate = fc.double({ min: 0, max: 1e6, noNaN: true })
const claims = fc.array(fc.record({ wants: rate, weight: fc.integer({ min: 1, max: 50 }) }), {
  minLength: 1,
  maxLength: 100,
})
const sum = (values: readonly number[]): number => values.reduce((all, value) => all + value, 0)
const near = (capacity: number): number => 1e-9 * (1 + capacity)

it('gives what small claims leave to the larger ones, in equal parts', () => {
  const of = (...wants: number[]) =>
    fairShares(
      120,
      wants.map((one) => ({ wants: one, weight: 1 })),
    )
  // Doorman's example.
  expect(of(1_000, 50, 10)).toEqual([60, 50, 10])
  expect(of(1_000, 1_000, 1_000)).toEqual([40, 40, 40])
  // Spare capacity is room for what comes next.
  expect(of(30, 0, 0)).toEqual([60, 30, 30])
})

it('shares out the capacity, no more and no less', () => {
  fc.assert(
    fc.property(rate, claims, (capacity, asked) => {
      const shares = fairShares(capacity, asked)
      expect(Math.abs(sum(shares) - capacity)).toBeLessThanOrEqual(near(capacity))
      for (const share of shares) expect(share).toBeGreaterThanOrEqual(0)
    }),
  )
})

it('gives each what it wants, or its part by weight, whatever the others want', () => {
  fc.assert(
    fc.property(rate, claims, (capacity, asked) => {
      const weights = sum(asked.map(({ weight }) => weight))
      for (const [i, share] of fairShares(capacity, asked).entries()) {
        const { wants, weight } = asked[i]!
        expect(share).toBeGreaterThanOrEqual(Math.min(wants, (capacity * weight) / weights) - near(capacity))
      }
    }),
  )
})

it('gives none more than it wants while another wants more', () => {
  fc.assert(
    fc.property(rate, claims, (capacity, asked) => {
      const shares = fairShares(capacity, asked)
      const isShort = asked.some(({ wants }, i) => shares[i]! < wants - near(capacity))
      if (!isShort) return
      for (const [i, { wants }] of asked.entries()) expect(shares[i]).toBeLessThanOrEqual(wants + near(capacity))
    }),
  )
})

it('treats a claim as the sum of as many equal ones as its weight', () => {
  fc.assert(
    fc.property(rate, rate, rate, fc.integer({ min: 2, max: 20 }), (capacity, wants, other, weight) => {
      const [whole] = fairShares(capacity, [
        { wants: wants * weight, weight },
        { wants: other, weight: 1 },
      ])
      const parts = fairShares(capacity, [...Array(weight).fill({ wants, weight: 1 }), { wants: other, weight: 1 }])
      expect(whole).toBeCloseTo(sum(parts.slice(0, weight)), 3)
    }),
  )
})
