import { describe, expect, test } from 'vitest'
import { certificateTimeOf, LEAP_GRACE_MS } from '../../src/core/certificate-time.ts'
import { WallTimer } from '../../src/core/wall-timer.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'

const HOUR_MS = 3_600_000
const START = Date.UTC(2026, 0, 1)

function begin() {
  const clock = new FakeClock({ wallNow: START })
  return { clock, time: certificateTimeOf(clock) }
}

describe('the time that certificates are judged by', () => {
  test('is the wall clock, also after a pause of the process, in which both clocks go on', () => {
    const { clock, time } = begin()
    clock.advance(25 * HOUR_MS)
    expect([time.now(), time.leaptAt]).toEqual([START + 25 * HOUR_MS, undefined])
  })

  test('goes on as before a leap for 10 s, and is the wall clock then', () => {
    const { clock, time } = begin()
    clock.advance(HOUR_MS)
    clock.jumpWall(25 * HOUR_MS)
    expect([time.now(), time.leaptAt]).toEqual([START + HOUR_MS, HOUR_MS])
    clock.advance(LEAP_GRACE_MS - 1)
    expect(time.now()).toBe(START + HOUR_MS + LEAP_GRACE_MS - 1)
    clock.advance(1)
    expect([time.now(), time.leaptAt]).toEqual([clock.wallNow(), undefined])
  })

  test('is that of before the leap at the first question, however long nobody asked', () => {
    const { clock, time } = begin()
    clock.advance(9 * HOUR_MS)
    clock.jumpWall(25 * HOUR_MS)
    clock.advance(2)
    expect(time.now()).toBe(START + 9 * HOUR_MS + 2)
  })

  test('gains nothing by a second leap within the 10 s', () => {
    const { clock, time } = begin()
    clock.jumpWall(25 * HOUR_MS)
    time.now()
    clock.advance(LEAP_GRACE_MS / 2)
    clock.jumpWall(25 * HOUR_MS)
    expect(time.now()).toBe(START + LEAP_GRACE_MS / 2)
    clock.advance(LEAP_GRACE_MS / 2)
    expect(time.now()).toBe(clock.wallNow())
  })

  test('begins each leap from where the last one has ended, so that nothing ended long ago is valid again', () => {
    const { clock, time } = begin()
    clock.jumpWall(25 * HOUR_MS)
    time.now()
    clock.advance(LEAP_GRACE_MS)
    const before = time.now()
    clock.jumpWall(25 * HOUR_MS)
    expect(time.now()).toBe(before)
    expect(before).toBeGreaterThan(START + 25 * HOUR_MS)
  })

  test('follows a clock that is put back at once, also right after a leap', () => {
    const { clock, time } = begin()
    clock.jumpWall(-HOUR_MS)
    expect(time.now()).toBe(START - HOUR_MS)
    clock.jumpWall(25 * HOUR_MS)
    expect(time.now()).toBe(START - HOUR_MS)
    clock.jumpWall(-25 * HOUR_MS)
    expect([time.now(), time.leaptAt]).toEqual([START - HOUR_MS, undefined])
    clock.jumpWall(-HOUR_MS)
    expect(time.now()).toBe(START - 2 * HOUR_MS)
  })

  test('follows a clock that runs fast while a timer for what ends looks at it', () => {
    const { clock, time } = begin()
    const timer = new WallTimer(clock, 24 * HOUR_MS, () => {})
    for (let i = 0; i < 100; i++) {
      clock.advance(2_000)
      // By 8 %, the most that chrony does.
      clock.jumpWall(160)
    }
    clock.advance(2_000)
    expect([time.now(), time.leaptAt]).toEqual([clock.wallNow(), undefined])
    timer.stop()
  })

  test('is one for all who use the same clock', () => {
    const { clock, time } = begin()
    expect(certificateTimeOf(clock)).toBe(time)
  })
})
