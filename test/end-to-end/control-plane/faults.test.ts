/** Faults of registries and etcd, one after the other: each finds what the one before has left. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { run } from '../../cli/run-command.ts'
import { eventually, wait } from '../rig.ts'
import type { ControlPlane } from './control-plane.ts'
import { faultTests } from './fault-tests.ts'

const CROWD = 120
const MOVED = 10
/** Longer than all leases of instances. */
const LEASES_MS = 15_000
/** Longer than etcd's lease of a registry, which is 10 s. */
const ETCD_LEASES_MS = 13_000

faultTests(
  'registries over etcd',
  {},
  {
    'a registry that is added gets its share of the sessions': async (plane) => {
      const { rig, fleet } = plane
      const added = plane.registries.at(-1)!
      await added.terminate()
      const token = await plane.joinToken('crowd', CROWD)
      const mesh = {
        service: 'crowd',
        registry: plane.urls,
        joinToken: token,
        stateDir: 'memory',
        handleSignals: false,
      }
      const crowd = await rig.start('crowd', { size: CROWD, service: 'inventory', mesh })
      await added.start()
      await eventually('it has sessions', async () => (await plane.sessions()).at(-1)! >= MOVED, 60_000)
      expect((await crowd.ask('call')).answered).toBe(CROWD)
      await crowd.kill()
      for (const name of fleet.servers.keys()) await fleet.answers(name)
    },

    'kill -9 of any registry fails no call and loses nothing that was acknowledged': async (plane) => {
      for (const registry of plane.registries) {
        await registry.kill()
        await plane.goesOn()
        await registry.start()
        await plane.goesOn()
      }
    },

    'kill -9 of the reaper, with a dead registry to look after, costs nothing': async (plane) => {
      const reaper = await plane.reaper()
      const other = plane.registries.find((registry) => registry !== reaper)!
      await other.kill()
      await reaper.kill()
      await plane.goesOn()
      await plane.reaper()
      await Promise.all([other.start(), reaper.start()])
      await plane.goesOn()
    },

    'kill -9 of all registries at once fails no call, and no instance vanishes': async (plane) => {
      await Promise.all(plane.registries.map((registry) => registry.kill()))
      await wait(LEASES_MS)
      await Promise.all(plane.registries.map((registry) => registry.start()))
      await plane.goesOn()
    },

    'a rolling restart of the registries fails no call and loses nothing': async (plane) => {
      for (const registry of plane.registries) {
        await registry.terminate()
        await registry.start()
        await plane.goesOn()
      }
    },

    'a registry cut off from etcd sends its sessions to another, and costs nothing': async (plane) => {
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
      await wait(Math.max(0, cutAt + ETCD_LEASES_MS - performance.now()))
      cut!.paths.set('open')
      await plane.goesOn()
      expect(cut!.running).toBe(true)
    },

    'a compaction past the position of a registry loses no change': async (plane) => {
      const [cut, paused] = plane.registries
      cut!.paths.set('severed')
      await plane.goesOn()
      await plane.etcd.compact()
      cut!.paths.set('open')
      await plane.goesOn()
      paused!.signal('SIGSTOP')
      await plane.goesOn()
      await plane.etcd.compact()
      paused!.signal('SIGCONT')
      await plane.goesOn()
    },

    'kill -9 of the etcd leader stalls writes for a moment and loses none': async (plane) => {
      for (let i = 0; i < 2; i++) {
        const leader = await plane.etcd.leader()
        await leader.kill()
        await plane.goesOn()
        leader.start()
        await leader.healthy()
        await plane.goesOn()
      }
    },

    'without two of three etcd nodes calls go on, writes answer 503 and nothing expires': async (plane) => {
      const dead = plane.etcd.nodes.slice(0, 2)
      await Promise.all(dead.map((node) => node.kill()))
      await Promise.all(plane.registries.map((registry) => plane.refusesWrites(registry)))
      await wait(ETCD_LEASES_MS)
      for (const node of dead) node.start()
      await Promise.all(dead.map((node) => node.healthy()))
      await plane.goesOn()
    },

    'an older backup of etcd, restored under stopped registries, empties no service': (plane) =>
      restoreEtcd(plane, 'c', true),

    'an older backup of etcd, restored under running registries, empties no service': (plane) =>
      restoreEtcd(plane, 'd', false),

    'inmesh restore of an older backup into etcd fails no call, empties no service and forgets no instance': async (
      plane,
    ) => {
      const [first] = plane.registries
      const token = readFileSync(join(first!.dataDir, 'admin-token'), 'utf8').trim()
      const env = { INMESH_REGISTRY: first!.url, INMESH_ADMIN_TOKEN: token, BACKUP: 'a passphrase for the test' }
      const inmesh = (...args: string[]) => run([...args, '--passphrase-env', 'BACKUP', '--json'], { env })
      const file = plane.rig.path('backup')
      const made = await inmesh('backup', '--out', file)
      expect(made.code, made.stderr).toBe(0)
      // The backup does not know it.
      await plane.serve('e')
      await plane.goesOn()
      const restore = async (): Promise<boolean> => {
        const { code, stderr } = await inmesh('restore', file, '--force', '--store', plane.etcd.url)
        if (code !== 0) expect(JSON.parse(stderr).error.code).toBe('store-in-use')
        return code === 0
      }
      expect(await restore()).toBe(false)
      await Promise.all(plane.registries.map((registry) => registry.kill()))
      // For ten seconds etcd takes them for alive.
      await eventually('the backup is restored', restore, 60_000)
      plane.forget()
      await Promise.all(plane.registries.map((registry) => registry.start()))
      await plane.goesOn()
    },
  },
)

/** The backup does not know the instance `name`. */
async function restoreEtcd(plane: ControlPlane, name: string, stopped: boolean): Promise<void> {
  const file = plane.rig.path(`etcd.snapshot-${name}`)
  await plane.etcd.saveSnapshot(file)
  await plane.serve(name)
  await plane.goesOn()
  if (stopped) await Promise.all(plane.registries.map((registry) => registry.terminate()))
  await plane.etcd.restore(file)
  plane.forget()
  if (stopped) await Promise.all(plane.registries.map((registry) => registry.start()))
  await plane.goesOn()
}
