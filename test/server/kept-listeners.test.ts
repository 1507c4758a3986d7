import { createServer } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import fastify from 'fastify'
import { describe, expect, it } from 'vitest'
import { compileIntentions } from '../../src/server/authorization.ts'
import { sendRaw, serve } from './support.ts'

const statuses = (text: string): string[] => [...text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status]) => status!)
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

describe('a Fastify instance', () => {
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
