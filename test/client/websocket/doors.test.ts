import type { IncomingMessage } from 'node:http'
import { WebSocket as UndiciWebSocket, upgrade } from 'undici'
import { describe, expect, it } from 'vitest'
import { WebSocket as WsWebSocket } from 'ws'
import { type MeshDispatcher, makeDispatcher } from '../../../src/client/http/dispatcher/dispatcher.ts'
import { makeConnector } from '../../../src/client/http/wire/create-connection.ts'
import { opened, serve } from '../http/opened.ts'
import type { Rig } from '../http/rig.ts'
import { type ChatOptions, chat, rigTo, Seen } from './rig.ts'

const REFUSAL = 'HTTP/1.1 401 Unauthorized\r\nx-why: no token\r\ntransfer-encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n'
const refusing: ChatOptions = { refuse: (_request, socket) => Boolean(socket.end(REFUSAL)) }

function dispatcherOf(rig: Rig): MeshDispatcher {
  const dispatcher = makeDispatcher((name) => (name === 'chat' ? rig : undefined))
  opened({ close: () => dispatcher.destroy() })
  return dispatcher
}

describe('an upgrade through mesh.dispatcher()', () => {
  it.each([
    ['the WebSocket of undici', UndiciWebSocket],
    ['the built-in WebSocket of Node', WebSocket],
  ])('carries %s', async (_what, Made) => {
    const service = await chat({ protocols: 'chat' })
    const rig = await rigTo([service])
    const options = { dispatcher: dispatcherOf(rig), protocols: 'chat' } as never
    const seen = await new Seen(new Made('ws://chat.mesh/room?a=1', options) as unknown as WebSocket).heard('open')
    expect(seen.socket.protocol).toBe('chat')
    seen.socket.send('hello')
    await seen.heard('message')
    expect(seen.messages).toEqual(['hello'])
    seen.socket.close(1000)
    await seen.heard('close')
    expect(seen.closed).toMatchObject({ code: 1000, wasClean: true })
    expect(service.handshakes[0]!.url).toBe('/room?a=1')
    await expect.poll(() => rig.attempts.outcomes.map(({ verdict }) => verdict)).toEqual(['success'])
  })

  it('hands the connection to the caller of upgrade, whatever the protocol', async () => {
    const head = 'HTTP/1.1 101 Switching Protocols\r\nupgrade: echo/1\r\nconnection: upgrade\r\nx-a: b\r\n\r\n'
    const service = await chat({
      refuse: (_request, socket) => {
        socket.on('data', (part) => socket.write(part)).on('end', () => socket.end())
        return Boolean(socket.write(`${head}first`))
      },
    })
    const rig = await rigTo([service])
    const { headers, socket } = await upgrade('http://chat.mesh/', {
      dispatcher: dispatcherOf(rig),
      protocol: 'echo/1',
    })
    expect(headers).toMatchObject({ 'x-a': 'b' })
    const heard: Buffer[] = []
    socket.on('data', (part: Buffer) => heard.push(part))
    socket.write(' second')
    await expect.poll(() => Buffer.concat(heard).toString()).toBe('first second')
    expect(rig.endpoint.pending).toBe(1)
    socket.end()
    await expect.poll(() => rig.attempts.outcomes.map(({ verdict }) => verdict)).toEqual(['success'])
  })

  it('rejects upgrade with the error of the mesh, and with that of undici for another answer', async () => {
    const none = await rigTo([], { timeoutMs: 20 })
    await expect(upgrade('http://chat.mesh/', { dispatcher: dispatcherOf(none) })).rejects.toMatchObject({
      code: 'deadline-exceeded',
    })
    const rig = await rigTo([await chat(refusing)])
    await expect(upgrade('http://chat.mesh/', { dispatcher: dispatcherOf(rig) })).rejects.toThrow('bad upgrade')
    await expect.poll(() => rig.endpoint.pending).toBe(0)
  })

  it('is over for the dispatcher once it has succeeded', async () => {
    const service = await chat()
    const rig = await rigTo([service])
    const dispatcher = dispatcherOf(rig)
    const { socket } = await upgrade('http://chat.mesh/', {
      dispatcher,
      protocol: 'websocket',
      headers: { 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==', 'sec-websocket-version': '13' },
    })
    await dispatcher.close()
    expect(socket.destroyed).toBe(false)
    socket.destroy()
    await expect.poll(() => rig.attempts.outcomes.map(({ verdict }) => verdict)).toEqual(['cancelled'])
  })
})

/** A `ws` client, and what it has emitted. */
function ws(rig: Rig, url = 'ws://chat/room', options: object = {}) {
  const socket = new WsWebSocket(url, { createConnection: makeConnector(rig, undefined), ...options })
  const heard: string[] = []
  const messages: Buffer[] = []
  let error: (Error & { code?: string }) | undefined
  socket.on('open', () => heard.push('open'))
  socket.on('message', (data) => messages.push(data as Buffer))
  socket.on('pong', () => heard.push('pong'))
  socket.on('error', (given) => {
    heard.push('error')
    error = given
  })
  socket.on('close', (code) => heard.push(`close ${code}`))
  return { socket, heard, messages, error: () => error }
}

describe('mesh.createConnection for the package ws', () => {
  it('carries a WebSocket through the mesh', async () => {
    const service = await chat({ protocols: 'chat', deflate: true })
    const rig = await rigTo([service])
    const { socket, heard, messages } = ws(rig, 'wss://chat/room?a=%20b', {
      headers: { 'x-user': 'u7' },
      protocol: 'x',
    })
    await expect.poll(() => heard).toEqual(['open'])
    expect(rig.endpoint.pending).toBe(1)
    const big = Buffer.alloc(5_000_000, 'y')
    socket.send('hello')
    socket.send(big)
    socket.ping()
    await expect.poll(() => messages.length, { timeout: 20_000 }).toBe(2)
    expect(messages[0]!.toString()).toBe('hello')
    expect(messages[1]!.equals(big)).toBe(true)
    expect(heard).toEqual(['open', 'pong'])
    socket.close(4000)
    await expect.poll(() => heard.at(-1)).toBe('close 4000')
    expect(service.handshakes[0]!.url).toBe('/room?a=%20b')
    expect(service.handshakes[0]!.headers).toMatchObject({ host: 'chat', 'x-user': 'u7' })
    expect(Number(service.handshakes[0]!.headers['inmesh-timeout-ms'])).toBeGreaterThan(0)
    await expect.poll(() => rig.attempts.outcomes.map(({ verdict }) => verdict)).toEqual(['success'])
    await expect.poll(() => rig.transport.connections).toBe(0)
  })

  it('goes on with one that the service closes, and with one whose service dies', async () => {
    for (const [end, code, verdict] of [
      ['close', 1005, 'success'],
      ['terminate', 1006, 'failure'],
    ] as const) {
      const service = await chat()
      const rig = await rigTo([service])
      const { heard } = ws(rig)
      await expect.poll(() => heard).toEqual(['open'])
      service.open[0]![end]()
      await expect.poll(() => heard).toEqual(['open', `close ${code}`])
      await expect.poll(() => rig.attempts.outcomes.map((each) => each.verdict)).toEqual([verdict])
    }
  })

  it('shows the answer of a service that refuses, body included', async () => {
    const rig = await rigTo([await chat(refusing)])
    const { socket } = ws(rig)
    const answer = await new Promise<IncomingMessage>((resolve) =>
      socket.on('unexpected-response', (_request, response) => resolve(response)),
    )
    expect(answer).toMatchObject({ statusCode: 401, headers: { 'x-why': 'no token' } })
    let body = ''
    for await (const part of answer) body += part
    expect(body).toBe('no')
    await expect.poll(() => rig.endpoint.pending).toBe(0)
  })

  it('fails with the error of the mesh', async () => {
    const { heard, error } = ws(await rigTo([], { timeoutMs: 20 }))
    await expect.poll(() => heard).toEqual(['error', 'close 1006'])
    expect(error()).toMatchObject({ name: 'MeshError', code: 'deadline-exceeded', service: 'chat' })
  })

  it.each([
    ['terminate()', {}, (socket: WsWebSocket) => socket.terminate()],
    ['its handshakeTimeout', { handshakeTimeout: 50 }, () => {}],
  ])('is given up by %s while it connects', async (_what, options, giveUp) => {
    const silent = await serve(() => {})
    const rig = await rigTo([silent])
    const { socket, heard } = ws(rig, 'ws://chat/', options)
    await expect.poll(() => rig.attempts.admitted).toBe(1)
    giveUp(socket)
    await expect.poll(() => heard).toEqual(['error', 'close 1006'])
    await expect.poll(() => rig.attempts.outcomes.map(({ verdict }) => verdict)).toEqual(['cancelled'])
    await expect.poll(() => rig.transport.connections).toBe(0)
  })

  it('makes each side wait for a slow one', async () => {
    const service = await chat({ onOpen: (socket) => socket.pause() })
    const rig = await rigTo([service])
    const { socket, heard, messages } = ws(rig, 'ws://chat/', { perMessageDeflate: false })
    await expect.poll(() => heard).toEqual(['open'])
    const part = Buffer.alloc(1_000_000)
    for (let i = 0; i < 30; i++) socket.send(part)
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(socket.bufferedAmount).toBeGreaterThan(10_000_000)
    service.open[0]!.resume()
    await expect.poll(() => messages.length).toBe(30)
    expect(socket.bufferedAmount).toBe(0)
    socket.terminate()
  })
})
