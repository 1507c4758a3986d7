/** A process that was away while the registry's root was replaced. */
import { rename, writeFile } from 'node:fs/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { MeshError } from '../../src/core/errors.ts'
import type { Mesh } from '../../src/index.ts'
import type { Registry } from '../../src/registry/index.ts'
import { run } from '../cli/run-command.ts'
import { eventually, Rig } from './rig.ts'

let rig: Rig
let first: Registry

beforeEach(async () => {
  rig = new Rig()
  first = await rig.registry({ memory: true, lease: 1_000 })
})

afterEach(async () => {
  await rig.close()
})

/** Another registry at the same address, with another root. */
async function replace(): Promise<Registry> {
  await first.close()
  return rig.registry({ memory: true, port: first.port, lease: 1_000 })
}

const failures = (mesh: Mesh): string[] =>
  mesh.events().flatMap(({ name, payload }) => (name === 'identity:failed' ? [String(payload.reason)] : []))

function wordsOf(first: Registry, second: Registry): RegExp[] {
  return [
    new RegExp(`registry at ${second.url} has root ${second.rootFingerprint}`),
    new RegExp(first.rootFingerprint),
    /'inmesh token create --service checkout'/,
  ]
}

test('starts with a clear error, with its certificate on disk or its old token, and joins with a new token', async () => {
  const stateDir = rig.path('checkout')
  const oldToken = await first.createJoinToken({ service: 'checkout', uses: 10 })
  const settings = { service: 'checkout', registry: first.url, stateDir, joinTimeout: '20s' as const }
  await (await rig.join({ ...settings, joinToken: oldToken })).close()
  const second = await replace()

  for (const choice of [settings, { ...settings, stateDir: 'memory' as const }]) {
    const error: MeshError = await rig.join({ ...choice, joinToken: oldToken }).catch((error) => error)
    expect(error.code).toBe('identity-rejected')
    for (const words of wordsOf(first, second)) expect(error.message).toMatch(words)
  }
  const without: MeshError = await rig.join(settings).catch((error) => error)
  expect(without.code).toBe('join-refused')
  expect(without.message).toMatch(/token/)

  const joinToken = await second.createJoinToken({ service: 'checkout' })
  const mesh = await rig.join({ ...settings, joinToken })
  expect(mesh.events().some(({ name }) => name === 'registry:connected')).toBe(true)
})

test('goes on while it runs, says once what to do, and joins anew when its token file has a new token', async () => {
  const tokenFile = rig.path('token')
  await writeFile(tokenFile, await first.createJoinToken({ service: 'checkout' }), { mode: 0o600 })
  const inventory = await rig.mesh(first, 'inventory')
  await inventory.serve((_request, response) => void response.end('ok'), { port: 0, host: '127.0.0.1' })
  await first.applyPolicies([{ service: 'inventory', allow: [{ from: 'checkout' }] }])
  const checkout = await rig.join({ service: 'checkout', registry: first.url, joinTokenFile: tokenFile })
  const call = async () => (await checkout.http('inventory').get('/', { timeout: '10s' })).text()
  await eventually('it is served', async () => (await call().catch(() => '')) === 'ok')

  const second = await replace()
  const told = (): string[] => failures(checkout).filter((reason) => reason.includes(second.rootFingerprint))
  await eventually('the new root is reported', () => told().length > 0)
  for (const words of wordsOf(first, second)) expect(told()[0]).toMatch(words)
  expect(await call()).toBe('ok')

  await writeFile(`${tokenFile}.new`, await second.createJoinToken({ service: 'checkout' }), { mode: 0o600 })
  await rename(`${tokenFile}.new`, tokenFile)
  const rejoined = () => checkout.events().some(({ name, payload }) => name === 'identity:renewed' && payload.rejoined)
  await eventually('it has joined anew', rejoined)
  await eventually('it has a session', () => second.counts.sessions === 1)
  expect(told()).toHaveLength(1)
}, 120_000)

test('starts from its last run while no registry answers', async () => {
  const stateDir = rig.path('checkout')
  const joinToken = await first.createJoinToken({ service: 'checkout' })
  const settings = { service: 'checkout', registry: first.url, stateDir, joinToken, joinTimeout: '10s' as const }
  await (await rig.join(settings)).close()
  await first.close()
  const mesh = await rig.join(settings)
  expect(failures(mesh)).toEqual([])
})

test('after a rotation by command, one that followed it starts with its old token, one that was away does not', async () => {
  const dataDir = rig.path('registry')
  const registry = await rig.registry({ dataDir, lease: 1_000, certificateLife: 12_000 })
  const before = registry.rootFingerprint
  const settingsOf = async (service: string) => {
    const joinToken = await registry.createJoinToken({ service, uses: 1 })
    return { service, registry: registry.url, stateDir: rig.path(service), joinToken, joinTimeout: '20s' as const }
  }
  const [present, away] = [await settingsOf('inventory'), await settingsOf('checkout')]
  const follower = await rig.join(present)
  await (await rig.join(away)).close()

  const at = ['--json', '--registry', registry.url, '--data-dir', dataDir]
  expect((await run(['ca', 'rotate', 'root', ...at])).stderr).toBe('')
  const steady = async () => JSON.parse((await run(['ca', 'status', ...at])).stdout).certificates.stage === 'steady'
  await eventually('the former root is withdrawn', steady, 90_000)
  expect(registry.rootFingerprint).not.toBe(before)
  await follower.close()

  const again = await rig.join(present)
  expect(again.events().some(({ name }) => name === 'registry:connected')).toBe(true)
  const error: MeshError = await rig.join(away).catch((error) => error)
  expect(error.code).toBe('identity-rejected')
  for (const words of [registry.rootFingerprint, before, "'inmesh token create --service checkout'"]) {
    expect(error.message).toContain(words)
  }
  await rig.join({ ...away, joinToken: await registry.createJoinToken({ service: 'checkout' }) })
}, 180_000)
