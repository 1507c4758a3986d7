import { expect, it } from 'vitest'
import { retirement } from '../../src/client/retirement.ts'
import { certificateTimeOf, LEAP_GRACE_MS } from '../../src/core/certificate-time.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'

it('begins with the rotation and takes as long as the user says', () => {
  const clock = new FakeClock()
  clock.advance(1_000)
  expect(retirement(clock, 60_000)).toEqual({ from: 1_000, spreadMs: 60_000 })
})

it('waits after a leap of the clock until servers have renewed, and ends before they refuse', () => {
  const clock = new FakeClock()
  certificateTimeOf(clock)
  clock.jumpWall(86_400_000)
  certificateTimeOf(clock).now()
  clock.advance(1_000)
  const { from, spreadMs } = retirement(clock, 60_000)
  expect(from).toBe(5_000)
  expect(from + spreadMs).toBeLessThan(LEAP_GRACE_MS)
  clock.advance(6_000)
  expect(retirement(clock, 0)).toEqual({ from: 7_000, spreadMs: 0 })
})
