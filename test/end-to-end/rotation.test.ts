/**
 * Certificates with a life of 20 s under load between two processes: three rotations, and no
 * request is affected.
 */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Load } from './load.ts'
import { Rig, wait } from './rig.ts'

let rig: Rig

beforeEach(() => {
  rig = new Rig()
})

afterEach(async () => {
  await rig.close()
})

interface Seen {
  readonly caller: string
  readonly own: string
  readonly renewals: number
}

test('three rotations of 20 s leaves at 100 requests/s fail nothing, and connections move to the new certificates', async () => {
  const registry = await rig.registry({ dev: true, certificateLife: 20_000 })
  // There is no other server to go to while this one has no turn to run.
  await registry.applyPolicies([{ service: 'inventory', timeout: '30s', retry: { perTryTimeout: '20s' } }])
  await rig.start('service', {
    mesh: { service: 'inventory', registry: registry.url, stateDir: 'memory' },
    serve: { rotationGrace: '2s' },
  })
  const client = await rig.mesh(registry, 'checkout')
  const inventory = client.http('inventory')
  const serials = { caller: new Set<string>(), own: new Set<string>() }
  /** Those of the last moments. */
  const late = { caller: new Set<string>(), own: new Set<string>() }
  let moved = false
  let last: Seen | undefined
  const load = new Load(100, async () => {
    const response = await inventory.get('/who')
    const seen = await response.json<Seen>()
    if (!response.ok) throw new Error(`status ${response.status}`)
    serials.caller.add(seen.caller)
    serials.own.add(seen.own)
    if (moved) {
      late.caller.add(seen.caller)
      late.own.add(seen.own)
    }
    last = seen
  })
  rig.onClose(() => load.stop())
  // At the latest after 75 % of a life each, and a moment for the connections to move.
  const renewals = (): number => client.events().filter(({ name }) => name === 'identity:renewed').length
  const until = performance.now() + 70_000
  while (performance.now() < until && !(serials.caller.size >= 4 && serials.own.size >= 4)) await wait(250)
  await wait(3_000)
  moved = true
  await wait(2_000)
  await load.stop()

  expect(load.failures).toEqual([])
  expect(load.succeeded).toBeGreaterThan(1_500)
  // The first certificate and three more, on both sides, as the other side saw them on the wire.
  expect(serials.caller.size).toBeGreaterThanOrEqual(4)
  expect(serials.own.size).toBeGreaterThanOrEqual(4)
  expect(renewals()).toBeGreaterThanOrEqual(3)
  expect(last!.renewals).toBeGreaterThanOrEqual(3)
  // Old connections go when new ones come; in the last moments there may be another renewal.
  for (const side of ['caller', 'own'] as const) {
    expect(late[side].size).toBeGreaterThan(0)
    expect([...serials[side]].slice(-2)).toEqual(expect.arrayContaining([...late[side]]))
  }
}, 150_000)
