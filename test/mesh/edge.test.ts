/** A service that browsers call in plaintext, in a mesh that denies by default. */
import { afterEach, beforeEach, expect, it } from 'vitest'
import { currentCall } from '../../src/index.ts'
import type { Registry } from '../../src/registry/index.ts'
import { Rig } from '../end-to-end/rig.ts'

const TRACE = '0af7651916cd43dd8448eb211c80319c'

let rig: Rig
let registry: Registry

beforeEach(async () => {
  rig = new Rig()
  registry = await rig.registry({ memory: true })
  await registry.applyPolicies([
    { service: 'edge', allow: [{ from: '*', unauthenticated: true, methods: ['GET'], paths: ['/shop/*'] }] },
    { service: 'inventory', allow: [{ from: 'edge' }] },
  ])
})
afterEach(() => rig.close())

it('takes what its rule says from callers without identity, and goes on with their trace', async () => {
  const inventory = await rig.mesh(registry, 'inventory')
  await inventory.serve((_request, response) => response.end(currentCall()?.trace?.traceId), { host: '127.0.0.1' })
  const edge = await rig.mesh(registry, 'edge')
  const { port } = await edge.serve(
    async (_request, response) => {
      const peer = currentCall()?.peer?.service ?? 'unknown'
      response.end(`${peer} ${await (await edge.fetch('http://inventory/')).text()}`)
    },
    { host: '127.0.0.1', mode: 'plaintext' },
  )
  const ask = (path: string, method = 'GET') =>
    fetch(`http://127.0.0.1:${port}${path}`, { method, headers: { traceparent: `00-${TRACE}-b7ad6b7169203331-01` } })
  expect(await (await ask('/shop/42')).text()).toBe(`unknown ${TRACE}`)
  expect((await ask('/shop/42', 'POST')).status).toBe(403)
  expect((await ask('/metrics')).status).toBe(403)
})

it('answers for the whole notice while it drains, because a load balancer watches no registry', async () => {
  const edge = await rig.mesh(registry, 'edge', { drainNotice: '5s' })
  const { port } = await edge.serve((_request, response) => response.end('ok'), {
    host: '127.0.0.1',
    mode: 'plaintext',
  })
  const ask = () => fetch(`http://127.0.0.1:${port}/shop/42`)
  expect((await ask()).status).toBe(200)
  const at = performance.now()
  const closed = edge.close().then(() => performance.now() - at)
  await expect.poll(() => edge.state).toBe('closing')
  const { status, headers } = await ask()
  expect([status, headers.get('connection')]).toEqual([200, 'close'])
  expect(await closed).toBeGreaterThan(4_900)
  await expect(ask()).rejects.toThrow()
})
