import { expect, it } from 'vitest'
import { DeadlineSweep } from '../../src/server/deadline-sweep.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'

it('tells each when it is due, with one timer, and has none when nobody waits', () => {
  const clock = new FakeClock()
  const running = new Set<{ dueAt: number; expire(): void }>()
  const sweep = new DeadlineSweep(clock, running)
  const told: [number, number][] = []
  for (const dueAt of [300, 100, 102, 500, 100]) {
    const watched = {
      dueAt,
      expire() {
        told.push([dueAt, clock.now()])
        running.delete(watched)
      },
    }
    running.add(watched)
    sweep.watch(watched, clock.now())
    expect(clock.timers).toBe(1)
  }
  clock.advance(1_000)
  expect(told.map(([dueAt]) => dueAt)).toEqual([100, 100, 102, 300, 500])
  for (const [dueAt, at] of told) expect(at - dueAt).toBeLessThanOrEqual(4)
  expect(clock.timers).toBe(0)
})

it('watches on whoever sets itself a later instant', () => {
  const clock = new FakeClock()
  const watched = {
    dueAt: 50,
    told: [] as number[],
    expire() {
      this.told.push(clock.now())
      this.dueAt += 200
      sweep.watch(this, clock.now())
    },
  }
  const sweep = new DeadlineSweep(clock, [watched])
  sweep.watch(watched, 0)
  clock.advance(600)
  expect(watched.told).toEqual([50, 250, 450])
  sweep.stop()
  expect(clock.timers).toBe(0)
})
