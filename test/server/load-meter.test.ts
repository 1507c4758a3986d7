import { describe, expect, it } from 'vitest'
import { LoadMeter } from '../../src/server/load-meter.ts'

/** Answers of `ms`, each with `others` in flight at its arrival. */
function feed(meter: LoadMeter, count: number, others: number, ms: number): void {
  for (let i = 0; i < count; i++) {
    meter.arrived()
    meter.answered(others, ms)
  }
}

function occupy(meter: LoadMeter, requests: number): void {
  for (let i = 0; i < requests; i++) meter.arrived()
}

describe('load meter', () => {
  it('counts requests from arrival to end, whatever the end', () => {
    const meter = new LoadMeter()
    expect([meter.arrived(), meter.arrived(), meter.arrived()]).toEqual([0, 1, 2])
    meter.ended()
    meter.answered(1, 10)
    expect(meter.inFlight).toBe(1)
  })

  it('knows nothing before the first good answer, and says so', () => {
    const meter = new LoadMeter()
    meter.arrived()
    meter.ended()
    expect(meter.latencyMs()).toBe(0)
    feed(meter, 1, 0, 30)
    expect(meter.latencyMs()).toBe(30)
  })

  it('goes by answers at a similar load', () => {
    const meter = new LoadMeter()
    feed(meter, 30, 0, 10)
    feed(meter, 30, 8, 80)
    expect(meter.latencyMs()).toBe(10)
    occupy(meter, 8)
    expect(meter.latencyMs()).toBe(80)
    occupy(meter, 1)
    expect(meter.latencyMs()).toBe(80)
  })

  it('takes the latency in proportion to the load where it has no answers at a similar one', () => {
    const meter = new LoadMeter()
    feed(meter, 30, 1, 20)
    occupy(meter, 9)
    expect(meter.latencyMs()).toBe(100)
    expect(new LoadMeter().latencyMs()).toBe(0)
  })

  it('is a median, so that a few long requests do not raise it', () => {
    const meter = new LoadMeter()
    feed(meter, 9, 0, 10)
    feed(meter, 6, 0, 5_000)
    expect(meter.latencyMs()).toBe(10)
  })

  it('forgets: of equally distant answers the latest count, and no more than 64 of all', () => {
    const meter = new LoadMeter()
    feed(meter, 40, 0, 10)
    feed(meter, 8, 0, 50)
    expect(meter.latencyMs()).toBe(50)
    feed(meter, 64, 20, 200)
    expect(meter.latencyMs()).toBeCloseTo(200 / 21, 6)
  })

  it('agrees with a plain computation on random answers', () => {
    let state = 7
    const random = (below: number): number => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
      return (state >>> 8) % below
    }
    const meter = new LoadMeter()
    const all: { load: number; ms: number }[] = []
    for (let i = 0; i < 500; i++) {
      const load = random(12)
      const ms = 1 + random(100)
      feed(meter, 1, load, ms)
      all.push({ load, ms })
      const now = random(16)
      occupy(meter, now)
      const nearest = all
        .slice(-64)
        .reverse()
        .map((each, age) => ({ ...each, age, off: Math.abs(each.load - now) }))
        .sort((a, b) => a.off - b.off || a.age - b.age)
        .slice(0, 15)
        .map(({ load, ms, off }) => (off <= Math.max(1, now / 4) ? ms : (ms * (now + 1)) / (load + 1)))
        .sort((a, b) => a - b)
      const middle = (nearest.length - 1) / 2
      expect(meter.latencyMs()).toBe((nearest[Math.floor(middle)]! + nearest[Math.ceil(middle)]!) / 2)
      for (let k = 0; k < now; k++) meter.ended()
    }
  })
})
