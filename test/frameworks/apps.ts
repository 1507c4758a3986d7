/** One application, written for each framework, with the plugin and without. */
import { EventEmitter } from 'node:events'
import { getRequestListener } from '@hono/node-server'
import express from 'express'
import fastify from 'fastify'
import { Hono } from 'hono'
import { HTTPException } from 'hono/http-exception'
import Koa from 'koa'
import { MeshError } from '../../src/core/errors.ts'
import * as ofExpress from '../../src/frameworks/express.ts'
import * as ofFastify from '../../src/frameworks/fastify.ts'
import type { HealthOptions } from '../../src/frameworks/health.ts'
import * as ofHono from '../../src/frameworks/hono.ts'
import * as ofKoa from '../../src/frameworks/koa.ts'
import type { CurrentCall } from '../../src/server/current-call.ts'
import type { HttpHandler } from '../../src/server/http/application.ts'

export const OPEN = new MeshError("GET to 'inventory' at 10.0.0.7:80 failed: its circuit breaker is open", {
  code: 'circuit-open',
  service: 'inventory',
  retryAfterMs: 2_500,
})
/** As `fetch` with the mesh's dispatcher, grpc-js, axios and got throw it. */
const WRAPPED = new TypeError('fetch failed', { cause: OPEN })
const OWN = new Error('own')
const WITH_STATUS = Object.assign(new Error('teapot'), { status: 418, statusCode: 418, expose: true, cause: OPEN })

/** What `/throws/<name>` throws. */
export const THROWN: Readonly<Record<string, Error>> = { mesh: OPEN, wrapped: WRAPPED, own: OWN, status: WITH_STATUS }

/** An emitter that runs its listeners in the context in which the program began. */
export const elsewhere = new EventEmitter()
setInterval(() => elsewhere.emit('turn'), 5).unref()

/** What a handler knows of its call, from where the async context is another. */
function told(call: () => CurrentCall | undefined): Promise<object> {
  return new Promise((resolve) => {
    elsewhere.once('turn', () => resolve({ method: call()?.method ?? null, peer: call()?.peer?.service ?? null }))
  })
}

/** `undefined`: the application without the plugin. */
export type Plugged = (HealthOptions & { readonly expose?: boolean }) | undefined

export type Make = (plugged: Plugged, heard?: (error: unknown) => void) => HttpHandler

export const expressApp: Make = (plugged) => {
  const { expose, ...health } = plugged ?? {}
  const app = express()
  app.set('env', 'test')
  if (plugged !== undefined) app.use(ofExpress.meshMiddleware(health))
  app.use(express.json())
  app.get('/call', async (request, response) => void response.json(await told(() => request.call)))
  app.all('/throws/:name', (request, response) => {
    response.set({ 'access-control-allow-origin': '*', etag: '"1"', 'content-encoding': 'br', 'content-length': '9' })
    throw THROWN[request.params.name!]
  })
  app.get('/rejects', async () => Promise.reject(OPEN))
  app.get('/late', (_request, response, next) => {
    response.write('part', () => next(OPEN))
  })
  app.post('/echo', (request, response) => void response.json(request.body))
  if (plugged !== undefined) app.use(ofExpress.meshErrorHandler(expose === undefined ? {} : { expose }))
  return app
}

export const fastifyApp: Make = (plugged) => {
  const { expose, ...health } = plugged ?? {}
  const app = fastify()
  if (plugged !== undefined) {
    app.register(ofFastify.meshPlugin, health)
    app.setErrorHandler(ofFastify.meshErrorHandler(expose === undefined ? {} : { expose }))
  }
  app.get('/call', (request) => told(() => request.call))
  app.route<{ Params: { name: string } }>({
    method: ['GET', 'HEAD', 'POST'],
    url: '/throws/:name',
    handler: (request, reply) => {
      reply.headers({
        'access-control-allow-origin': '*',
        etag: '"1"',
        'content-encoding': 'br',
        'content-length': '9',
      })
      throw THROWN[request.params.name]!
    },
  })
  app.get('/rejects', () => Promise.reject(OPEN))
  app.get('/late', (_request, reply) => {
    reply.hijack()
    reply.raw.write('part', () => reply.raw.destroy(OPEN))
  })
  app.post('/echo', async (request) => request.body)
  return app
}

export const honoApp: Make = (plugged) => {
  const { expose, ...health } = plugged ?? {}
  const app = new Hono()
  if (plugged !== undefined) {
    app.use(ofHono.meshMiddleware(health))
    app.onError(ofHono.meshErrorHandler(expose === undefined ? {} : { expose }))
  }
  app.get('/call', async (c) => c.json(await told(() => c.get('call'))))
  app.all('/throws/:name', (c) => {
    c.header('access-control-allow-origin', '*')
    const { name } = c.req.param()
    // Hono keeps them with any other answer.
    if (THROWN[name] === OPEN) for (const each of ['etag', 'content-encoding', 'content-length']) c.header(each, '9')
    if (name === 'status') throw new HTTPException(418, { message: 'teapot', cause: OPEN })
    throw THROWN[name]
  })
  app.get('/rejects', () => Promise.reject(OPEN))
  app.get('/late', (c) => {
    let parts = 0
    const body = new ReadableStream({
      async pull(controller) {
        if (parts++ === 0) return controller.enqueue(new TextEncoder().encode('part'))
        // Without a pause, the adapter has sent nothing yet and answers 500.
        await new Promise((resolve) => setTimeout(resolve, 50))
        return controller.error(OPEN)
      },
    })
    return c.body(body)
  })
  app.post('/echo', async (c) => c.json(await c.req.json()))
  return getRequestListener(app.fetch, { overrideGlobalObjects: false })
}

export const koaApp: Make = (plugged, heard = () => {}) => {
  const app = new Koa()
  app.on('error', heard)
  if (plugged !== undefined) app.use(ofKoa.meshMiddleware(plugged))
  app.use(async (ctx) => {
    const [, first, name] = ctx.path.split('/')
    if (first === 'call') ctx.body = await told(() => ctx.call)
    if (first === 'throws') {
      ctx.set({ 'access-control-allow-origin': '*', etag: '"1"', 'content-encoding': 'br', 'content-length': '9' })
      throw THROWN[name!]
    }
    if (first === 'rejects') await Promise.reject(OPEN)
    if (first === 'late') {
      await new Promise((resolve) => ctx.res.write('part', resolve))
      throw OPEN
    }
    if (first === 'echo') {
      const parts: Buffer[] = []
      for await (const part of ctx.req) parts.push(part as Buffer)
      ctx.body = JSON.parse(Buffer.concat(parts).toString())
    }
  })
  return app.callback()
}

export const APPS: readonly (readonly [string, Make])[] = [
  ['Express', expressApp],
  ['Fastify', fastifyApp],
  ['Hono', honoApp],
  ['Koa', koaApp],
]
