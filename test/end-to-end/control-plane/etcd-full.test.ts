/** etcd has used up its quota, and refuses writes until an operator makes room. */
import { faultTests } from './fault-tests.ts'

const QUOTA = ['--quota-backend-bytes', String(16_000_000)]

faultTests(
  'registries over an etcd with a quota',
  { etcd: { args: QUOTA } },
  {
    'a full etcd refuses writes with 503, and costs nothing else': async (plane) => {
      await plane.etcd.fill()
      for (const registry of plane.registries) await plane.refusesWrites(registry)
      for (const name of plane.fleet.servers.keys()) await plane.fleet.answers(name)
      await plane.etcd.makeRoom()
      await plane.goesOn()
    },
  },
)
