/** A third registry comes to two that hold all sessions. */
import { eventually } from '../rig.ts'
import { faultTest } from './fault-test.ts'

const CROWD = 120
const MOVED = 10

faultTest('a registry that is added gets its share of the sessions', { lastIsMissing: true }, async (plane) => {
  const { rig, fleet } = plane
  const token = await plane.joinToken('crowd', CROWD)
  const joining = { service: 'crowd', registry: plane.urls, joinToken: token, stateDir: 'memory', handleSignals: false }
  const crowd = await rig.start('crowd', { size: CROWD, service: 'inventory', mesh: joining })
  await plane.registries.at(-1)!.start()
  await eventually('it has sessions', async () => (await plane.sessions()).at(-1)! >= MOVED, 60_000)
  const { answered } = await crowd.ask('call')
  if (answered !== CROWD) throw new Error(`${answered} of ${CROWD} are answered`)
  for (const name of fleet.servers.keys()) await fleet.answers(name)
})
