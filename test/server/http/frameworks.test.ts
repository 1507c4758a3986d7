import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { getRequestListener } from '@hono/node-server'
import express from 'express'
import Fastify from 'fastify'
import { Hono } from 'hono'
import { describe, expect, it, onTestFinished } from 'vitest'
import { OptionsError } from '../../../src/options/fields.ts'
import { currentCall } from '../../../src/server/current-call.ts'
import type { HttpHandler } from '../../../src/server/http/application.ts'
import { scanHeaders } from '../../../src/server/http/headers.ts'
import { ask, http1Only, pause, serve } from '../rig.ts'

async function expressApp(): Promise<HttpHandler> {
  const app = express()
  app.use(express.json())
  app.post('/items/:id', async (request, response) => {
    await pause(1)
    const { signal, method } = currentCall()!
    response.set('Inmesh-Not-Executed', 'x').json({
      id: request.params.id,
      got: request.body,
      method,
      aborted: signal.aborted,
      distinct: request.headersDistinct['inmesh-peer'],
    })
  })
  app.get('/slow', (_request, response) => setTimeout(() => response.json({ late: true }), 100))
  return app
}

async function fastifyApp(): Promise<HttpHandler> {
  const app = Fastify()
  onTestFinished(() => app.close())
  app.post<{ Params: { id: string } }>('/items/:id', async (request, reply) => {
    await pause(1)
    const { signal, method } = currentCall()!
    reply.header('Inmesh-Not-Executed', 'x')
    return { id: request.params.id, got: request.body, method, aborted: signal.aborted }
  })
  app.get('/slow', async () => {
    await pause(100)
    return { late: true }
  })
  return app
}

async function honoApp(): Promise<HttpHandler> {
  const app = new Hono()
  app.post('/items/:id', async (context) => {
    const got: unknown = await context.req.json()
    const { signal, method } = currentCall()!
    context.header('Inmesh-Not-Executed', 'x')
    return context.json({ id: context.req.param('id'), got, method, aborted: signal.aborted })
  })
  app.get('/slow', async (context) => {
    await pause(100)
    return context.json({ late: true })
  })
  return getRequestListener(app.fetch, { overrideGlobalObjects: false })
}

describe.each([
  ['Express 5', expressApp],
  ['Fastify 5', fastifyApp],
  ['Hono', honoApp],
])('%s', (_name, make) => {
  it('answers, with the current call in reach after an await', async () => {
    const { server } = await serve(await make())
    const headers = { 'content-type': 'application/json', 'inmesh-peer': 'root' }
    const answer = await ask(server.port, { method: 'POST', path: '/items/42', headers, body: '{"a":1}' })
    expect(answer.status).toBe(200)
    expect(JSON.parse(answer.body)).toEqual({ id: '42', got: { a: 1 }, method: 'POST', aborted: false })
    expect(answer.headers['inmesh-not-executed']).toBeUndefined()
    expect((await ask(server.port, { path: '/nowhere' })).status).toBe(404)
  })

  it('is answered for at the deadline, and what it writes afterwards harms nobody', async () => {
    const { server, failures } = await serve(await make())
    expect((await ask(server.port, { path: '/slow', headers: { 'inmesh-timeout-ms': '20' } })).status).toBe(504)
    await pause(150)
    expect(failures).toEqual([])
    expect((await ask(server.port, { path: '/slow' })).body).toBe('{"late":true}')
  })

  it('asks clients to leave while it drains', async () => {
    const { server } = await serve(await make())
    const slow = ask(server.port, { path: '/slow' })
    await expect.poll(() => server.stats.inFlight).toBe(1)
    const report = server.drain({ lameDuckMs: 0 })
    expect((await slow).leave).toBe(true)
    expect(await report).toEqual({ finished: 1, cancelled: 0 })
  })
})

describe('what can be served', () => {
  it('takes an object with handle()', async () => {
    const { server } = await serve({ handle: (_request, response) => response.end('handled') })
    expect((await ask(server.port)).body).toBe('handled')
  })

  it.each([[undefined], [null], [42], ['app'], [{}], [new Hono()]])(
    'refuses %s with what would be valid',
    async (given) => {
      await expect(serve(given as unknown as HttpHandler)).rejects.toThrow(OptionsError)
    },
  )

  it('names every wrong option', async () => {
    const wrong = { port: 70_000, mode: 'tls', headerTimeout: 5 } as object
    const failing = serve(() => {}, wrong)
    await expect(failing).rejects.toThrow(OptionsError)
    await expect(failing).rejects.toThrow(/headerTimeout: unknown key; did you mean 'headersTimeout'\?/)
    await expect(failing).rejects.toThrow(/port: expected .*; mode: expected one of 'strict'/)
  })
})

http1Only('cleans the headers also of a request that another server has parsed', async () => {
  const server: Server = createServer((request, response) => {
    const scan = scanHeaders(request)
    response.end(
      JSON.stringify([
        scan,
        request.headers['inmesh-peer'],
        request.headersDistinct['inmesh-peer'],
        request.rawHeaders.includes('inmesh-peer'),
      ]),
    )
  }).listen(0)
  onTestFinished(() => void server.close())
  const { port } = server.address() as AddressInfo
  const answer = await ask(port, { headers: { 'inmesh-peer': 'root', 'inmesh-timeout-ms': '5' } })
  const [scan, ...left] = JSON.parse(answer.body) as unknown[]
  expect(scan).toMatchObject({ hosts: 1, timeout: '5', dropped: ['inmesh-peer', 'inmesh-timeout-ms'] })
  expect(left).toEqual([null, null, false])
})
