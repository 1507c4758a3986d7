import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { BOUNDARIES_MS, Histogram } from '../../src/telemetry/histogram.ts'

function filled(values: readonly number[]): Histogram {
  const histogram = new Histogram()
  for (const value of values) histogram.record(value)
  return histogram
}

/** Latencies from a microsecond to a minute, spread evenly over the orders of magnitude. */
const latency = fc.double({ min: -3, max: Math.log10(60_000), noNaN: true }).map((exponent) => 10 ** exponent)

describe('Histogram', () => {
  it('gives percentiles within 1/16 of what sorting all values gives', () => {
    fc.assert(
      fc.property(
        fc.array(latency, { minLength: 1, maxLength: 300 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (all, p) => {
          const sorted = all.toSorted((a, b) => a - b)
          const exact = sorted[Math.max(1, Math.ceil(p * sorted.length)) - 1]!
          const found = filled(all).percentile(p)
          // A step is 1/8 of its lower edge, its middle at most 1/16 off; below 8 µs a step is one
          // whole microsecond.
          expect(Math.abs(found - exact)).toBeLessThanOrEqual(Math.max(exact / 16, 0.000_501) + 1e-9)
        },
      ),
    )
  })

  it('counts every exported bucket exactly, boundaries included', () => {
    const around = fc.constantFrom(...BOUNDARIES_MS.flatMap((b) => [b, b - 0.001, b + 0.001, b * 0.999, b * 1.001]))
    fc.assert(
      fc.property(fc.array(fc.oneof(latency, around), { maxLength: 200 }), (all) => {
        const totals = filled(all).totals()
        expect(totals.atMost).toEqual(BOUNDARIES_MS.map((b) => all.filter((v) => v * 1_000 <= b * 1_000).length))
        expect(totals.count).toBe(all.length)
        expect(totals.sumMs).toBeCloseTo(
          all.reduce((sum, v) => sum + v, 0),
          3,
        )
      }),
    )
  })

  it('is 0 when nothing was recorded, and refuses a percentile outside 0 to 1', () => {
    expect(new Histogram().percentile(0.99)).toBe(0)
    for (const p of [-0.1, 1.1, Number.NaN]) expect(() => new Histogram().percentile(p)).toThrow(RangeError)
  })

  it('takes negative values and NaN as 0, and clamps what is longer than half an hour', () => {
    const histogram = filled([-5, Number.NaN, Number.POSITIVE_INFINITY, 1e12])
    expect(histogram.count).toBe(4)
    expect(histogram.percentile(0.5)).toBeLessThan(0.001)
    expect(histogram.percentile(1)).toBeGreaterThan(1_800_000)
  })

  it('merges, copies and subtracts', () => {
    const first = filled([1, 2, 3])
    const earlier = first.copy()
    first.merge(filled([100, 100]))
    const since = first.since(earlier)
    expect(first.count).toBe(5)
    expect(earlier.count).toBe(3)
    expect(since.count).toBe(2)
    expect(since.sumMs).toBe(200)
    expect(Math.abs(since.percentile(0.5) - 100)).toBeLessThan(100 / 16)
  })
})
