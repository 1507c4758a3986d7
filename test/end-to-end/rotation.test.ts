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
  readonly connections: number
  readonly renewals: number
}

test('three rotations of 20 s leaves at 200 requests/s fail nothing, and connections move to the new certificates', async () => {
  const registry = await rig.registry({ dev: true, certificateLife: 20_000 })
  await rig.start('service', {
    mesh: { service: 'inventory', registry: registry.url, stateDir: 'memory' },
    serve: { rotationGrace: '2s' },
  })
  const client = await rig.mesh(registry, 'checkout')
  const inventory = client.http('inventory')
  const serials = { caller: new Set<string>(), own: new Set<string>() }
  const most = { early: 0, late: 0 }
  let moved = false
  let last: Seen | undefined
  const load = new Load(200, async () => {
    const response = await inventory.get('/who')
    const seen = await response.json<Seen>()
    if (!response.ok) throw new Error(`status ${response.status}`)
    serials.caller.add(seen.caller)
    serials.own.add(seen.own)
    const phase = moved ? 'late' : 'early'
    most[phase] = Math.max(most[phase], seen.connections)
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
  expect(load.succeeded).toBeGreaterThan(4_000)
  // The first certificate and three more, on both sides, as the other side saw them on the wire.
  expect(serials.caller.size).toBeGreaterThanOrEqual(4)
  expect(serials.own.size).toBeGreaterThanOrEqual(4)
  expect(renewals()).toBeGreaterThanOrEqual(3)
  expect(last!.renewals).toBeGreaterThanOrEqual(3)
  // Old connections go when new ones come.
  expect(most.late).toBeGreaterThan(0)
  expect(most.late).toBeLessThanOrEqual(most.early)
}, 100_000)
