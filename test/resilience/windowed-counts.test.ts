import { expect, it } from 'vitest'
import { WindowedCounts } from '../../src/resilience/windowed-counts.ts'

it('counts the outcomes of the last 10 s exactly, in slices of 1 s', () => {
  const counts = new WindowedCounts(500)
  const outcomes: { at: number; bad: boolean }[] = []
  for (let at = 500; at < 60_000; at += at < 30_000 ? 137 : 2_411) {
    const bad = at > 5_000 && at % 3 === 0
    counts.add(at, bad)
    outcomes.push({ at, bad })
    const begin = (Math.floor(at / 1_000) - 9) * 1_000
    const within = outcomes.filter((each) => each.at >= begin)
    expect([at, counts.total(at), counts.bad(at)]).toEqual([at, within.length, within.filter((o) => o.bad).length])
  }
  expect([counts.total(90_000), counts.bad(90_000)]).toEqual([0, 0])
})

it('a part can be taken out of the whole, with or without bad outcomes', () => {
  const whole = new WindowedCounts(0)
  const good = new WindowedCounts(0)
  const mixed = new WindowedCounts(0)
  for (let now = 0; now < 8_000; now += 500) {
    whole.add(now, false)
    good.add(now, false)
    const bad = now % 1_000 === 0
    whole.add(now, bad)
    mixed.add(now, bad)
  }
  whole.subtract(good, 8_000)
  expect([whole.total(8_000), whole.bad(8_000)]).toEqual([16, 8])
  whole.subtract(mixed, 8_000)
  for (const now of [8_000, 12_000, 15_000]) expect([whole.total(now), whole.bad(now)]).toEqual([0, 0])
})

it('counts anew after it was cleared', () => {
  const counts = new WindowedCounts(0)
  counts.add(0, true)
  counts.clear(1_000)
  counts.add(1_000, false)
  expect([counts.total(1_000), counts.bad(1_000)]).toEqual([1, 0])
  counts.add(1_000, true)
  expect([counts.total(1_000), counts.bad(1_000)]).toEqual([2, 1])
})
