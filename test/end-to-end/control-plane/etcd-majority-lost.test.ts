/** Two of three etcd nodes are dead for longer than all leases, etcd's and ours. */
import { wait } from '../rig.ts'
import { faultTest } from './fault-test.ts'

/** etcd's lease of a registry is 10 s. */
const AWAY_MS = 13_000

faultTest('without two of three etcd nodes calls go on, writes answer 503 and nothing expires', {}, async (plane) => {
  const dead = plane.etcd.nodes.slice(0, 2)
  await Promise.all(dead.map((node) => node.kill()))
  await Promise.all(plane.registries.map((registry) => plane.refusesWrites(registry)))
  await wait(AWAY_MS)
  for (const node of dead) node.start()
  await Promise.all(dead.map((node) => node.healthy()))
  await plane.goesOn()
})
