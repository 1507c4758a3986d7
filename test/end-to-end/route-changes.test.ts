/** Weights that change under load, and routes that go on without a registry. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Mesh } from '../../src/index.ts'
import type { Registry } from '../../src/registry/index.ts'
import { Load } from './load.ts'
import { eventually, Rig } from './rig.ts'

let rig: Rig

beforeEach(() => {
  rig = new Rig()
})

afterEach(async () => {
  await rig.close()
})

const MESH = { service: 'mesh', defaultIntention: 'allow' }

function weights(blue: number, green: number): object[] {
  const split = [
    { to: 'blue', weight: blue },
    { to: 'green', weight: green },
  ]
  const subsets = { blue: { version: 'v1' }, green: { version: 'v2' } }
  return [MESH, { service: 'inventory', subsets, routes: [{ name: 'all', split }] }]
}

async function serveVersions(registry: Registry): Promise<void> {
  for (const version of ['v1', 'v2']) {
    const server = await rig.mesh(registry, 'inventory', { version })
    await server.serve((_request, response) => void response.end(version))
  }
}

const ask = async (caller: Mesh): Promise<string> => (await caller.http('inventory').get('/')).text()

test('weights change under load in every process, and no request fails', async () => {
  const registry = await rig.registry()
  await registry.applyPolicies(weights(1, 0))
  await serveVersions(registry)
  const callers = await Promise.all([1, 2, 3].map((i) => rig.mesh(registry, `caller-${i}`)))
  for (const caller of callers) expect(await ask(caller)).toBe('v1')
  /** Answers to requests that began since the last change, by caller. */
  let since = callers.map(() => new Map<string, number>())
  const load = new Load(200, async (number) => {
    const i = number % callers.length
    const counted = since[i]!
    const by = await ask(callers[i]!)
    counted.set(by, (counted.get(by) ?? 0) + 1)
  })
  rig.onClose(() => load.stop())
  for (const [blue, green] of [
    [1, 1],
    [0, 1],
    [3, 1],
    [1, 0],
  ] as const) {
    await registry.applyPolicies(weights(blue, green))
    const expected = [...(blue > 0 ? ['v1'] : []), ...(green > 0 ? ['v2'] : [])]
    // What began before the change may still be on its way: counts anew until only the new weights
    // are seen.
    await eventually(`every process splits ${blue} to ${green}`, async () => {
      since = callers.map(() => new Map())
      const counted = since
      await eventually('50 answers each', () =>
        counted.every((by) => [...by.values()].reduce((a, b) => a + b, 0) >= 20),
      )
      return counted.every((by) => [...by.keys()].sort().join() === expected.join())
    })
    const shares = since.map((by) => (by.get('v2') ?? 0) / ((by.get('v1') ?? 0) + (by.get('v2') ?? 0)))
    // Turns are exact where calls begin; of those in flight, a faster instance answers more.
    for (const share of shares) expect(Math.abs(share - green / (blue + green))).toBeLessThan(0.3)
  }
  await load.stop()
  expect(load.failures).toEqual([])
  expect(load.succeeded).toBeGreaterThan(100)
})

test('without a registry, routes stay as they were switched last, also after a restart', async () => {
  const registry = await rig.registry({ dataDir: rig.path('registry') })
  await registry.applyPolicies(weights(1, 0))
  await serveVersions(registry)
  const stateDir = rig.path('caller')
  const joinToken = await registry.createJoinToken({ service: 'caller' })
  const member = { service: 'caller', registry: registry.url, joinToken, stateDir }
  const caller = await rig.join(member)
  expect(await ask(caller)).toBe('v1')
  await registry.applyPolicies(weights(0, 1))
  await eventually('the switch is in force', async () => (await ask(caller)) === 'v2')
  await registry.close()
  for (let i = 0; i < 20; i++) expect(await ask(caller)).toBe('v2')
  await caller.close()
  const again = await rig.join(member)
  for (let i = 0; i < 20; i++) expect(await ask(again)).toBe('v2')
})

test('a process that runs for a moment follows the newest document, not that of its last run', async () => {
  const registry = await rig.registry()
  await registry.applyPolicies(weights(1, 0))
  await serveVersions(registry)
  const joinToken = await registry.createJoinToken({ service: 'job', uses: 3 })
  const member = { service: 'job', registry: registry.url, joinToken, stateDir: rig.path('job') }
  for (const [blue, green, expected] of [
    [1, 0, 'v1'],
    [0, 1, 'v2'],
    [1, 0, 'v1'],
  ] as const) {
    await registry.applyPolicies(weights(blue, green))
    const job = await rig.join(member)
    expect(await ask(job)).toBe(expected)
    await job.close()
  }
})
