/**
 * POSTs without an idempotency key while servers are killed with -9: none runs twice, and every
 * error is accurate.
 */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { isMeshError } from '../../src/index.ts'
import { Load } from './load.ts'
import { type Process, Rig } from './rig.ts'

let rig: Rig

beforeEach(() => {
  rig = new Rig()
})

afterEach(async () => {
  await rig.close()
})

test('no POST is executed twice when servers are killed, and only one that may have been executed fails', async () => {
  const registry = await rig.registry({ dev: true, lease: '5s' })
  // In turn, so that each server has calls in flight.
  await registry.applyPolicies([{ service: 'inventory', balancer: 'round-robin' }])
  const start = (name: string): Promise<Process> =>
    rig.start('service', {
      mesh: { service: 'inventory', registry: registry.url, stateDir: 'memory' },
      log: rig.path('executed'),
      // So that a kill finds several that were executed and not answered.
      workMs: 100,
      name,
    })
  const servers = await Promise.all(['a', 'b', 'c'].map((name) => start(name)))
  const client = await rig.mesh(registry, 'checkout')
  const inventory = client.http('inventory')

  const outcomes = new Map<string, 'answered' | { sent: boolean; code: string }>()
  const load = new Load(150, async (number) => {
    const id = `id-${number}`
    try {
      const response = await inventory.post('/', id)
      await response.text()
      if (!response.ok) throw new Error(`${id}: status ${response.status}`)
      outcomes.set(id, 'answered')
    } catch (error) {
      if (!isMeshError(error)) throw error
      outcomes.set(id, { sent: error.sent, code: error.code })
    }
  })
  await load.succeeds(200)
  let inFlight = await load.inFlightAtEndOf(servers[0]!)
  await load.succeeds(200)
  servers.push(await start('d'))
  await load.succeeds(100)
  inFlight += await load.inFlightAtEndOf(servers[1]!)
  await load.succeeds(200)
  await load.stop()

  expect(load.failures).toEqual([])
  const executed = rig.lines('executed')
  const twice = executed.filter((id, i) => executed.indexOf(id) !== i)
  expect(twice).toEqual([])
  const ran = new Set(executed)
  const answered = [...outcomes].filter(([, how]) => how === 'answered').map(([id]) => id)
  expect(answered.filter((id) => !ran.has(id))).toEqual([])
  const failed = [...outcomes].filter(
    (entry): entry is [string, { sent: boolean; code: string }] => entry[1] !== 'answered',
  )
  // What certainly was not executed has other servers to go to, so it does not fail.
  expect(failed.filter(([, how]) => !how.sent)).toEqual([])
  expect(failed.map(([, how]) => how.code).filter((code) => code !== 'connection-lost')).toEqual([])
  // Two kills, each of a third of the calls in flight; more would be calls that went on to dead
  // servers.
  expect(failed.length).toBeGreaterThan(0)
  expect(failed.length).toBeLessThanOrEqual(inFlight)
  expect(answered.length).toBeGreaterThan(400)
}, 120_000)
