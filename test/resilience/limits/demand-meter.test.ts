import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DemandMeter, SAMPLE_MS } from '../../../src/resilience/limits/demand-meter.ts'
import { seededRandom } from '../../../src/testing/fake-clock.ts'

/** Offers `perSecond` by chance for `samples`; returns after how many it moved sharply. */
function offer(meter: DemandMeter, perSecond: number, samples: number, random: () => number): number[] {
  const moved: number[] = []
  for (let i = 1; i <= samples; i++) {
    const gap = (): number => -Math.log(1 - random())
    for (let at = gap(); at < (perSecond * SAMPLE_MS) / 1_000; at += gap()) meter.offered += 1
    if (meter.sample(SAMPLE_MS)) moved.push(i)
  }
  return moved
}

describe('the demand', () => {
  it.each([5, 50, 500, 5_000])('of %i/s that comes by chance is known within two seconds', (perSecond) => {
    const random = seededRandom(1)
    let sum = 0
    for (let i = 0; i < 50; i++) {
      const meter = new DemandMeter()
      offer(meter, perSecond, 20, random)
      sum += meter.wanted(false)
    }
    expect(sum / 50 / perSecond).toBeGreaterThan(0.95)
    expect(sum / 50 / perSecond).toBeLessThan(1.25)
  })

  it.each([
    [50, 500],
    [500, 50],
    [50, 0],
    [0, 50],
    [10, 100],
    [1_000, 2_000],
  ])('that moves from %i/s to %i/s is noticed within half a second', (before, after) => {
    const random = seededRandom(2)
    let noticed = 0
    let sum = 0
    for (let i = 0; i < 50; i++) {
      const meter = new DemandMeter()
      offer(meter, before, 30, random)
      if (offer(meter, after, 5, random).length > 0) noticed += 1
      sum += meter.wanted(false)
    }
    expect(noticed).toBeGreaterThan(45)
    expect(Math.abs(sum / 50 - after)).toBeLessThan(Math.abs(before - after) * 0.2)
  })

  it('that stays is not mistaken for a move', () => {
    const random = seededRandom(3)
    let moved = 0
    for (const perSecond of [2, 20, 200]) {
      const meter = new DemandMeter()
      offer(meter, perSecond, 20, random)
      moved += offer(meter, perSecond, 1_000, random).length
    }
    // One in a thousand of three comparisons.
    expect(moved).toBeLessThan(30)
  })

  it('that rises is believed at once where requests are refused', () => {
    const random = seededRandom(4)
    const meter = new DemandMeter()
    offer(meter, 20, 20, random)
    offer(meter, 32, 5, random)
    expect(meter.wanted(true)).toBeGreaterThanOrEqual(meter.wanted(false))
  })

  it('is a finite number whatever the counts and the lengths of samples', () => {
    const sample = fc.record({ count: fc.nat({ max: 1_000_000 }), ms: fc.double({ min: 0, max: 1e7, noNaN: true }) })
    fc.assert(
      fc.property(fc.array(sample, { maxLength: 60 }), (samples) => {
        const meter = new DemandMeter()
        for (const { count, ms } of samples) {
          meter.offered = count
          meter.sample(ms)
          for (const isShort of [true, false]) {
            expect(meter.wanted(isShort)).toBeGreaterThanOrEqual(0)
            expect(Number.isFinite(meter.wanted(isShort))).toBe(true)
          }
        }
      }),
    )
  })
})
