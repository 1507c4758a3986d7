/** etcd has used up its quota, and refuses writes until an operator makes room. */
import { faultTest } from './fault-test.ts'

const QUOTA = ['--quota-backend-bytes', String(16_000_000)]

faultTest('a full etcd refuses writes with 503, and costs nothing else', { etcd: { args: QUOTA } }, async (plane) => {
  await plane.etcd.fill()
  for (const registry of plane.registries) await plane.refusesWrites(registry)
  for (const name of plane.fleet.servers.keys()) await plane.fleet.answers(name)
  await plane.etcd.makeRoom()
  await plane.goesOn()
})
