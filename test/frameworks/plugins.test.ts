/** What the plugins of all frameworks have in common. */

import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import type { MeshState } from '../../src/core/mesh-state.ts'
import { OptionsError } from '../../src/options/fields.ts'
import type { HttpHandler } from '../../src/server/http/application.ts'
import { type Answer, ask, authority, clientOf, serve } from '../server/rig.ts'
import { APPS, type Make, OPEN, type Plugged } from './apps.ts'

const SECRETS = /10\.0\.0\.7|inventory|circuit/

async function portOf(handler: HttpHandler, mode: 'plaintext' | 'strict' = 'plaintext'): Promise<number> {
  const { server } = await serve(handler, { mode })
  return server.port
}

const essence = ({ status, headers, body }: Answer): object => ({
  status,
  body,
  type: headers['content-type'],
  cors: headers['access-control-allow-origin'],
})

describe.each(APPS)('%s', (_name, make) => {
  // Hono and Koa print errors that they answer with 500.
  const quietly = (): void => {
    const spy = vi.spyOn(console, 'error').mockImplementation(() => {})
    onTestFinished(() => spy.mockRestore())
  }
  const mesh: { state: MeshState } = { state: 'ready' }

  it('answers an error of the mesh with its status and a problem document that names nothing inside', async () => {
    const port = await portOf(make({}))
    for (const path of ['/throws/mesh', '/throws/wrapped']) {
      const { status, headers, body } = await ask(port, { path })
      expect(JSON.parse(body)).toEqual({
        type: 'urn:inmesh:problem:dependency-unavailable',
        title: 'A service that this one needs is unavailable',
        status: 503,
      })
      expect(status).toBe(503)
      expect(headers).toMatchObject({
        'content-type': 'application/problem+json',
        'retry-after': '3',
        'access-control-allow-origin': '*',
      })
      expect([headers.etag, headers['content-encoding'], headers['inmesh-not-executed']]).toEqual(
        Array(3).fill(undefined),
      )
      expect(body + JSON.stringify(headers)).not.toMatch(SECRETS)
    }
    expect(await ask(port, { path: '/rejects' })).toMatchObject({ status: 503 })
  })

  it('answers HEAD with the same head and no body', async () => {
    const port = await portOf(make({}))
    const { status, headers, body } = await ask(port, { method: 'HEAD', path: '/throws/mesh' })
    expect({ status, body }).toEqual({ status: 503, body: '' })
    expect(headers).toMatchObject({ 'content-type': 'application/problem+json', 'retry-after': '3' })
  })

  it('shows the message with `expose`', async () => {
    const port = await portOf(make({ expose: true }))
    const { body } = await ask(port, { path: '/throws/mesh' })
    expect(JSON.parse(body)).toMatchObject({ detail: OPEN.message, code: 'circuit-open', service: 'inventory' })
  })

  it("leaves every other error, and one that has a status, to the framework's own way", async () => {
    quietly()
    const [bare, plugged] = [await portOf(make(undefined)), await portOf(make({}))]
    for (const path of ['/throws/own', '/throws/status', '/nowhere', '/echo']) {
      const answer = essence(await ask(plugged, { path }))
      expect(answer).toEqual(essence(await ask(bare, { path })))
    }
    const broken = { method: 'POST', path: '/echo', headers: { 'content-type': 'application/json' }, body: '{' }
    expect(essence(await ask(plugged, broken))).toEqual(essence(await ask(bare, broken)))
  })

  it('cuts an answer that has begun, and the next request is served', async () => {
    quietly()
    const port = await portOf(make({}))
    await expect(ask(port, { path: '/late' })).rejects.toThrow()
    const echoed = { method: 'POST', path: '/echo', headers: { 'content-type': 'application/json' }, body: '{"a":1}' }
    expect(await ask(port, echoed)).toMatchObject({ status: 200, body: '{"a":1}' })
  })

  it('shows the call to the request, also where the async context is lost', async () => {
    const port = await portOf(make({}), 'strict')
    const as = clientOf('checkout')
    const { body } = await ask(port, { path: '/call', as })
    expect(JSON.parse(body)).toEqual({ method: 'GET', peer: 'checkout' })
    expect(authority).toBeDefined()
  })

  it('shows each of many requests at once its call', async () => {
    const port = await portOf(make({}), 'strict')
    const services = ['checkout', 'audit', 'web']
    const answers = await Promise.all(
      Array.from({ length: 30 }, (_, i) => ask(port, { path: '/call', as: clientOf(services[i % 3]!) })),
    )
    expect(answers.map(({ body }) => (JSON.parse(body) as { peer: string }).peer)).toEqual(
      Array.from({ length: 30 }, (_, i) => services[i % 3]),
    )
  })

  it('has no call for a request that did not come through the mesh, and answers errors alike', async () => {
    const handler = make({ mesh })
    const app = handler as FastifyInstance
    if (typeof app.ready === 'function') {
      await app.ready()
      onTestFinished(() => app.close())
    }
    const listener = typeof app.routing === 'function' ? app.routing : (handler as RequestListener)
    const plain = createServer(listener).listen(0, '127.0.0.1')
    onTestFinished(() => void plain.close())
    await once(plain, 'listening')
    const base = `http://127.0.0.1:${(plain.address() as AddressInfo).port}`
    expect(await (await fetch(`${base}/call`)).json()).toEqual({ method: null, peer: null })
    expect((await fetch(`${base}/throws/mesh`)).status).toBe(503)
    expect(await (await fetch(`${base}/readyz`)).text()).toBe('ready\n')
  })

  it('answers probes by the state of the mesh and its check, whose errors it keeps', async () => {
    let check: unknown = true
    const failing = (): unknown => {
      if (check instanceof Error) throw check
      return typeof check === 'function' ? (check as () => unknown)() : check
    }
    const state = { state: 'starting' as MeshState }
    const port = await portOf(make({ mesh: state, check: failing, readyz: '/health/ready' }))
    const probe = async (path: string, method = 'GET') => {
      const { status, body, headers } = await ask(port, { path, method })
      return [status, body, headers['cache-control']]
    }
    expect(await probe('/livez')).toEqual([200, 'ok\n', 'no-store'])
    expect(await probe('/health/ready')).toEqual([503, 'starting\n', 'no-store'])
    state.state = 'ready'
    expect(await probe('/health/ready?verbose')).toEqual([200, 'ready\n', 'no-store'])
    expect(await probe('/health/ready', 'HEAD')).toEqual([200, '', 'no-store'])
    check = false
    expect(await probe('/health/ready')).toEqual([503, 'check returned false\n', 'no-store'])
    check = new Error('password of the database')
    expect(await probe('/health/ready')).toEqual([503, 'check failed\n', 'no-store'])
    check = () => Promise.reject(new Error('password'))
    expect(await probe('/health/ready')).toEqual([503, 'check failed\n', 'no-store'])
    check = new Promise(() => {})
    expect(await probe('/health/ready')).toEqual([503, 'check took longer than 2000 ms\n', 'no-store'])
    check = undefined
    expect((await probe('/health/ready'))[0]).toBe(200)
    state.state = 'closing'
    expect(await probe('/health/ready')).toEqual([503, 'closing\n', 'no-store'])
    expect((await probe('/livez'))[0]).toBe(200)
    expect((await probe('/readyz'))[0]).toBe(404)
    expect((await probe('/health/ready', 'POST'))[0]).toBe(404)
  })

  it('has no routes for probes without `mesh`, and none that is switched off', async () => {
    const bare = await portOf(make({}))
    expect((await ask(bare, { path: '/livez' })).status).toBe(404)
    const half = await portOf(make({ mesh, livez: false }))
    expect((await ask(half, { path: '/livez' })).status).toBe(404)
    expect((await ask(half, { path: '/readyz' })).status).toBe(200)
  })

  it.each([
    [{ mesh: {} }, /mesh: expected the result of joinMesh\(\)/],
    [{ livez: 'livez' }, /livez: expected a path that begins with '\/'/],
    [{ readyz: '/ready?x' }, /readyz/],
    [{ check: true }, /check: expected a function/],
    [{ health: '/h' }, /health: unknown key/],
  ])('refuses %j with what would be valid', async (options, message) => {
    const making = async () => {
      const app = make(options as Plugged) as { ready?: () => Promise<unknown> }
      await app.ready?.()
    }
    await expect(making()).rejects.toThrow(OptionsError)
    await expect(making()).rejects.toThrow(message)
  })
})

it.each(APPS.filter(([name]) => name !== 'Koa'))('%s refuses a wrong `expose`', (_name, make: Make) => {
  expect(() => make({ expose: 'yes' as unknown as boolean })).toThrow(/expose/)
})
