import { describe, expect, test } from 'vitest'
import { WallTimer } from '../../src/core/wall-timer.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'

const HOUR_MS = 3_600_000

function timer(ms: number) {
  const clock = new FakeClock()
  const fired: number[] = []
  const started = new WallTimer(clock, ms, () => fired.push(clock.now()))
  return { clock, fired, started }
}

describe('a timer on both clocks', () => {
  test('fires once when its time has passed by the monotonic clock', () => {
    const { clock, fired } = timer(HOUR_MS)
    clock.advance(HOUR_MS - 1)
    expect(fired).toEqual([])
    clock.advance(1)
    clock.advance(HOUR_MS)
    expect(fired).toEqual([HOUR_MS])
    expect(clock.timers).toBe(0)
  })

  test('fires within 2 s after the machine has slept past its time', () => {
    const { clock, fired } = timer(HOUR_MS)
    clock.advance(10_000)
    clock.jumpWall(25 * HOUR_MS)
    clock.advance(2_000)
    expect(fired).toHaveLength(1)
  })

  test('fires when the wall clock is put back, but not when it is corrected by half a second', () => {
    const { clock, fired } = timer(HOUR_MS)
    clock.jumpWall(-500)
    clock.advance(10_000)
    expect(fired).toEqual([])
    clock.jumpWall(-HOUR_MS)
    clock.advance(2_000)
    expect(fired).toHaveLength(1)
  })

  test('never fires after it was stopped', () => {
    const { clock, fired, started } = timer(1_000)
    started.stop()
    clock.advance(HOUR_MS)
    expect([fired, clock.timers]).toEqual([[], 0])
  })
})
