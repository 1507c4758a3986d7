/** The plugins in a real mesh: failing dependencies, drains, forwarded addresses. */
import { createServer } from 'node:http'
import express from 'express'
import fastify from 'fastify'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { systemClock } from '../../src/core/clock.ts'
import { meshErrorHandler, meshMiddleware } from '../../src/frameworks/express.ts'
import * as ofFastify from '../../src/frameworks/fastify.ts'
import type { Mesh } from '../../src/mesh/mesh.ts'
import { startTestMesh, type TestMesh } from '../../src/testing/index.ts'

let testMesh: TestMesh
let checkout: Mesh
beforeAll(async () => {
  const breaker = { service: 'broken', circuitBreaker: { minimumCalls: 1, resetAfter: '30s' }, retry: { attempts: 1 } }
  testMesh = await startTestMesh({ policies: [breaker] })
  checkout = await testMesh.join('checkout')
})
afterAll(() => testMesh.close())

it('each failure of a dependency reaches the caller as what it is: late, or an open circuit', async () => {
  await testMesh.serve(
    'broken',
    createServer((_request, response) => void response.writeHead(500).end()),
  )
  const shop = await testMesh.join('shop')
  const app = express()
  app.use(meshMiddleware({ mesh: shop }))
  app.get('/open', async (_request, response) => {
    for (let i = 0; i < 5; i++) await shop.fetch('http://broken/')
    response.end()
  })
  app.get('/late', async (_request, response) => {
    await shop.fetch('http://nowhere/', { timeout: '100ms' })
    response.end()
  })
  app.use(meshErrorHandler())
  await shop.serve(app)

  const asked = async (path: string) => {
    const response = await checkout.fetch(`http://shop${path}`, { retry: false })
    return [response.status, ((await response.json()) as { type: string }).type, response.headers.get('retry-after')]
  }
  expect(await asked('/late')).toEqual([504, 'urn:inmesh:problem:dependency-timeout', null])
  const [status, type, retryAfter] = await asked('/open')
  expect([status, type]).toEqual([503, 'urn:inmesh:problem:dependency-unavailable'])
  expect(Number(retryAfter)).toBeGreaterThan(20)
})

it('believes no forwarded address for who asks, whatever the application trusts', async () => {
  const proxied = await testMesh.join('proxied')
  const app = express()
  app.set('trust proxy', true)
  app.use(meshMiddleware())
  app.get('/', (request, response) => void response.json([request.ip, request.call?.peer?.service]))
  await proxied.serve(app)
  const headers = { 'x-forwarded-for': '203.0.113.7', 'inmesh-peer': 'root' }
  expect(await (await checkout.fetch('http://proxied/', { headers })).json()).toEqual(['203.0.113.7', 'checkout'])
})

it('a Fastify application that closes leaves the mesh first: requests under way and new ones are answered', async () => {
  const order: string[] = []
  const leaving = await testMesh.join('leaving', { drainNotice: '20s', drainTimeout: '50s' })
  const app = fastify()
  await app.register(ofFastify.meshPlugin, { mesh: leaving })
  // Once more, in an inner instance.
  app.register(async (inner) => void (await inner.register(ofFastify.meshPlugin, {})))
  app.addHook('preClose', async () => void order.push(`preClose ${server.stats.inFlight}`))
  app.addHook('onClose', async () => void order.push('onClose'))
  let finish = (): void => {}
  app.get('/slow', async () => {
    await new Promise<void>((resolve) => {
      finish = resolve
    })
    order.push('answered')
    return 'slow'
  })
  app.get('/', async () => 'quick')
  const server = await leaving.serve(app)

  const slow = checkout.fetch('http://leaving/slow')
  await expect.poll(() => server.stats.inFlight).toBe(1)
  // It opens a connection that the next request finds, however late a busy machine would open one.
  expect(await (await checkout.fetch('http://leaving/')).text()).toBe('quick')
  const closing = app.close()
  // Callers that have not heard of it yet are served as before.
  expect(await (await checkout.fetch('http://leaving/', { timeout: '50s' })).text().catch(String)).toBe('quick')
  finish()
  expect(await (await slow).text()).toBe('slow')
  await closing
  expect(order).toEqual(['answered', 'preClose 0', 'onClose'])
  await app.close()
  expect(leaving.state).toBe('ready')
  await leaving.close()
  expect(leaving.state).toBe('closed')
})

it('a mesh that closes closes the Fastify application last, and both may be asked at once', async () => {
  const closing = await testMesh.join('closing')
  const app = fastify()
  await app.register(ofFastify.meshPlugin, { mesh: closing })
  let closed = 0
  app.addHook('onClose', async () => void closed++)
  await closing.serve(app)
  await closing.serve(app, { port: 0 })
  const startedAt = systemClock.now()
  systemClock.stalledMsSince(startedAt)
  await Promise.all([closing.close(), app.close(), closing.close()])
  expect([closed, closing.state]).toEqual([1, 'closed'])
  // Neither waits for the other until its bound (5 s).
  expect(systemClock.now() - startedAt - systemClock.stalledMsSince(startedAt)).toBeLessThan(4_500)
})
