/** All processes of the first level are killed under load, and others come in their place. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Shop } from '../rigs/shop.ts'
import { Load } from './load.ts'
import { eventually, type Process, Rig } from './rig.ts'

let rig: Rig

beforeEach(() => {
  rig = new Rig()
})

afterEach(async () => {
  await rig.close()
})

test.each([
  ['http', 'service'],
  ['grpc', 'grpc-service'],
] as const)(
  'kill -9 of the first level under %s load costs no idempotent call, there and back',
  async (door, file) => {
    const registry = await rig.registry({ dev: true, lease: '2s' })
    await registry.applyPolicies([
      {
        service: 'inventory',
        timeout: '10s',
        retry: { idempotent: ['shop.Inventory/Get'] },
        failover: [{ zone: 'same' }, { service: 'inventory-eu' }],
      },
    ])
    const start = (service: string, name: string): Promise<Process> =>
      rig.start(file, { mesh: { service, registry: registry.url, stateDir: 'memory', zone: 'a' }, name })
    const [first, second] = await Promise.all([
      start('inventory', 'near-1'),
      start('inventory', 'near-2'),
      start('inventory-eu', 'eu'),
    ])
    const caller = await rig.mesh(registry, 'checkout', { zone: 'a' })
    const http = caller.http('inventory')
    const shop = caller.grpc(Shop, 'inventory').promises
    const recent: string[] = []
    const load = new Load(100, async () => {
      const by = door === 'http' ? await (await http.get('/')).text() : (await shop.get({ sku: 'x' })).sku
      recent.push(String(by))
      if (recent.length > 50) recent.shift()
    })
    rig.onClose(() => load.stop())
    const allBy = (...names: readonly string[]) => recent.length === 50 && recent.every((by) => names.includes(by))
    await eventually('the first level has all calls', () => allBy('near-1', 'near-2'))
    await Promise.all([first.kill(), second.kill()])
    await eventually('the other service has all calls', () => allBy('eu'))
    await start('inventory', 'near-3')
    // In proportion: the killed ones count until discovery is sure that they are gone.
    await eventually('calls are back in the first level', () => recent.filter((by) => by === 'near-3').length > 10)
    await load.stop()
    expect(load.failures).toEqual([])
    expect(load.succeeded).toBeGreaterThan(150)
  },
  120_000,
)
