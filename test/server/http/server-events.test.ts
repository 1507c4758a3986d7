import { once } from 'node:events'
import { createServer, IncomingMessage, ServerResponse } from 'node:http'
import { createServer as createHttp2Server } from 'node:http2'
import { createServer as createSecureServer } from 'node:https'
import { createServer as createNetServer } from 'node:net'
import fastify from 'fastify'
import { describe, expect, it } from 'vitest'
import { OptionsError } from '../../../src/options/fields.ts'
import { compileIntentions } from '../../../src/server/authorization/intentions.ts'
import { sendRaw, serve } from '../rig.ts'

const statuses = (text: string): string[] => [...text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status]) => status!)
const GET = 'GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n'
const expecting = (what: string): string =>
  `POST / HTTP/1.1\r\nhost: a\r\nexpect: ${what}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`

describe('listeners of a node:http server', () => {
  it("are asked for 'checkContinue' and 'checkExpectation', after authorization", async () => {
    const app = createServer((_request, response) => void response.end('ordinary'))
    const { server } = await serve(app)
    expect(statuses(await sendRaw(server.port, expecting('100-continue')))).toEqual(['100', '200'])
    expect(statuses(await sendRaw(server.port, expecting('coffee')))).toEqual(['417'])
    app.on('checkContinue', (_request, response) => response.writeHead(413).end())
    app.on('checkExpectation', (_request, response) => response.writeHead(418).end())
    expect(statuses(await sendRaw(server.port, expecting('100-continue')))).toEqual(['413'])
    expect(statuses(await sendRaw(server.port, expecting('coffee')))).toEqual(['418'])
    server.authorizer = compileIntentions([], 'deny')
    expect(statuses(await sendRaw(server.port, expecting('100-continue')))).toEqual(['403'])
    expect(statuses(await sendRaw(server.port, expecting('coffee')))).toEqual(['403'])
  })

  it("hear 'listening' and 'close'", async () => {
    const heard: string[] = []
    const app = createServer()
    for (const event of ['listening', 'close']) app.on(event, () => heard.push(event))
    const { server } = await serve(app)
    expect(heard).toEqual(['listening'])
    await server.close()
    expect(heard).toEqual(['listening', 'close'])
  })

  it.each(['connect', 'connection', 'clientError', 'dropRequest', 'timeout'])(
    "are refused for '%s', with what to do instead",
    async (event) => {
      await expect(serve(createServer().on(event, () => {}))).rejects.toThrow(
        new RegExp(`'${event}'.*never be called: .+`),
      )
    },
  )
})

describe('settings of a node:http server', () => {
  it.each([
    ['requestTimeout', 1_000, /requestTimeout.*option `requestTimeout`/],
    ['headersTimeout', 1_000, /option `headersTimeout`/],
    ['keepAliveTimeout', 1_000, /option `keepAliveTimeout`/],
    ['maxHeadersCount', 50, /option `maxHeaders`/],
    ['maxConnections', 50, /option `maxConnections`/],
    ['maxRequestsPerSocket', 50, /maxRequestsPerSocket/],
    ['timeout', 1_000, /timeout/],
  ])('%s is refused, with what to use instead', async (name, value, hint) => {
    await expect(serve(Object.assign(createServer(), { [name]: value }))).rejects.toThrow(hint)
  })

  it('of the parser are refused as well, and so are servers that listen or speak TLS themselves', async () => {
    await expect(serve(createServer({ insecureHTTPParser: true }))).rejects.toThrow(/insecureHTTPParser/)
    await expect(serve(createSecureServer() as never)).rejects.toThrow(/node:https/)
    const listening = createServer()
    await new Promise<void>((resolve) => listening.listen(0, resolve))
    await expect(serve(listening)).rejects.toThrow(/listens already/)
    listening.close()
  })
})

describe('what a node:http server was made with', () => {
  /** Options that the Node of this run drops. */
  const unknown = new Set<string>()
  if (Number.parseInt(process.versions.node, 10) < 24) unknown.add('optimizeEmptyRequests')
  if (!('shouldUpgradeCallback' in createServer())) unknown.add('shouldUpgradeCallback')

  it.for<[object, RegExp]>([
    [{ IncomingMessage: class extends IncomingMessage {} }, /IncomingMessage.*add to them in the handler/],
    [{ ServerResponse: class extends ServerResponse {} }, /ServerResponse.*add to them in the handler/],
    [{ uniqueHeaders: ['x-a'] }, /uniqueHeaders/],
    [{ optimizeEmptyRequests: true }, /optimizeEmptyRequests/],
    [{ shouldUpgradeCallback: () => false }, /shouldUpgradeCallback.*answer in the listener/],
    [{ noDelay: false }, /noDelay/],
    [{ keepAliveInitialDelay: 1_000 }, /keepAliveInitialDelay/],
    [{ highWaterMark: 1_000 }, /highWaterMark/],
  ])('%o is refused', async ([options, hint], { skip }) => {
    skip(unknown.has(Object.keys(options)[0]!), 'this Node has no such option')
    await expect(serve(createServer(options))).rejects.toThrow(hint)
  })

  it('and is satisfied by the mesh is taken', async () => {
    const { server } = await serve(createServer({ keepAlive: true, noDelay: true }, (_, response) => response.end()))
    expect(statuses(await sendRaw(server.port, GET))).toEqual(['200'])
  })
})

it('a server without a listener for requests answers 500 at once, and later asks the one that it has by then', async () => {
  const app = createServer()
  const { server, failures } = await serve(app)
  expect(statuses(await sendRaw(server.port, GET))).toEqual(['500'])
  expect(String(failures)).toMatch(/no listener for 'request'/)
  app.once('request', (_request, response) => response.end())
  expect(statuses(await sendRaw(server.port, GET))).toEqual(['200'])
  expect(statuses(await sendRaw(server.port, GET))).toEqual(['500'])
})

it.each([
  ['node:http2', createHttp2Server(), /node:http2.*give one of node:http/],
  ['node:net', createNetServer(), /node:net.*give one of node:http/],
  ['Koa style', { callback: () => () => {} }, /app\.callback\(\)/],
])('what is of %s is refused with what to give instead', async (_, handler, hint) => {
  await expect(serve(handler as never)).rejects.toThrow(hint)
})

it('a server listens nowhere else while the mesh serves it, and may when it does no more', async () => {
  const app = createServer((_request, response) => void response.end('ok'))
  const first = (await serve(app)).server
  const second = (await serve(app)).server
  expect(app.address()).toMatchObject({ port: second.port })
  await second.close()
  expect(app.address()).toMatchObject({ port: first.port })
  expect(() => app.listen(0)).toThrow(OptionsError)
  const failed = once(app, 'error')
  app.listen(0)
  expect(await failed).toEqual([expect.any(OptionsError)])
  await first.close()
  expect(app.address()).toBeNull()
  await once(app.listen(0, '127.0.0.1'), 'listening')
  app.close()
})

describe('a Fastify instance', () => {
  it.each([
    [{ requestTimeout: 1_000 }, /requestTimeout.*option `requestTimeout`/],
    [{ keepAliveTimeout: 1_000 }, /option `keepAliveTimeout`/],
    [{ connectionTimeout: 1_000 }, /timeout/],
    [{ maxRequestsPerSocket: 5 }, /maxRequestsPerSocket/],
    [{ http: { maxHeaderSize: 20_000 } }, /maxHeaderSize/],
    [{ clientErrorHandler: () => {} }, /'clientError'/],
    [{ https: {} }, /leave out/],
    [{ http2: true }, /leave out/],
  ])('with %o is refused', async (options, hint) => {
    await expect(serve(fastify(options as object) as never)).rejects.toThrow(hint)
  })

  it('that listens already is refused', async () => {
    const app = fastify()
    await app.listen({ port: 0 })
    await expect(serve(app as never)).rejects.toThrow(/listens already/)
    await app.close()
  })

  it('runs the onListen hooks of all its plugins', async () => {
    const heard: string[] = []
    const app = fastify()
    app.addHook('onListen', (done) => {
      heard.push('first')
      done(new Error('mine'))
    })
    app.addHook('onListen', async () => void heard.push('second'))
    app.register(async (plugin) => void plugin.addHook('onListen', async () => void heard.push('plugin')))
    const { failures } = await serve(app as never)
    await expect.poll(() => heard).toEqual(['first', 'second', 'plugin'])
    await expect.poll(() => String(failures)).toMatch(/mine/)
  })

  it('tells the address that the mesh listens on, to its hooks, too, and does not listen once more', async () => {
    const app = fastify()
    const origins: string[] = []
    app.addHook('onListen', async () => void origins.push(app.listeningOrigin))
    const { server } = await serve(app as never)
    const origin = `http://127.0.0.1:${server.port}`
    await expect.poll(() => origins).toEqual([origin])
    expect(app.addresses()).toEqual([{ address: '127.0.0.1', family: 'IPv4', port: server.port }])
    await expect(app.listen({ port: 0 })).rejects.toThrow(/^listen: the mesh listens.*mode: 'permissive'/)
    const called = new Promise((resolve) => app.listen({ port: 0 }, resolve))
    expect(await called).toBeInstanceOf(OptionsError)
    expect(app.listeningOrigin).toBe(origin)
    await server.drain({ lameDuckMs: 0 })
    expect(app.addresses()).toEqual([])
  })

  it('asks the listeners that stand before its own', async () => {
    const app = fastify()
    app.get('/', () => 'fastify')
    await app.ready()
    const own = app.server.listeners('request') as ((...given: unknown[]) => void)[]
    app.server.removeAllListeners('request')
    app.server.on('request', (request, response) => {
      if (request.url === '/socket') response.writeHead(202).end()
      else for (const listener of own) listener.call(app.server, request, response)
    })
    const { server } = await serve(app as never)
    expect(statuses(await sendRaw(server.port, GET.replace('/', '/socket')))).toEqual(['202'])
    expect(statuses(await sendRaw(server.port, GET))).toEqual(['200'])
  })

  it('runs its onClose hooks when the server is gone, and is not kept waiting by them', async () => {
    const heard: string[] = []
    const app = fastify()
    app.addHook('onClose', async () => void heard.push('closed'))
    const { server } = await serve(app as never)
    await server.drain({ lameDuckMs: 0 })
    expect(heard).toEqual(['closed'])
  })

  it('reports what its onClose hooks throw', async () => {
    const app = fastify()
    app.addHook('onClose', async () => Promise.reject(new Error('no more')))
    const { server, failures } = await serve(app as never)
    await server.drain({ lameDuckMs: 0 })
    expect(failures.length).toBeLessThanOrEqual(1)
    expect(server.state).toBe('closed')
  })

  it('gets the upgrades that its plugins listen for', async () => {
    const app = fastify()
    app.server.on('upgrade', (_request, socket) => socket.end('HTTP/1.1 101 Switching Protocols\r\n\r\n'))
    const { server } = await serve(app as never)
    const text = 'GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n'
    expect(statuses(await sendRaw(server.port, text))).toEqual(['101'])
  })
})
