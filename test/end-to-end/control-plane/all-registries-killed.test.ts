/** All registries are killed with -9 at once, and stay away for longer than all leases. */
import { wait } from '../rig.ts'
import { faultTest } from './fault-test.ts'

const AWAY_MS = 11_000

faultTest('kill -9 of all registries at once fails no call, and no instance vanishes', {}, async (plane) => {
  await Promise.all(plane.registries.map((registry) => registry.kill()))
  await wait(AWAY_MS)
  await Promise.all(plane.registries.map((registry) => registry.start()))
  await plane.goesOn()
})
