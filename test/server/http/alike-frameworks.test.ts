/** What frameworks make of failures, early ends and streams. The same over every transport. */
import { createReadStream } from 'node:fs'
import { pipeline, Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { getRequestListener } from '@hono/node-server'
import express, { type Response as Answer, type NextFunction, type Request } from 'express'
import Fastify from 'fastify'
import { Hono } from 'hono'
import { stream, streamSSE } from 'hono/streaming'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { HttpHandler } from '../../../src/server/http/application.ts'
import { alikeApp, type Note, type Sent } from './all-transports.ts'

const GET: Sent = {}
const HEAD: Sent = { method: 'HEAD' }
const POST: Sent = {
  method: 'POST',
  headers: { 'content-type': 'application/json', 'content-length': '7' },
  parts: ['{"a":', '1}'],
}

function breaking(): Readable {
  let pieces = 0
  return new Readable({
    read() {
      pieces += 1
      if (pieces <= 2) this.push('piece')
      else this.destroy(new Error('source'))
    },
  })
}

function fail(): never {
  throw new Error('mine')
}

function expressApp(note: Note): HttpHandler {
  const app = express()
  app.use((_request, response, next) => {
    for (const event of ['finish', 'close']) response.on(event, () => note([event, response.writableFinished]))
    next()
  })
  app.use(express.json())
  app.all('/throw', fail)
  app.all('/reject', async () => {
    await sleep(1)
    fail()
  })
  app.all('/next', (_request, _response, next) => next(Object.assign(new Error('next'), { status: 418 })))
  app.all('/next-after-head', (_request, response, next) => {
    response.write('x')
    next(new Error('late'))
  })
  app.all('/reject-after-head', async (_request, response) => {
    response.write('x')
    await sleep(5)
    fail()
  })
  app.all('/pipeline', (_request, response, next) => {
    pipeline(breaking(), response, (error) => next(error ?? undefined))
  })
  app.all('/vanished', (_request, response, next) => {
    response.sendFile('/nothing/here', (error) => next(error))
  })
  app.all('/file', (_request, response) => response.sendFile(import.meta.filename))
  app.all('/download', (_request, response) => response.download(import.meta.filename))
  app.all('/json', ({ body, ip, protocol, secure, hostname }, response) => {
    response.json({ body, ip, protocol, secure, hostname })
  })
  app.all('/redirect', (_request, response) => response.redirect('/elsewhere'))
  app.all('/nothing', (_request, response) => response.sendStatus(204))
  app.all('/twice', (_request, response) => {
    response.send('a')
    try {
      response.send('b')
    } catch (error) {
      note((error as NodeJS.ErrnoException).code)
    }
  })
  app.use((error: Error & { status?: number }, _request: Request, response: Answer, next: NextFunction) => {
    note([error.message, response.headersSent])
    if (response.headersSent) next(error)
    else response.status(error.status ?? 500).send('handled')
  })
  return app
}

function fastifyApp(note: Note): HttpHandler {
  const app = Fastify()
  onTestFinished(() => app.close())
  app.addHook('onResponse', async (_request, reply) => note([reply.statusCode, reply.raw.writableFinished]))
  app.addHook('onError', async (_request, _reply, error) => note(error.message))
  app.all('/throw', fail)
  app.all('/reject', async () => {
    await sleep(1)
    fail()
  })
  app.all('/reject-after-head', async (_request, reply) => {
    reply.raw.write('x')
    fail()
  })
  app.all('/stream', async (_request, reply) => reply.send(breaking()))
  app.all('/vanished', async (_request, reply) => reply.send(createReadStream('/nothing/here')))
  app.all('/web', async (_request, reply) => reply.send(new Response('web', { headers: { 'x-one': '1' } })))
  app.all('/web-stream', async (_request, reply) =>
    reply.send(new ReadableStream({ pull: (source) => source.error(new Error('web')) })),
  )
  app.all('/hijack', async (_request, reply) => {
    reply.hijack()
    reply.raw.end('raw')
  })
  app.all('/json', async ({ body, ip, protocol }) => ({ body: body ?? null, ip, protocol }))
  app.all('/nothing', async (_request, reply) => reply.code(204).send())
  app.all('/trailer', async (_request, reply) => {
    reply.trailer('x-sum', async () => '1')
    return 'x'
  })
  app.all('/hints', async (_request, reply) => {
    reply.raw.writeEarlyHints({ link: '</a.css>; rel=preload' })
    return 'x'
  })
  app.all('/long', async () => 'x'.repeat(500_000))
  return app
}

function honoApp(note: Note): HttpHandler {
  const app = new Hono()
  app.onError((error, context) => {
    note(error.message)
    return context.text('handled', 500)
  })
  app.all('/throw', fail)
  app.all('/reject', async () => {
    await sleep(1)
    fail()
  })
  app.all('/stream', (context) =>
    stream(
      context,
      async (out) => {
        await out.write('a')
        fail()
      },
      async (error) => note(error.message),
    ),
  )
  app.all('/events', (context) =>
    streamSSE(context, async (out) => {
      for (const data of ['1', '2']) await out.writeSSE({ data })
    }),
  )
  app.all('/web-stream', () => new Response(new ReadableStream({ pull: (source) => source.error(new Error('web')) })))
  app.all('/echo', async (context) => context.text(await context.req.text()))
  app.all('/nothing', (context) => context.body(null, 204))
  app.all('/unchanged', (context) => context.body(null, 304))
  app.all('/long', (context) => context.text('x'.repeat(500_000)))
  return getRequestListener(app.fetch, { overrideGlobalObjects: false })
}

const OF_EXPRESS = 'throw reject next next-after-head reject-after-head pipeline vanished file download json'
describe('Express', () => {
  it.each(`${OF_EXPRESS} redirect nothing twice missing`.split(' '))('%s', async (path) => {
    for (const sent of [GET, POST, HEAD]) {
      const { notes } = await alikeApp(expressApp, { path: `/${path}`, ...sent })
      expect(notes.length).toBeGreaterThan(0)
    }
  })
})

const OF_FASTIFY = 'throw reject reject-after-head stream vanished web web-stream hijack json nothing trailer hints'
describe('Fastify', () => {
  it.each(`${OF_FASTIFY} long missing`.split(' '))('%s', async (path) => {
    for (const sent of [GET, POST]) await alikeApp(fastifyApp, { path: `/${path}`, ...sent })
  })
})

describe('Hono', () => {
  it.each('throw reject stream events web-stream echo nothing unchanged long missing'.split(' '))(
    '%s',
    async (path) => {
      for (const sent of [GET, POST, HEAD]) await alikeApp(honoApp, { path: `/${path}`, ...sent })
    },
  )
})
