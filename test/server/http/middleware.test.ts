/** Middleware of Express that reaches into response, request and socket, over both transports. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import compression from 'compression'
import express, { type Express, type Request, type Response } from 'express'
import session from 'express-session'
import { createProxyServer } from 'http-proxy-3'
import multer from 'multer'
import { expect, it, onTestFinished } from 'vitest'
import { alikeApp, type Seen, type Sent } from './all-transports.ts'

const form = (boundary: string, parts: Record<string, string>): string =>
  `${Object.entries(parts)
    .map(([name, text]) => {
      const file = name === 'file' ? '; filename="a.txt"\r\ncontent-type: text/plain' : ''
      return `--${boundary}\r\ncontent-disposition: form-data; name="${name}"${file}\r\n\r\n${text}\r\n`
    })
    .join('')}--${boundary}--\r\n`

function appOf(set: (app: Express) => void): Express {
  const app = express()
  set(app)
  return app
}

it('compression: compresses at once and in pieces, with flush', async () => {
  const app = (): Express =>
    appOf((it) => {
      it.use(compression({ threshold: 0 }))
      it.get('/whole', (_request, response) => void response.type('text').send('word '.repeat(1_000)))
      it.get('/pieces', (_request, response) => {
        response.type('text')
        for (let i = 0; i < 50; i++) response.write(`piece ${i} `.repeat(100))
        ;(response as Response & { flush(): void }).flush()
        setImmediate(() => response.end('end'))
      })
    })
  for (const path of ['/whole', '/pieces']) {
    const { answer } = await alikeApp(app, { path, headers: { 'accept-encoding': 'gzip' } })
    expect(answer).toMatchObject({ status: 200, headers: { 'content-encoding': 'gzip' } })
    await alikeApp(app, { path })
    await alikeApp(app, { path, method: 'HEAD', headers: { 'accept-encoding': 'gzip' } })
  }
})

it('multer: takes forms with and without a length, and refuses what is too large', async () => {
  const upload = multer({ storage: multer.memoryStorage(), limits: { fileSize: 200_000 } })
  const app = (): Express =>
    appOf((it) => {
      it.post('/', upload.single('file'), (request: Request, response: Response) => {
        response.json([request.file?.size, request.file?.originalname, request.body])
      })
      it.use((error: { code: string }, _request: Request, response: Response, _next: unknown) => {
        response.status(413).json(error.code)
      })
    })
  const sent = (bytes: number, sized: boolean): Sent => {
    const text = form('b', { name: 'x', file: 'y'.repeat(bytes) })
    return {
      method: 'POST',
      headers: {
        'content-type': 'multipart/form-data; boundary=b',
        ...(sized && { 'content-length': String(text.length) }),
      },
      parts: [text.slice(0, 100), text.slice(100)],
    }
  }
  for (const sized of [true, false]) {
    const { answer } = await alikeApp(app, sent(150_000, sized))
    expect(answer).toMatchObject({ status: 200, body: '[150000,"a.txt",{"name":"x"}]' })
    expect((await alikeApp(app, sent(300_000, sized))).answer).toMatchObject({ status: 413 })
  }
})

it('body parsers: read JSON, text and forms, and refuse too much', async () => {
  const app = (): Express =>
    appOf((it) => {
      it.use(express.json({ limit: '10kb' }), express.text(), express.urlencoded({ extended: true }), express.raw())
      it.use((request: Request, response: Response) => void response.json(request.body ?? null))
      it.use((error: { type: string; status: number }, _q: Request, response: Response, _next: unknown) => {
        response.status(error.status).json(error.type)
      })
    })
  const post = (type: string, ...parts: string[]) =>
    alikeApp(app, { method: 'POST', headers: { 'content-type': type }, parts })
  expect((await post('application/json', '{"a":', '1}')).answer).toMatchObject({ body: '{"a":1}' })
  expect((await post('application/json', 'no')).answer).toMatchObject({ status: 400 })
  expect((await post('application/json', JSON.stringify('x'.repeat(20_000)))).answer).toMatchObject({ status: 413 })
  await post('text/plain', 'text')
  await post('application/x-www-form-urlencoded', 'a[b]=1')
  expect((await alikeApp(app)).answer).toMatchObject({ body: 'null' })
})

it('express-session: sets its cookie with the head, also of an answer in pieces', async () => {
  const app = (): Express =>
    appOf((it) => {
      it.use(session({ secret: 's', resave: false, saveUninitialized: true, genid: () => 'fixed' }))
      it.get('/whole', (request, response) => void response.json(request.session.id))
      it.get('/pieces', (_request, response) => {
        response.write('a')
        response.end('b')
      })
    })
  for (const path of ['/whole', '/pieces']) {
    expect((await alikeApp(app, { path })).answer).toMatchObject({
      status: 200,
      headers: { 'set-cookie': [expect.stringContaining('connect.sid')] },
    })
  }
})

it('http-proxy-3: passes bodies, trailers and failures on', async () => {
  const target = createServer((request, response) => {
    response.setHeader('x-forwarded', String(request.headers['x-forwarded-proto']))
    response.setHeader('x-length', request.headers['content-length'] ?? request.headers['transfer-encoding'] ?? 'none')
    request.pipe(response)
  }).listen(0)
  onTestFinished(() => void target.close())
  const { port } = target.address() as AddressInfo
  const proxyTo = (to: number) => () => {
    const proxy = createProxyServer({ target: `http://127.0.0.1:${to}`, xfwd: true })
    proxy.on('error', (_error, _request, response) => {
      ;(response as Response).writeHead(502)
      ;(response as Response).end('bad gateway')
    })
    return (request: IncomingMessage, response: ServerResponse) => void proxy.web(request, response)
  }
  expect((await alikeApp(proxyTo(port))).answer).toMatchObject({ status: 200, headers: { 'x-forwarded': 'http' } })
  await alikeApp(proxyTo(port), { method: 'POST', parts: ['one', 'two'] })
  await alikeApp(proxyTo(port), { method: 'POST', headers: { 'content-length': '6' }, parts: ['one', 'two'] })
  expect((await alikeApp(proxyTo(1))).answer).toMatchObject({ status: 502 })
})

it('sends files with ranges, redirects, and answers 304', async () => {
  const app = (): Express =>
    appOf((it) => {
      it.get('/file', (_request, response) => response.sendFile(new URL(import.meta.url).pathname))
      it.get('/away', (_request, response) => response.redirect('/file'))
      it.get('/etag', (_request, response) => void response.json({ same: true }))
      it.get('/download', (_request, response) => response.download(new URL(import.meta.url).pathname))
      it.get('/none', (_request, response) => void response.sendStatus(204))
    })
  const { answer } = await alikeApp(app, { path: '/file' })
  expect(answer).toMatchObject({ status: 200, body: expect.stringContaining('sends files') })
  const ranged = await alikeApp(app, { path: '/file', headers: { range: 'bytes=0-9' } })
  expect(ranged.answer).toMatchObject({ status: 206, body: '/** Middle' })
  for (const path of ['/away', '/download', '/none']) await alikeApp(app, { path })
  const { answer: tagged } = await alikeApp(app, { path: '/etag' })
  const { etag } = (tagged as Seen).headers as { etag: string }
  expect((await alikeApp(app, { path: '/etag', headers: { 'if-none-match': etag } })).answer).toMatchObject({
    status: 304,
  })
})
