/**
 * An instance freezes for longer than its lease, as a paused container does: no request is lost,
 * and it serves again.
 */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { FLEET_TEST_MS, Fleet } from './fleet.ts'
import { eventually, Rig, wait } from './rig.ts'

/**
 * The lease of 15 s for 20 s, which takes it off the list; and four short leases, so that its
 * session ends, too.
 */
const FREEZES = [
  { leaseMs: 15_000, freezeMs: 20_000 },
  { leaseMs: 2_000, freezeMs: 8_000 },
] as const
/** What a busy machine may add to two leases. */
const BUSY_MS = 10_000

let rig: Rig

beforeEach(() => {
  rig = new Rig()
})

afterEach(async () => {
  await rig.close()
})

test.each(FREEZES)(
  'no request is lost in a freeze of $freezeMs ms with leases of $leaseMs ms, and the instance serves again',
  async ({ leaseMs, freezeMs }) => {
    const fleet = await Fleet.start(rig, ['a', 'b'], { leaseMs })
    const frozen = await fleet.serve('c')
    await fleet.answers('c')
    frozen.signal('SIGSTOP')
    const stoppedAt = performance.now()
    await eventually('it is off the list', () => fleet.listed === 2)
    await wait(Math.max(0, stoppedAt + freezeMs - performance.now()))
    frozen.signal('SIGCONT')
    const from = performance.now()
    await fleet.answers('c', 1)
    expect(performance.now() - from).toBeLessThan(2 * leaseMs + BUSY_MS)
    await fleet.answers('c')
    await eventually('all are listed', () => fleet.listed === 3)
    const { lost, answered } = await fleet.settle()
    expect(lost).toEqual([])
    expect(answered).toBeGreaterThan(100)
  },
  FLEET_TEST_MS,
)
