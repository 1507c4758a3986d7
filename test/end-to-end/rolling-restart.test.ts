/** The registry is killed in the middle of a rolling restart, and comes back after it. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { FLEET_TEST_MS, Fleet } from './fleet.ts'
import { eventually, type Process, Rig } from './rig.ts'

let rig: Rig

beforeEach(() => {
  rig = new Rig()
})

afterEach(async () => {
  await rig.close()
})

test(
  'a registry that is killed during a rolling restart costs no request, and learns who is there when it is back',
  async () => {
    const names = ['a', 'b', 'c']
    const fleet = await Fleet.start(rig, names, { leaseMs: 2_000 })
    const before = names.map((name) => fleet.servers.get(name)!)
    const restart = async (i: number): Promise<Process> => {
      const leaving = before[i]!
      leaving.signal('SIGTERM')
      if (i === 1) await fleet.registry.kill()
      expect((await leaving.exited).code).toBe(0)
      // At its old port, where callers look for it while no registry tells them of another.
      return fleet.serve(`${names[i]}-again`, Number(leaving.messages[0]!.port), names[i])
    }
    await restart(0)
    // As a deployment waits for one to be ready, before the registry that tells of it is gone.
    await fleet.answers('a-again')
    for (const i of [1, 2]) await restart(i)
    await fleet.startRegistry()
    for (const name of names) await fleet.answers(`${name}-again`)
    await fleet.inTouch(4)
    await eventually('three are listed', () => fleet.listed === 3)
    const { lost } = await fleet.settle()
    expect(lost).toEqual([])
  },
  FLEET_TEST_MS,
)
