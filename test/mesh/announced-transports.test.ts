/**
 * Servers announce the transports that they offer, and versions that know of none mix with those
 * that do.
 */
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { Instance } from '../../src/discovery/instance.ts'
import { currentCall, type Mesh } from '../../src/index.ts'
import { QUICK, Rig } from '../end-to-end/rig.ts'
import { instance } from '../rigs/instance.ts'
import { request, TestSession } from '../rigs/registry-session.ts'
import { ScriptedRegistry } from '../rigs/scripted-registry.ts'
import { Shop, type ShopHandlers, shopServer } from '../rigs/shop.ts'
import { parseMetrics, sampleOf } from '../telemetry/parse-metrics.ts'

let rig: Rig

beforeEach(() => {
  rig = new Rig()
})

afterEach(() => rig.close())

const LOOPBACK = { host: '127.0.0.1', port: 0 }
const hello = (_request: unknown, response: { end(text: string): void }): void => response.end('hello')

async function listed(mesh: Mesh): Promise<unknown[]> {
  const { targets } = await mesh.explain({ service: 'inventory' })
  return targets[0]!.endpoints.map(({ transports }) => transports)
}

it('an HTTP and a gRPC server are listed with what each offers', async () => {
  const registry = await rig.registry({ memory: true, dev: true })
  const mesh = await rig.mesh(registry, 'inventory')
  await mesh.serve(hello, LOOPBACK)
  await mesh.serveGrpc(shopServer({}), LOOPBACK)
  const { json } = await request(registry, 'GET', '/v1/services/inventory', { admin: true })
  const offers = Object.fromEntries(json.instances.map((one: Instance) => [one.protocol, one.transports]))
  expect(offers.http).toContain('http/1.1')
  expect(offers.grpc).toContain('h2')
  expect((await listed(await rig.mesh(registry, 'checkout')))[0]).toEqual(offers.http)
})

it('metrics and handlers on both sides say what carried a call', async () => {
  const registry = await rig.registry({ memory: true, dev: true })
  const mesh = await rig.mesh(registry, 'inventory', { transport: 'http1' })
  await mesh.serve((_request, response) => response.end(currentCall()!.transport), LOOPBACK)
  const Get: ShopHandlers['Get'] = (_call, answer) => answer(null, { sku: currentCall()!.transport! })
  await mesh.serveGrpc(shopServer({ Get }), LOOPBACK)
  const checkout = await rig.mesh(registry, 'checkout')
  expect(await (await checkout.http('inventory').get('/')).text()).toBe('http/1.1')
  expect((await checkout.grpc(Shop, 'inventory').promises.get({ sku: 'a' })).sku).toBe('h2')
  const client = parseMetrics(checkout.metrics())
  for (const transport of ['http/1.1', 'h2']) {
    const labels = { service: 'checkout', peer: 'inventory', transport }
    expect(sampleOf(client, 'inmesh_client_transport_attempts_total', labels)).toBe(1)
    const inbound = { service: 'inventory', peer: 'checkout', transport }
    await expect
      .poll(() => sampleOf(parseMetrics(mesh.metrics()), 'inmesh_server_transport_requests_total', inbound))
      .toBe(1)
  }
})

it('an instance of an older version is called like any other, and one of a later version, too', async () => {
  const registry = await rig.registry({ memory: true, dev: true })
  const mesh = await rig.mesh(registry, 'inventory')
  const server = await mesh.serve(hello, LOOPBACK)
  const checkout = await rig.mesh(registry, 'checkout')
  expect(await (await checkout.http('inventory').get('/')).text()).toBe('hello')
  await mesh.serve(hello, LOOPBACK)
  const session = await TestSession.open(registry, 'inventory')
  for (const transports of [undefined, ['inmesh/9']]) {
    const { port } = server
    await session.ask({ type: 'register', instance: instance('inventory', 'other', { port, transports }) })
    await expect.poll(() => listed(checkout)).toContainEqual(transports ?? null)
    for (let i = 0; i < 4; i++) expect(await (await checkout.http('inventory').get('/')).text()).toBe('hello')
  }
  session.close()
})

it('a registry of an older version drops what it does not know, and calls go on', async () => {
  const registry = await new OlderRegistry().listen()
  rig.onClose(() => registry.close())
  const join = (service: string) => rig.join({ service, registry: registry.url, ...QUICK })
  const mesh = await join('inventory')
  await mesh.serve(hello, LOOPBACK)
  await mesh.serveGrpc(shopServer({ Get: (_call, answer) => answer(null, { sku: 'a' }) }), LOOPBACK)
  expect(registry.dropped).toHaveLength(2)
  const checkout = await join('checkout')
  expect(await (await checkout.http('inventory').get('/')).text()).toBe('hello')
  expect((await checkout.grpc(Shop, 'inventory').promises.get({ sku: 'a' })).sku).toBe('a')
  expect(await listed(checkout)).toEqual([null])
})

class OlderRegistry extends ScriptedRegistry {
  readonly dropped: unknown[] = []

  override put({ transports, ...known }: Instance): void {
    this.dropped.push(transports)
    super.put(known)
  }
}
