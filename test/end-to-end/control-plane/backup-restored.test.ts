/** A backup that was taken under load takes the place of the state, after all registries died. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { run } from '../../cli/run-command.ts'
import { eventually } from '../rig.ts'
import { faultTest } from './fault-test.ts'

const title = 'inmesh restore of an older backup into etcd fails no call, empties no service and forgets no instance'

faultTest(title, {}, async (plane) => {
  const [first] = plane.registries
  const token = readFileSync(join(first!.dataDir, 'admin-token'), 'utf8').trim()
  const env = { INMESH_REGISTRY: first!.url, INMESH_ADMIN_TOKEN: token, BACKUP: 'a passphrase for the test' }
  const inmesh = (...args: string[]) => run([...args, '--passphrase-env', 'BACKUP', '--json'], { env })
  const file = plane.rig.path('backup')
  const made = await inmesh('backup', '--out', file)
  expect(made.code, made.stderr).toBe(0)
  // The backup does not know it.
  await plane.serve('d')
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
})
