/**
 * An instance restarts at its old port five times, killed or stopped: it is one endpoint, and no
 * request is lost.
 */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { FLEET_TEST_MS, Fleet } from './fleet.ts'
import { eventually, Rig } from './rig.ts'

let rig: Rig

beforeEach(() => {
  rig = new Rig()
})

afterEach(async () => {
  await rig.close()
})

test(
  'five restarts on one port lose no request, and leave one endpoint',
  async () => {
    const fleet = await Fleet.start(rig, ['a', 'b'])
    let restarting = await fleet.serve('c-0')
    const port = Number(restarting.messages[0]!.port)
    await fleet.answers('c-0')
    for (let restart = 1; restart <= 5; restart++) {
      if (restart % 2 === 0) restarting.signal('SIGTERM')
      else restarting.signal('SIGKILL')
      await restarting.exited
      // A new state directory each time, so that the registry sees a new process at the old
      // address.
      restarting = await fleet.serve(`c-${restart}`, port)
      await fleet.answers(`c-${restart}`)
      expect(fleet.listed).toBeLessThanOrEqual(3)
      await eventually('it is one of three', () => fleet.listed === 3)
    }
    await eventually('it gets its share', () => fleet.answered('c-5') > 30)
    const { lost } = await fleet.settle()
    expect(lost).toEqual([])
  },
  FLEET_TEST_MS,
)
