import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { sleep } from '../../src/core/clock.ts'
import { FakeClock, seededRandom } from '../../src/testing/index.ts'

describe('FakeClock', () => {
  it('fires timers in the order of their instants, each at its own, equal ones as they were started', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(100), { maxLength: 30 }), (delays) => {
        const clock = new FakeClock()
        const fired: { i: number; at: number }[] = []
        delays.forEach((ms, i) => {
          clock.startTimer(ms, () => fired.push({ i, at: clock.now() }), undefined)
        })
        clock.advance(100)
        const expected = delays.map((at, i) => ({ i, at })).toSorted((a, b) => a.at - b.at || a.i - b.i)
        expect(fired).toEqual(expected)
        expect(clock.timers).toBe(0)
      }),
    )
  })

  it('fires neither what is not due nor what was stopped', () => {
    const clock = new FakeClock()
    const fired: string[] = []
    const stopped = clock.startBackgroundTimer(5, (name) => fired.push(name), 'stopped')
    clock.startTimer(11, (name) => fired.push(name), 'later')
    clock.stopTimer(stopped)
    clock.advance(10)
    expect(fired).toEqual([])
    expect(clock.timers).toBe(1)
  })

  it('keeps the order when any timers are stopped in between', () => {
    const timers = fc.array(fc.record({ ms: fc.nat(50), stopped: fc.boolean() }), { maxLength: 60 })
    fc.assert(
      fc.property(timers, fc.nat(30), (each, after) => {
        const clock = new FakeClock()
        const fired: number[] = []
        const started = each.map(({ ms }, i) => clock.startTimer(ms, () => fired.push(i), undefined))
        clock.advance(after)
        each.forEach(({ stopped }, i) => {
          if (stopped) clock.stopTimer(started[i]!)
        })
        const left = each.filter(({ ms, stopped }) => ms > after && !stopped)
        expect(clock.timers).toBe(left.length)
        clock.advance(50)
        const expected = each
          .map(({ ms, stopped }, i) => ({ ms, stopped, i }))
          .filter(({ ms, stopped }) => ms <= after || !stopped)
          .toSorted((a, b) => a.ms - b.ms || a.i - b.i)
        expect(fired).toEqual(expected.map(({ i }) => i))
      }),
    )
  })

  it('fires within one step what a timer starts', () => {
    const clock = new FakeClock()
    const at: number[] = []
    const again = (): void => {
      at.push(clock.now())
      if (at.length < 3) clock.startTimer(10, again, undefined)
    }
    clock.startTimer(10, again, undefined)
    clock.advance(100)
    expect(at).toEqual([10, 20, 30])
    expect(clock.now()).toBe(100)
  })

  it('lets promise callbacks run while it settles', async () => {
    const clock = new FakeClock()
    const steps: number[] = []
    const work = (async () => {
      for (let i = 0; i < 3; i++) {
        await sleep(clock, 10)
        steps.push(clock.now())
      }
    })()
    await clock.settle(30)
    await work
    expect(steps).toEqual([10, 20, 30])
  })

  it('tells of its stalls, and only of the part since an instant', () => {
    const clock = new FakeClock()
    clock.advance(100)
    clock.stall(50)
    expect(clock.now()).toBe(150)
    expect(clock.stalledMsSince(0)).toBe(50)
    expect(clock.stalledMsSince(120)).toBe(30)
    expect(clock.stalledMsSince(150)).toBe(0)
  })

  it('jumps on the wall clock without moving the monotonic one', () => {
    const clock = new FakeClock({ wallNow: 1_000 })
    clock.jumpWall(-500)
    expect([clock.now(), clock.wallNow()]).toEqual([0, 500])
  })
})

it('repeats its chances by their seed', () => {
  const draw = (seed: number) => Array.from({ length: 1_000 }, seededRandom(seed))
  expect(draw(7)).toEqual(draw(7))
  expect(draw(7)).not.toEqual(draw(8))
  expect(draw(7).every((x) => x >= 0 && x < 1)).toBe(true)
  expect(draw(7).reduce((sum, x) => sum + x, 0) / 1_000).toBeCloseTo(0.5, 1)
})
