/** What libraries do with a socket that they are given, against plain TCP servers. */
import { AsyncLocalStorage } from 'node:async_hooks'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { describe, expect, it } from 'vitest'
import { deadPort } from '../../rigs/dead-port.ts'
import { echo, tcpTarget } from '../../rigs/tcp-target.ts'
import { endpoint } from '../http/rig.ts'
import { TcpRig, type TcpRigOptions } from './rig.ts'

async function rigTo(serve: (socket: Socket) => void, options?: TcpRigOptions): Promise<TcpRig> {
  const { server } = await tcpTarget(serve)
  return new TcpRig([endpoint((server.address() as { port: number }).port)], options)
}

function closed(socket: Socket): Promise<unknown> {
  return new Promise((resolve) => socket.once('close', resolve))
}

describe('a socket of the mesh', () => {
  it('may be used like one of node:net, before and after it is connected', async () => {
    const rig = await rigTo(echo)
    const socket = rig.connect()
    const events: string[] = []
    for (const name of ['connect', 'ready', 'end', 'finish', 'close']) socket.on(name, () => events.push(name))
    // As pg does, with host and port of its settings.
    expect(socket.connect(5432, 'localhost')).toBe(socket)
    expect(socket.setNoDelay(true).setKeepAlive(true, 1_000).setTimeout(60_000).ref().unref().ref()).toBe(socket)
    expect([socket.remotePort, socket.bytesRead, socket.address()]).toEqual([undefined, 0, {}])
    socket.cork()
    socket.write('a')
    socket.write(Buffer.from('b'))
    socket.uncork()
    await once(socket, 'ready')
    expect([socket.remoteAddress, socket.remoteFamily, socket.localAddress]).toEqual(['127.0.0.1', 'IPv4', '127.0.0.1'])
    expect([typeof socket.remotePort, typeof socket.localPort, socket.timeout]).toEqual(['number', 'number', 60_000])
    socket.setEncoding('utf8')
    const over = closed(socket)
    socket.end('c')
    expect(await text(socket)).toBe('abc')
    await over
    expect(events).toEqual(['connect', 'ready', 'finish', 'end', 'close'])
    expect([socket.bytesWritten, socket.bytesRead, socket.destroyed]).toEqual([3, 3, true])
  })

  it('emits timeout while it connects and while it is idle', async () => {
    const rig = await rigTo(() => {})
    const socket = rig.connect()
    socket.setTimeout(50)
    await once(socket, 'connect')
    await once(socket, 'timeout')
    socket.setTimeout(0)
    socket.destroy()
    const nowhere = new TcpRig([])
    const waiting = nowhere.connect({ timeout: '10s' })
    const over = closed(waiting)
    waiting.setTimeout(20, () => waiting.destroy())
    await over
    expect(nowhere.endedCalls).toHaveLength(1)
  })

  it('that is destroyed before it is connected leaves no connection behind', async () => {
    const rig = await rigTo(echo)
    const socket = rig.connect()
    const written = new Promise((resolve) => socket.write('x', resolve))
    const over = closed(socket)
    socket.on('error', () => {})
    socket.destroy()
    expect(await written).toBeInstanceOf(Error)
    await over
    await expect.poll(() => rig.transport.connections).toBe(0)
    expect(rig.attempts.outcomes.map(({ verdict }) => verdict)).toEqual(['cancelled'])
    expect(rig.endpoint.pending).toBe(0)
  })

  it('ends with its signal, before and after it is connected', async () => {
    const rig = await rigTo(echo)
    const early = rig.connect({ signal: AbortSignal.abort() })
    expect(await once(early, 'error')).toMatchObject([{ name: 'AbortError' }])
    const abort = new AbortController()
    const late = rig.connect({ signal: abort.signal })
    await once(late, 'connect')
    abort.abort()
    expect(await once(late, 'error')).toMatchObject([{ name: 'AbortError' }])
    await expect.poll(() => rig.transport.connections).toBe(0)
  })

  it('runs listeners and callbacks in the context of its caller', async () => {
    const rig = await rigTo(echo)
    const context = new AsyncLocalStorage<string>()
    const seen: unknown[] = []
    await context.run('ours', async () => {
      const socket = rig.connect()
      const see = (): void => void seen.push(context.getStore())
      for (const name of ['connect', 'data', 'end', 'close']) socket.on(name, see)
      socket.write('x', see)
      await once(socket, 'data')
      const over = closed(socket)
      socket.end()
      await over
    })
    expect(seen).toEqual(['ours', 'ours', 'ours', 'ours', 'ours'])
  })

  it('refuses options that it does not know', async () => {
    const rig = new TcpRig([])
    const connect = (options: unknown) => rig.connect(options as never)
    expect(() => connect({ timeout: 'soon' })).toThrow(/timeout: expected a duration/)
    expect(() => connect({ signal: {} })).toThrow(/signal: expected an AbortSignal/)
    expect(() => connect({ key: '' })).toThrow(/key: expected text/)
    expect(() => connect({ port: 1 })).toThrow(/port/)
  })
})

describe('what the policies see', () => {
  it('is one success, with the first byte, while the connection stays load until it closes', async () => {
    const rig = await rigTo((socket) => socket.write('hello'))
    const socket = rig.connect()
    await once(socket, 'data')
    expect(rig.attempts.outcomes.map(({ verdict }) => verdict)).toEqual(['success'])
    expect(rig.calls.outcomes.map(({ verdict }) => verdict)).toEqual(['success'])
    expect(rig.endpoint.pending).toBe(1)
    const over = closed(socket)
    socket.destroy()
    await over
    expect([rig.endpoint.pending, rig.transport.connections]).toEqual([0, 0])
    expect(rig.attempts.outcomes).toHaveLength(1)
  })

  it('is one success after a second of silence', async () => {
    const rig = await rigTo(() => {})
    const socket = rig.connect()
    await once(socket, 'connect')
    expect(rig.attempts.outcomes).toEqual([])
    await expect.poll(() => rig.attempts.outcomes.length, { timeout: 15_000 }).toBe(1)
    expect(rig.attempts.outcomes[0]).toMatchObject({ verdict: 'success' })
    expect(rig.endpoint.pending).toBe(1)
    socket.destroy()
    await expect.poll(() => rig.endpoint.pending).toBe(0)
  })

  it.each([
    ['resets', (socket: Socket) => void setTimeout(() => socket.resetAndDestroy(), 20)],
    ['ends', (socket: Socket) => void socket.end()],
  ])('is a failure of a peer that %s before it has sent a byte', async (_what, serve) => {
    const rig = await rigTo(serve)
    const socket = rig.connect()
    socket.on('error', () => {})
    const over = closed(socket)
    socket.resume()
    await over
    expect(rig.attempts.outcomes).toMatchObject([{ verdict: 'failure', code: 'connection-lost' }])
    expect(rig.attempts.admitted).toBe(1)
    expect(rig.endpoint.pending).toBe(0)
  })

  it('is a refusal of an endpoint that cannot be connected to, and a success of the next', async () => {
    const { server } = await tcpTarget(echo)
    const { port } = server.address() as { port: number }
    const rig = new TcpRig([endpoint(await deadPort()), endpoint(port)])
    const socket = rig.connect()
    socket.end('x')
    expect(await text(socket)).toBe('x')
    expect(rig.attempts.outcomes).toMatchObject([
      { verdict: 'refused', code: 'connect-failed' },
      { verdict: 'success' },
    ])
    expect(rig.endedCalls).toHaveLength(1)
    await expect.poll(() => rig.cluster.endpoints.map(({ pending }) => pending)).toEqual([0, 0])
  })

  it('is a refusal by a policy, told by the error of the socket', async () => {
    const rig = await rigTo(echo)
    rig.calls.refuseWith = 'concurrency-limited'
    expect(await once(rig.connect(), 'error')).toMatchObject([{ code: 'concurrency-limited', sent: false }])
  })
})
