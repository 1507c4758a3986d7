/** One registry hears nothing of etcd for longer than its lease there. */
import { expect } from 'vitest'
import { eventually, wait } from '../rig.ts'
import { faultTest } from './fault-test.ts'

const AWAY_MS = 13_000

faultTest('a registry cut off from etcd sends its sessions to another, and costs nothing', {}, async (plane) => {
  const [cut] = plane.registries
  const before = (await plane.sessions()).reduce((sum, sessions) => sum + sessions, 0)
  cut!.paths.set('silent')
  const cutAt = performance.now()
  await plane.refusesWrites(cut!)
  await eventually('the others have all sessions', async () => {
    const [own, ...others] = await plane.sessions()
    return own === 0 && others.reduce((sum, sessions) => sum + sessions, 0) >= before
  })
  await plane.goesOn()
  await wait(Math.max(0, cutAt + AWAY_MS - performance.now()))
  cut!.paths.set('open')
  await plane.goesOn()
  expect(cut!.running).toBe(true)
})
