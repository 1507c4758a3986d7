/**
 * Three registries are upgraded one after the other, across one protocol version, while a client
 * sends 100 requests a second.
 */
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Mesh } from '../../src/index.ts'
import { type Member, TestFleet } from '../rigs/fleet.ts'
import { freePort } from '../rigs/free-ports.ts'
import { Load } from './load.ts'
import { endpointsOf } from './observer.ts'
import { countOf, eventually, Rig } from './rig.ts'

let rig: Rig
let fleet: TestFleet

beforeEach(() => {
  rig = new Rig()
  fleet = new TestFleet({ lease: '3s' })
  rig.onClose(() => fleet.close())
})

afterEach(() => rig.close())

test('a rolling upgrade of three registries to the next protocol loses no call and no instance', async () => {
  const registries: Member[] = []
  for (const name of ['a1', 'b1', 'c1']) registries.push(await fleet.start(name, 1, await freePort()))
  const urls = registries.map(({ registry }) => registry.url)
  const join = (service: string): Promise<Mesh> => rig.join({ service, registry: urls })
  const servers = await Promise.all(['stock', 'stock', 'stock'].map(join))
  for (const server of servers) await server.serve((_req, res) => res.end('ok'), { host: '127.0.0.1' })
  const client = await join('shop')
  const stock = client.http('stock')
  const listed = (): number => endpointsOf(client, 'stock')
  await eventually('the client knows all instances', () => listed() === servers.length)
  const least: number[] = []
  const watching = setInterval(() => least.push(listed()), 20)
  const load = new Load(100, async () => {
    const response = await stock.get('/')
    if (!response.ok) throw new Error(`status ${response.status}`)
    await response.text()
  })
  for (const [i, name] of ['a2', 'b2', 'c2'].entries()) {
    const { registry } = registries[i]!
    const { port } = registry
    await registry.close()
    registries[i] = await fleet.start(name, 2, port)
    // Longer than a lease, so that an instance without a session would expire.
    await new Promise((resolve) => setTimeout(resolve, 4_000))
    await eventually('all have sessions', () => {
      const sessions = registries.reduce((sum, one) => sum + one.registry.counts.sessions, 0)
      return sessions >= servers.length + 1
    })
  }
  await load.stop()
  clearInterval(watching)
  expect(load.failures).toEqual([])
  expect(load.succeeded).toBeGreaterThan(500)
  expect(Math.min(...least)).toBe(servers.length)
  for (const mesh of servers) expect(countOf(mesh, 'instance:unlisted')).toBe(0)
}, 120_000)
