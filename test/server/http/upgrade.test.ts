import { createServer, type IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import type { Duplex } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { compileIntentions } from '../../../src/server/authorization/intentions.ts'
import { currentCall } from '../../../src/server/current-call.ts'
import { ask, OneAtATime, pause, sendRaw, serve, serverStack } from '../rig.ts'

const GET = 'GET /a HTTP/1.1\r\nhost: inventory\r\n\r\n'
const upgradeTo = (protocol: string, more = '', version = '1.1'): string =>
  `GET /ws HTTP/${version}\r\nhost: inventory\r\nconnection: upgrade\r\nupgrade: ${protocol}\r\n${more}\r\n`
const SWITCHED = 'HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n'

const statuses = (text: string): string[] => [...text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status]) => status!)

describe('a request to upgrade behind another request', () => {
  it('waits for the answer before it', async () => {
    const { server } = await serve(
      async (_request, response) => {
        await pause(20)
        response.end('ordinary')
      },
      { onUpgrade: (_request, socket) => socket.end(SWITCHED) },
    )
    expect(statuses(await sendRaw(server.port, GET + GET + upgradeTo('websocket')))).toEqual(['200', '200', '101'])
  })

  it('is answered if nobody allows it, and if the request before it was refused', async () => {
    const { server } = await serve((_request, response) => response.end(), {
      onUpgrade: (_request, socket) => socket.end(SWITCHED),
    })
    server.authorizer = compileIntentions([], 'deny')
    expect(statuses(await sendRaw(server.port, GET + upgradeTo('websocket')))).toEqual(['403', '403'])
    server.authorizer = compileIntentions([], 'allow')
    expect(statuses(await sendRaw(server.port, GET.replace('/a', '/a/../b') + upgradeTo('websocket')))).toEqual(['400'])
  })

  it('goes with its connection', async () => {
    const limit = new OneAtATime()
    const upgraded: number[] = []
    const { server } = await serve(
      () => {},
      { onUpgrade: () => void upgraded.push(1) },
      { stack: serverStack([limit]) },
    )
    const socket = connect(server.port, '127.0.0.1', () => socket.write(GET + upgradeTo('websocket')))
    socket.on('error', () => {})
    await expect.poll(() => limit.running).toBe(1)
    socket.resetAndDestroy()
    await server.drain({ lameDuckMs: 0, graceMs: 50 })
    expect(limit.running).toBe(0)
    expect(upgraded).toEqual([])
  })
})

describe('an upgrade that goes wrong', () => {
  const failing: [string, (socket: Duplex) => unknown, string[]][] = [
    [
      'throws',
      () => {
        throw new Error('secret')
      },
      ['500'],
    ],
    ['rejects', () => Promise.reject(new Error('secret')), ['500']],
    [
      'rejects after it has switched',
      async (socket) => {
        socket.write(SWITCHED)
        await pause(5)
        throw new Error('secret')
      },
      ['101'],
    ],
    [
      'throws in a listener of the socket',
      (socket) => {
        socket.on('data', () => {
          throw new Error('secret')
        })
        socket.write(SWITCHED)
      },
      ['101'],
    ],
  ]
  it.each(failing)('ends only its socket when the listener %s', async (_how, listener, expected) => {
    const limit = new OneAtATime()
    const { server, failures } = await serve(
      (_request, response) => response.end(),
      { onUpgrade: (_request, socket) => listener(socket) as never },
      { stack: serverStack([limit]) },
    )
    const answer = await new Promise<string>((resolve) => {
      let text = ''
      const socket = connect(server.port, '127.0.0.1', () => socket.write(upgradeTo('websocket')))
      socket.on('data', (part) => {
        text += part.toString('latin1')
        if (text.includes('101')) socket.write('more')
      })
      socket.on('error', () => {})
      socket.on('close', () => resolve(text))
    })
    expect(statuses(answer)).toEqual(expected)
    expect(answer).not.toContain('secret')
    expect(failures).toHaveLength(1)
    await expect.poll(() => limit.running).toBe(0)
  })

  it('survives a reset after a refusal, and during the upgrade', async () => {
    const { server } = await serve((_request, response) => response.end(), { onUpgrade: () => {} })
    for (const mode of ['deny', 'allow'] as const) {
      server.authorizer = compileIntentions([], mode)
      for (let i = 0; i < 20; i++) {
        await new Promise<void>((resolve) => {
          const socket = connect(server.port, '127.0.0.1', () => {
            socket.write(upgradeTo('websocket'))
            setImmediate(() => socket.resetAndDestroy())
          })
          socket.on('error', () => {})
          socket.on('close', () => resolve())
        })
      }
    }
    server.authorizer = compileIntentions([], 'allow')
    expect((await ask(server.port)).status).toBe(200)
  })
})

describe('which requests are upgrades', () => {
  const seen: string[] = []
  const serving = () =>
    serve(
      async (request, response) => {
        let body = ''
        for await (const part of request) body += String(part)
        seen.push(`${request.method} ${request.headers.upgrade} ${body}`)
        response.setHeader('connection', 'close').end('ordinary')
      },
      { onUpgrade: (_request, socket) => socket.end(SWITCHED) },
    )

  it.each([
    ['h2c', upgradeTo('h2c', 'http2-settings: AAMAAABk\r\n')],
    ['HTTP/2.0', upgradeTo('HTTP/2.0')],
    ['TLS/1.2, h2c', upgradeTo('TLS/1.2, h2c')],
    ['one with a body', upgradeTo('websocket', 'content-length: 3\r\n').concat('abc')],
    [
      'one with a chunked body',
      upgradeTo('websocket', 'transfer-encoding: chunked\r\n').concat('3\r\nabc\r\n0\r\n\r\n'),
    ],
    ['one by HTTP/1.0', upgradeTo('websocket', '', '1.0')],
  ])('serves %s as the ordinary request that it also is', async (_what, text) => {
    const { server } = await serving()
    seen.length = 0
    expect(statuses(await sendRaw(server.port, text))).toEqual(['200'])
    expect(seen).toHaveLength(1)
    if (text.includes('abc')) expect(seen[0]).toContain('abc')
  })

  it.each(['websocket', 'WebSocket', 'h2c, websocket', 'my-own/1'])('hands %s to the listener', async (protocol) => {
    const { server } = await serving()
    expect(statuses(await sendRaw(server.port, upgradeTo(protocol)))).toEqual(['101'])
  })
})

describe("a node:http server with listeners for 'upgrade'", () => {
  it('is asked after authorization, in the context of the request, also by listeners added later', async () => {
    const app = createServer((_request, response) => void response.setHeader('connection', 'close').end('ordinary'))
    const { server } = await serve(app)
    expect(statuses(await sendRaw(server.port, upgradeTo('websocket')))).toEqual(['200'])
    const told: unknown[] = []
    app.on('upgrade', (request: IncomingMessage, socket: Duplex) => {
      told.push(request.url, currentCall()?.method)
      socket.on('close', () => told.push(currentCall()?.method))
      socket.end(SWITCHED)
    })
    expect(statuses(await sendRaw(server.port, upgradeTo('websocket')))).toEqual(['101'])
    await expect.poll(() => told).toEqual(['/ws', 'GET', 'GET'])
    server.authorizer = compileIntentions([], 'deny')
    expect(statuses(await sendRaw(server.port, upgradeTo('websocket')))).toEqual(['403'])
    expect(told).toHaveLength(3)
  })

  it('cannot have onUpgrade besides', async () => {
    const app = createServer().on('upgrade', () => {})
    await expect(serve(app, { onUpgrade: () => {} })).rejects.toThrow(/onUpgrade.*upgrade/)
  })
})
