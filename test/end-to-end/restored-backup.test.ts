/**
 * The registry is restored from a backup under load: the intentions and policies of the backup are
 * in force, and no request is lost.
 */
import { chmodSync, cpSync, rmSync } from 'node:fs'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { run } from '../cli/run-command.ts'
import { FLEET_TEST_MS, Fleet } from './fleet.ts'
import { eventually, Rig } from './rig.ts'

let rig: Rig

beforeEach(() => {
  rig = new Rig()
})

afterEach(async () => {
  await rig.close()
})

async function stopRegistry(fleet: Fleet): Promise<void> {
  fleet.registry.signal('SIGTERM')
  await fleet.registry.exited
}

/** As `cp -a` does it. */
function copy(from: string, to: string): void {
  cpSync(rig.path(from), rig.path(to), { recursive: true, preserveTimestamps: true })
  chmodSync(rig.path(to), 0o700)
}

/** A fleet whose service 'private' is open to `allowed` only, so that the caller gets 403. */
async function startDenied(allowed: string): Promise<{ fleet: Fleet; call: () => Promise<number> }> {
  const denied = { service: 'private', allow: [{ from: allowed }] }
  const fleet = await Fleet.start(rig, ['a', 'b', 'old'], {
    // A server that stops for two seconds stays listed.
    leaseMs: 4_000,
    services: ['private'],
    policies: [denied],
  })
  const closed = await rig.join({ service: 'private', ...fleet.mesh('private') })
  await closed.serve((_req, res) => res.end('open'), { host: '127.0.0.1' })
  const call = async (): Promise<number> => (await fleet.client.http('private').get('/', { timeout: '5s' })).status
  await eventually('the intention is in force', async () => (await call()) === 403)
  return { fleet, call }
}

/** A policy that opens, an instance more, one less. */
async function changeWhatABackupLacks(fleet: Fleet, call: () => Promise<number>): Promise<void> {
  await fleet.registry.ask(JSON.stringify([{ service: 'private', allow: [{ from: '*' }] }]))
  await eventually('the newer intention is in force', async () => (await call()) === 200)
  await fleet.serve('new')
  await fleet.answers('new')
  const old = fleet.servers.get('old')!
  old.signal('SIGTERM')
  await old.exited
}

test(
  'a restored backup costs no request, and what it says of callers is in force',
  async () => {
    // Only what a backup keeps tells this caller that it may not.
    const { fleet, call } = await startDenied('nobody')

    await stopRegistry(fleet)
    copy('registry', 'backup')
    await fleet.startRegistry()
    await fleet.inTouch(5)
    // The backup knows nothing of what comes now.
    await changeWhatABackupLacks(fleet, call)

    await stopRegistry(fleet)
    rmSync(rig.path('registry'), { recursive: true })
    copy('backup', 'registry')
    await fleet.startRegistry()
    await eventually('the intention of the backup is in force again', async () => (await call()) === 403)
    await fleet.inTouch(5)
    for (const name of ['a', 'b', 'new']) await fleet.answers(name)
    await eventually('three are listed, the one that left is not', () => fleet.listed === 3)
    const { lost } = await fleet.settle()
    expect(lost).toEqual([])
  },
  FLEET_TEST_MS,
)

test(
  'a backup taken under load and restored after a kill costs no request, and is in force',
  async () => {
    const { fleet, call } = await startDenied('another')

    const env = { BACKUP_PASSPHRASE: 'a passphrase for the test' }
    const inmesh = async (...args: string[]): Promise<string> => {
      const { code, stdout, stderr } = await run([...args, '--passphrase-env', 'BACKUP_PASSPHRASE'], { env })
      expect(stderr).toBe('')
      expect(code).toBe(0)
      return stdout
    }
    const directory = ['--data-dir', rig.path('registry')]
    await inmesh('backup', '--out', rig.path('backup'), ...directory, '--registry', String(fleet.url))
    // The backup knows nothing of what comes now.
    await changeWhatABackupLacks(fleet, call)
    await fleet.observe()

    await fleet.registry.kill()
    await inmesh('restore', rig.path('backup'), ...directory, '--force')
    await fleet.startRegistry()
    await eventually('the intention of the backup is in force again', async () => (await call()) === 403)
    await fleet.inTouch(5)
    for (const name of ['a', 'b', 'new']) await fleet.answers(name)
    await eventually('three are listed, the one that left is not', () => fleet.listed === 3)
    for (const { least } of await fleet.observed()) expect(least).toBeGreaterThanOrEqual(3)
    const { lost } = await fleet.settle()
    expect(lost).toEqual([])
  },
  FLEET_TEST_MS,
)
