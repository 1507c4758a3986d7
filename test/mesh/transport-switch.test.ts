/** A document switches the transport of a service under traffic: no call is lost. */
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { Instance } from '../../src/discovery/instance.ts'
import { currentCall, type Mesh } from '../../src/index.ts'
import type { Registry } from '../../src/registry/index.ts'
import { eventually, Rig } from '../end-to-end/rig.ts'
import { request } from '../rigs/registry-session.ts'
import { Shop, type ShopHandlers, shopServer } from '../rigs/shop.ts'

let rig: Rig
let registry: Registry
let server: Mesh
let client: Mesh
/** Ends the answer to /long. */
let finish: () => void

beforeEach(async () => {
  rig = new Rig()
  registry = await rig.registry({ memory: true, dev: true })
  server = await rig.mesh(registry, 'inventory', { transport: 'auto' })
  await server.serve(
    (incoming, response) => {
      const { transport } = currentCall()!
      if (incoming.url !== '/long') response.end(transport)
      else {
        response.write(`${transport} `)
        finish = () => response.end('to its end')
      }
    },
    { host: '127.0.0.1', port: 0 },
  )
  const Get: ShopHandlers['Get'] = (_call, answer) => answer(null, { sku: currentCall()!.transport! })
  await server.serveGrpc(shopServer({ Get }), { host: '127.0.0.1', port: 0 })
  client = await rig.mesh(registry, 'checkout', { transport: 'auto' })
})

afterEach(() => rig.close())

const carrying = async (mesh = client): Promise<string> => (await mesh.http('inventory').get('/')).text()
const carryingGrpc = async (): Promise<string> => (await client.grpc(Shop, 'inventory').promises.get({ sku: 'a' })).sku!

async function announced(): Promise<boolean[]> {
  const { json } = await request(registry, 'GET', '/v1/services/inventory', { admin: true })
  return json.instances.map(({ transports }: Instance) => transports!.includes('inmesh/1'))
}

/** Calls without a pause until the service is called over `transport`; each call succeeds. */
async function until(transport: string, carried: () => Promise<string>): Promise<void> {
  await eventually(`calls over ${transport}`, async () => (await carried()) === transport)
}

it('to http1 and back, in clients, servers and what is announced', async () => {
  expect([await carrying(), await carryingGrpc()]).toEqual(['inmesh/1', 'inmesh/1'])
  expect(await announced()).toEqual([true, true])
  const long = await client.http('inventory').get('/long')

  await registry.applyPolicies([{ service: 'inventory', transport: 'http1' }])
  await until('http/1.1', carrying)
  await until('h2', carryingGrpc)
  await eventually('servers announce it', async () => (await announced()).every((offers) => !offers))
  // A process that prefers another does not count against the document.
  expect(await carrying(await rig.mesh(registry, 'audit', { transport: 'auto' }))).toBe('http/1.1')
  finish()
  expect(await long.text()).toBe('inmesh/1 to its end')

  await registry.applyPolicies([{ service: 'inventory', transport: 'auto' }])
  await until('inmesh/1', carrying)
  await until('inmesh/1', carryingGrpc)
  expect(await announced()).toEqual([true, true])
})

it('a process that prefers http1 is served beside those that do not', async () => {
  const other = await rig.mesh(registry, 'audit', { transport: 'http1' })
  expect([await carrying(other), await carrying()]).toEqual(['http/1.1', 'inmesh/1'])
  const explained = await other.explain({ service: 'inventory' })
  expect(explained.policies.find(({ key }) => key === 'transport')).toMatchObject({ value: 'http1', from: 'default' })
})
