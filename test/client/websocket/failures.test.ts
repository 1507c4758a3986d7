import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import { describe, expect, it } from 'vitest'
import { WebSocket as WsClient } from 'ws'
import { deadPort } from '../../rigs/dead-port.ts'
import { agentOf } from '../http/agent/rig.ts'
import { opened, serve } from '../http/opened.ts'
import { chat, rigTo, webSocket } from './rig.ts'

const answer = (status: string, ...headers: string[]): string =>
  `HTTP/1.1 ${[status, ...headers, 'content-length: 4', 'connection: close'].join('\r\n')}\r\n\r\nnope`

describe('a handshake that fails', () => {
  it.each([
    ['401 Unauthorized', 401, 'success'],
    ['403 Forbidden', 403, 'success'],
    ['404 Not Found', 404, 'success'],
    ['500 Internal Server Error', 500, 'failure'],
  ])('shows the answer of the service: %s', async (line, status, verdict) => {
    const service = await chat({ refuse: (_request, socket) => Boolean(socket.end(answer(line))) })
    const rig = await rigTo([service])
    const seen = await webSocket(rig).heard('close')
    expect(seen.events).toEqual(['error', 'close'])
    expect(seen.error).toMatchObject({ status, message: `'chat' answered the WebSocket handshake with ${line}` })
    expect(seen.closed).toMatchObject({ code: 1006, wasClean: false })
    expect(service.handshakes.length).toBe(1)
    await expect.poll(() => rig.attempts.outcomes.map((each) => each.verdict)).toEqual([verdict])
    await expect.poll(() => rig.transport.connections).toBe(0)
  })

  it('counts as what it was for a client that drops it, as ws does', async () => {
    const refuse = (_request: unknown, socket: { end(text: string): unknown }): boolean =>
      Boolean(socket.end('HTTP/1.1 403 Forbidden\r\ntransfer-encoding: chunked\r\n\r\n'))
    const rig = await rigTo([await chat({ refuse })])
    const socket = new WsClient('ws://chat.mesh/room', { agent: agentOf(rig) })
    const [error] = await once(socket, 'error')
    expect(error.message).toContain('403')
    await expect.poll(() => rig.attempts.outcomes.map(({ verdict }) => verdict)).toEqual(['success'])
  })

  it('goes elsewhere if it was certainly not executed', async () => {
    const refusing = await chat({
      refuse: (_request, socket) => Boolean(socket.end(answer('503 Busy', 'inmesh-not-executed: overloaded'))),
    })
    const willing = await chat()
    const rig = await rigTo([{ port: await deadPort() }, willing, refusing])
    const seen = await webSocket(rig).heard('open')
    expect(willing.open.length).toBe(1)
    expect(rig.attempts.outcomes.map(({ verdict, code }) => [verdict, code])).toEqual([
      ['refused', 'connect-failed'],
      ['refused', 'refused-by-peer'],
    ])
    expect(willing.handshakes[0]!.headers['inmesh-previous-attempts']).toBe('2')
    seen.socket.close()
  })

  it('is not repeated once it may have been executed, unless it is idempotent', async () => {
    const failing = await chat({ refuse: (_request, socket) => Boolean(socket.destroy()) })
    const willing = await chat()
    const rig = await rigTo([failing, willing])
    const seen = await webSocket(rig).heard('close')
    expect(seen.error).toMatchObject({ code: 'connection-lost', sent: true })
    expect(willing.handshakes.length).toBe(0)
    const again = await rigTo([failing, willing])
    await webSocket(again, '/room', { idempotent: true }).heard('open')
    expect(willing.open.length).toBe(1)
  })

  it.each([
    ['with retry: false', { retry: false as const }],
    ['with no other endpoint', {}],
  ])('tells why no connection could be made: %s', async (_what, options) => {
    const rig = await rigTo([{ port: await deadPort() }])
    const seen = await webSocket(rig, '/room', { ...options, timeout: '20s' }).heard('close')
    expect(seen.error).toMatchObject({ name: 'MeshError', code: 'connect-failed', service: 'chat', sent: false })
  })

  it('ends at its deadline, which does not bind an open one', async () => {
    const silent = await serve(() => {})
    const slow = await webSocket(await rigTo([silent]), '/room', { timeout: 50 }).heard('close')
    expect(slow.error).toMatchObject({ code: 'deadline-exceeded' })
    const rig = await rigTo([await chat()], { timeoutMs: 600 })
    const open = await webSocket(rig).heard('open')
    await new Promise((resolve) => setTimeout(resolve, 900))
    open.socket.send('still here')
    await open.heard('message')
  })

  it.each([
    ['close()', (_abort: AbortController, socket: WebSocket) => socket.close()],
    ['the signal', (abort: AbortController) => abort.abort(new Error('no longer'))],
  ])('is given up by %s while it connects', async (_what, giveUp) => {
    const silent = await serve(() => {})
    const rig = await rigTo([silent])
    const abort = new AbortController()
    const seen = webSocket(rig, '/room', { signal: abort.signal })
    await expect.poll(() => rig.transport.connections).toBe(1)
    giveUp(abort, seen.socket)
    await seen.heard('close')
    expect(seen.events).toEqual(['error', 'close'])
    await expect.poll(() => rig.transport.connections).toBe(0)
    await expect.poll(() => rig.attempts.outcomes.map(({ verdict }) => verdict)).toEqual(['cancelled'])
  })

  it('takes nothing for a WebSocket that does not prove that it is one', async () => {
    const rig = await rigTo([
      await chat({
        refuse: (_request, socket) =>
          socket.write(
            'HTTP/1.1 101 Sure\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: x\r\n\r\n',
          ),
      }),
    ])
    const seen = await webSocket(rig).heard('close')
    expect(seen.events).toEqual(['error', 'close'])
    await expect.poll(() => rig.transport.connections).toBe(0)
    await expect.poll(() => rig.attempts.outcomes.length).toBe(1)
  })

  it('has no endpoint', async () => {
    const seen = await webSocket(await rigTo([]), '/room', { timeout: 30 }).heard('close')
    expect(seen.error).toMatchObject({ code: 'deadline-exceeded', sent: false })
  })
})

describe('an open WebSocket', () => {
  it('is told when the peer dies, and the endpoint is charged', async () => {
    const service = await chat()
    const rig = await rigTo([service])
    const seen = await webSocket(rig).heard('open')
    service.open[0]!.terminate()
    await seen.heard('close')
    expect(seen.events).toEqual(['open', 'error', 'close'])
    expect(seen.error).toMatchObject({ code: 'connection-lost', service: 'chat' })
    expect(seen.closed).toMatchObject({ code: 1006, wasClean: false })
    expect(rig.attempts.outcomes).toMatchObject([{ verdict: 'failure', code: 'connection-lost' }])
  })

  it('delivers what the peer sent before it died', async () => {
    const service = await chat({
      onOpen: (socket) => {
        socket.send('last words')
        socket.send('x'.repeat(300_000), () => socket.terminate())
      },
    })
    const seen = await webSocket(await rigTo([service])).heard('close')
    expect(seen.messages.map((each) => (each as string).length)).toEqual([10, 300_000])
  })

  it.each([
    ['a reset', (socket: Socket) => socket.resetAndDestroy()],
    ['bytes that are no frames', (socket: Socket) => socket.write(Buffer.from([0xff, 0xff, 0xff, 0xff]))],
  ])('survives %s', async (_what, attack) => {
    const sockets: Socket[] = []
    const service = await chat({ onOpen: (_socket, request) => sockets.push(request.socket as Socket) })
    const rig = await rigTo([service])
    const seen = await webSocket(rig).heard('open')
    attack(sockets[0]!)
    await seen.heard('close')
    expect(seen.closed).toMatchObject({ code: 1006 })
    await expect.poll(() => rig.attempts.outcomes.length).toBe(1)
  })

  it('is broken off by its signal', async () => {
    const rig = await rigTo([await chat()])
    const abort = new AbortController()
    const seen = await webSocket(rig, '/room', { signal: abort.signal }).heard('open')
    abort.abort()
    await seen.heard('close')
    expect(seen.error).toMatchObject({ code: 'cancelled' })
    await expect.poll(() => rig.attempts.outcomes.map(({ verdict }) => verdict)).toEqual(['cancelled'])
  })

  it('waits for a slow peer, and a slow reader makes the peer wait', async () => {
    let taken = 0
    const reading = Promise.withResolvers<void>()
    const server: Server = createServer((socket) => {
      socket.on('error', () => {})
      socket.once('data', (bytes) => {
        const key = /sec-websocket-key: (.*)\r\n/i.exec(bytes.toString())![1]!
        import('node:crypto').then(({ hash }) => {
          const accept = hash('sha1', `${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`, 'base64')
          socket.write(
            `HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: ${accept}\r\n\r\n`,
          )
          socket.pause()
          void reading.promise.then(() => socket.on('data', (part) => (taken += part.length)).resume())
        })
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    opened(server)
    const seen = await webSocket(await rigTo([{ port: (server.address() as { port: number }).port }])).heard('open')
    const part = Buffer.alloc(1_000_000)
    for (let i = 0; i < 50; i++) seen.socket.send(part)
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(seen.socket.bufferedAmount).toBeGreaterThan(10_000_000)
    reading.resolve()
    await expect.poll(() => seen.socket.bufferedAmount).toBe(0)
    await expect.poll(() => taken).toBeGreaterThan(50_000_000)
    seen.socket.close()
  })
})
