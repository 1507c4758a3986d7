import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { lowestOf } from '../../../src/telemetry/latency-steps.ts'
import {
  checkDigest,
  DIGEST_ERROR,
  DIGEST_STEPS,
  InvalidDigest,
  LatencyDigest,
  MOST_COUNTED,
} from '../../../src/telemetry/traffic/latency-digest.ts'

function filled(values: readonly number[]): LatencyDigest {
  const digest = new LatencyDigest()
  for (const value of values) digest.record(value)
  return digest
}

function merged(...digests: readonly LatencyDigest[]): string {
  const sum = new LatencyDigest()
  for (const digest of digests) sum.merge(digest)
  return sum.encode()
}

/** Latencies from a microsecond to half an hour, spread evenly over the orders of magnitude. */
const latency = fc.double({ min: -3, max: Math.log10(1_800_000), noNaN: true }).map((exponent) => 10 ** exponent)
const digests = fc.array(latency, { maxLength: 200 }).map(filled)

describe('LatencyDigest', () => {
  it('gives quantiles within 1/8 of those of all values', () => {
    fc.assert(
      fc.property(
        fc.array(latency, { minLength: 1, maxLength: 300 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (all, q) => {
          const sorted = all.toSorted((a, b) => a - b)
          const exact = sorted[Math.max(1, Math.ceil(q * sorted.length)) - 1]!
          const found = filled(all).quantile(q)!
          expect(Math.abs(found - exact)).toBeLessThanOrEqual(Math.max(exact * DIGEST_ERROR, 0.001) + 1e-9)
        },
      ),
    )
  })

  it('merges in any order and any grouping to the same', () => {
    fc.assert(
      fc.property(digests, digests, digests, (a, b, c) => {
        expect(merged(a, b)).toBe(merged(b, a))
        expect(merged(LatencyDigest.decode(merged(a, b)), c)).toBe(merged(a, LatencyDigest.decode(merged(b, c))))
      }),
    )
  })

  it('has, merged, the quantiles of all values together', () => {
    fc.assert(
      fc.property(fc.array(latency, { minLength: 1 }), fc.array(latency), (some, others) => {
        const sum = filled(some)
        expect(sum.mergeText(filled(others).encode())).toBe(others.length)
        const all = filled([...some, ...others])
        for (const q of [0, 0.5, 0.99, 1]) expect(sum.quantile(q)).toBe(all.quantile(q))
        expect(sum.count).toBe(all.count)
      }),
    )
  })

  it('is read back from its text as it was', () => {
    const counts = fc.array(
      fc.tuple(fc.integer({ min: 0, max: DIGEST_STEPS - 1 }), fc.integer({ min: 1, max: MOST_COUNTED })),
      { maxLength: 40 },
    )
    fc.assert(
      fc.property(counts, (entries) => {
        const steps = [...new Map(entries)].toSorted(([a], [b]) => a - b)
        const text = steps
          .map(([step, count], i) => {
            const gap = (step - (steps[i - 1]?.[0] ?? 0)).toString(36)
            return count === 1 ? gap : `${gap}:${count.toString(36)}`
          })
          .join(',')
        expect(LatencyDigest.decode(text).encode()).toBe(text)
        expect(checkDigest(text)).toBe(steps.reduce((sum, [, count]) => sum + count, 0))
      }),
    )
    expect(new LatencyDigest().encode()).toBe('')
    expect(LatencyDigest.decode('').quantile(0.5)).toBeUndefined()
  })

  it('lays its steps out as documented', () => {
    for (let e = 1; e <= 28; e++) {
      for (let q = 0; q < 4; q++) {
        const lowest = 2 ** e * (4 + q)
        expect(lowestOf(2 * (4 * e + q))).toBe(lowest)
        expect(filled([lowest / 1_000]).encode()).toBe((4 * e + q).toString(36))
      }
    }
    expect([0, 1, 2, 3, 4].map((step) => lowestOf(2 * step))).toEqual([0, 2, 4, 6, 8])
  })

  it('counts negative values and NaN as 0, and what is longer than 35 minutes as that', () => {
    expect(filled([-1, Number.NaN, 0]).encode()).toBe('0:3')
    expect(filled([1e12, Number.POSITIVE_INFINITY]).encode()).toBe(`${(DIGEST_STEPS - 1).toString(36)}:2`)
  })

  it('refuses every other text with one error, and is then unchanged', () => {
    const hostile = [
      ...[',', ':', '1,', ',1', '1,,2', '1:', '1:,2', ':2', '1:2:3', '1:1', '1:0', '1:02', '01', '00', '1,0', '0,0'],
      ...['-1', '1.5', 'A', '1:Z', ' 1', '1 ', '1:2\n', '\0', 'é', '38', '37,1', 'zzzzzzzz', '1:zzzzzzzzz', '1e5:+2'],
      '1,'.repeat(100_000),
      '1'.repeat(1_000_000),
    ]
    for (const text of hostile) {
      const digest = filled([5])
      expect(() => digest.mergeText(text), text.slice(0, 20)).toThrow(InvalidDigest)
      expect(digest.encode()).toBe(filled([5]).encode())
    }
  })

  it('either refuses a random text or writes it the same way again', () => {
    const texts = fc.string({ unit: fc.constantFrom(...'0123456789az,:.'), maxLength: 30 })
    fc.assert(
      fc.property(fc.oneof(texts, fc.string()), (text) => {
        let digest: LatencyDigest
        try {
          digest = LatencyDigest.decode(text)
        } catch (error) {
          expect(error).toBeInstanceOf(InvalidDigest)
          return
        }
        expect(digest.encode()).toBe(text)
      }),
      { numRuns: 2_000 },
    )
  })
})
