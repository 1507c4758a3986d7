/** The system clock detects stalls of the event loop. */
import { expect, test } from 'vitest'
import { systemClock } from '../../src/core/clock.ts'

test('a stall is known afterwards, also one longer than the time after which sampling stops', async () => {
  const at = systemClock.now()
  systemClock.stalledMsSince(at)
  await new Promise((resolve) => setTimeout(resolve, 100))
  const until = performance.now() + 2_300
  while (performance.now() < until) {
    // Standing still is the point.
  }
  // The sampler has run before anybody asks again.
  await new Promise((resolve) => setTimeout(resolve, 60))
  expect(systemClock.stalledMsSince(at)).toBeGreaterThan(2_000)
})
