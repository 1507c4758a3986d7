/**
 * Rotations of the root, the intermediate and the token key under load, with certificates of 20 s.
 * The registry is killed in every stage of one.
 */
import { X509Certificate } from 'node:crypto'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { AuthorityStatus } from '../../src/registry/ca/authority-status.ts'
import { run } from '../cli/run-command.ts'
import { Shop } from '../rigs/shop.ts'
import { FLEET_TEST_MS, Fleet } from './fleet.ts'
import { Load } from './load.ts'
import { eventually, Rig, wait } from './rig.ts'

const LIFE_MS = 20_000
/** A registry that starts on a busy machine is away for ten seconds, in which none is renewed. */
const LIFE_OF_KILLED_MS = 40_000
const ROTATION_MS = 90_000

let rig: Rig

beforeEach(() => {
  rig = new Rig()
})

afterEach(async () => {
  await rig.close()
})

type Command = (...args: string[]) => Promise<AuthorityStatus>

/** Runs `inmesh ca` against a registry; a registry that is away is asked again. */
function commandOf(...connection: string[]): Command {
  return async (...args) => {
    let answer = await run(['ca', ...args, '--json', ...connection])
    for (let tries = 0; answer.code === 3 && tries < 20; tries++) {
      await wait(500)
      answer = await run(['ca', ...args, '--json', ...connection])
    }
    expect(answer.stderr).toBe('')
    return JSON.parse(answer.stdout) as AuthorityStatus
  }
}

test(
  'a root is replaced while its registry is killed in each stage: no request fails, and everybody has the new root',
  async () => {
    const fleet = await Fleet.start(rig, ['a', 'b'], {
      leaseMs: 1_000,
      registry: { certificateLife: LIFE_OF_KILLED_MS },
    })
    const at = ['--registry', String(fleet.url), '--data-dir', rig.path('registry')]
    const ca = commandOf(...at)
    const restart = async (processes = 3): Promise<void> => {
      await fleet.registry.kill()
      await fleet.startRegistry()
      await fleet.inTouch(processes)
    }
    const before = await ca('status')
    await ca('rotate', 'root')
    await restart()
    const stage = async (): Promise<string> => (await ca('status')).certificates.stage
    await eventually('the new root is in use', async () => (await stage()) === 'use', ROTATION_MS)
    await restart()
    // With a token that pins the former root.
    await fleet.serve('c')
    await fleet.answers('c')
    await eventually('the former root is withdrawn', async () => (await stage()) === 'steady', ROTATION_MS)
    await restart(4)
    await fleet.answers('a')
    const { lost, answered } = await fleet.settle()
    expect(lost).toEqual([])
    expect(answered).toBeGreaterThan(2_000)

    const after = await ca('status')
    expect(after.pin).not.toBe(before.pin)
    expect(after.certificates.authorities).toHaveLength(2)
    const [registry] = after.registries
    expect(registry).toMatchObject({ behind: 0 })
    const audit = await run(['audit', ...at])
    for (const action of ['ca-rotate', 'ca-use', 'ca-withdraw']) expect(audit.stdout).toContain(action)
  },
  FLEET_TEST_MS,
)

test(
  'an intermediate is replaced under gRPC calls: none fails, and the callers have certificates of the new one',
  async () => {
    const registry = await rig.registry({ dev: true, lease: '1s', certificateLife: LIFE_MS })
    const mesh = { service: 'inventory', registry: registry.url, stateDir: 'memory' }
    await rig.start('grpc-service', { mesh, name: 'a' })
    const client = await rig.mesh(registry, 'checkout')
    const shop = client.grpc(Shop, 'inventory').promises
    const load = new Load(100, () => shop.get({ sku: 'x' }))
    rig.onClose(() => load.stop())
    const ca = commandOf('--registry', registry.url)
    const before = await ca('status')
    await ca('rotate', 'intermediate')
    const over = async (): Promise<boolean> => (await ca('status')).certificates.stage === 'steady'
    await eventually('the former intermediate is withdrawn', over, ROTATION_MS)
    await wait(2_000)
    await load.stop()
    expect(load.failures).toEqual([])
    expect(load.succeeded).toBeGreaterThan(1_000)
    const after = await ca('status')
    expect(after.pin).toBe(before.pin)
    const ids = (status: AuthorityStatus): string[] => status.certificates.authorities.map(({ id }) => id)
    expect(ids(after)[0]).toBe(ids(before)[0])
    expect(ids(after)[1]).not.toBe(ids(before)[1])
    const bundle = await (await fetchBundle(registry.url, registry.roots)).intermediates
    expect(bundle).toHaveLength(1)
  },
  FLEET_TEST_MS,
)

test(
  'a token key is replaced while tokens are made and verified all the time: none is refused',
  async () => {
    const registry = await rig.registry({ dev: true, lease: '1s', certificateLife: LIFE_MS })
    const caller = await rig.mesh(registry, 'checkout')
    const called = await rig.mesh(registry, 'inventory')
    const keyIds = new Set<string>()
    const load = new Load(20, async () => {
      const token = await caller.token({ audience: 'inventory', ttl: '3s' })
      keyIds.add(JSON.parse(Buffer.from(token.split('.')[0]!, 'base64url').toString()).kid)
      const { service } = await called.verifyToken(token)
      if (service !== 'checkout') throw new Error(service)
    })
    rig.onClose(() => load.stop())
    const ca = commandOf('--registry', registry.url)
    await wait(1_000)
    await ca('rotate', 'tokens')
    await eventually('two keys have signed', () => keyIds.size === 2, ROTATION_MS)
    await wait(3_000)
    await load.stop()
    expect(load.failures).toEqual([])
    const { tokens } = await ca('status')
    expect(tokens).toMatchObject({ stage: 'use', keys: [{ part: 'active' }, { part: 'former' }] })
    expect(keyIds).toEqual(new Set(tokens.keys.map(({ kid }) => kid)))
  },
  FLEET_TEST_MS,
)

async function fetchBundle(url: string, roots: readonly string[]): Promise<{ intermediates: string[] }> {
  const { Agent, request } = await import('undici')
  const dispatcher = new Agent({ connect: { ca: [...roots], servername: 'localhost' } })
  const { body } = await request(`${url}/v1/bundle`, { dispatcher })
  const bundle = (await body.json()) as { intermediates: string[] }
  expect(new X509Certificate(bundle.intermediates[0]!).ca).toBe(true)
  await dispatcher.close()
  return bundle
}
