/** Bounds of a server whose caller set none: on a fake clock, over real sockets. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { connect as tlsConnect } from 'node:tls'
import { describe, expect, it, onTestFinished } from 'vitest'
import { flushedBytes } from '../../src/server/stall-detector.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import { FLAG, FRAME, frames } from '../rigs/raw-http2.ts'
import { begin, itemBytes, type Kind, type ShopHandlers } from '../rigs/shop.ts'
import { standsStill } from '../rigs/stands-still.ts'
import { callHeaders, rawClient, serveShop, shopClient } from './grpc/rig.ts'
import { authority, clientOf, OneAtATime, pause, serve, serverStack } from './rig.ts'

const TIMEOUT_MS = 3_000

function bounded() {
  const clock = new FakeClock({ wallNow: Date.now() })
  const limit = new OneAtATime()
  return { clock, limit, dependencies: { clock, stack: serverStack([limit], TIMEOUT_MS) } }
}

/** A client that says `text` and reads only when it is asked to. */
function open(
  port: number,
  text: string,
  secure = false,
): { socket: Socket; closed: () => boolean; got: () => string } {
  let [closed, got] = [false, '']
  const ready = (): unknown => socket.write(text)
  const tls = { ...clientOf('checkout'), ca: authority.certificate, checkServerIdentity: () => undefined }
  const socket: Socket = secure
    ? tlsConnect({ port, host: '127.0.0.1', ...tls }, ready)
    : connect(port, '127.0.0.1', ready)
  onTestFinished(() => void socket.destroy())
  socket.on('error', () => {})
  socket.on('close', () => {
    closed = true
  })
  socket.on('data', (part) => {
    got = (got + part.toString('latin1')).slice(0, 1_000)
  })
  return { socket, closed: () => closed, got: () => got }
}

const POST = 'POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n'
const GET = 'GET / HTTP/1.1\r\nhost: a\r\n\r\n'

describe('a request without a deadline', () => {
  it("is answered with 504 when the service's own timeout has passed", async () => {
    const { clock, limit, dependencies } = bounded()
    const { server } = await serve(() => {}, {}, dependencies)
    const client = open(server.port, GET)
    await expect.poll(() => limit.running).toBe(1)
    clock.advance(TIMEOUT_MS + 1)
    await expect.poll(client.got).toContain('HTTP/1.1 504')
    await expect.poll(() => limit.running).toBe(0)
    client.socket.destroy()
  })

  it('is bounded while its body trickles, and is not while it moves', async () => {
    for (const moves of [false, true]) {
      const { clock, limit, dependencies } = bounded()
      let received = 0
      const { server } = await serve(
        (request) => request.on('data', (part) => (received += part.length)),
        {},
        dependencies,
      )
      const client = open(server.port, POST)
      await expect.poll(() => limit.running).toBe(1)
      for (let i = 0; i < 6; i++) {
        const before = received
        client.socket.write('x'.repeat(moves ? 2_000 : 2))
        if (!client.closed()) await expect.poll(() => received > before || client.closed()).toBe(true)
        clock.advance(10_001)
      }
      if (moves) expect(limit.running).toBe(1)
      else {
        await expect.poll(() => limit.running).toBe(0)
        await expect.poll(client.got).toContain('HTTP/1.1 504')
      }
      client.socket.destroy()
      await expect.poll(() => limit.running).toBe(0)
    }
  })

  it.each([false, true])(
    'ends when its reader takes nothing, and not while it takes something (TLS: %s)',
    async (tls) => {
      for (const reads of [false, true]) {
        const { clock, limit, dependencies } = bounded()
        const body = Buffer.alloc(32 * 1024 * 1024)
        let sent = (): number => 0
        const { server } = await serve(
          (request, response) => {
            sent = () => flushedBytes(request.socket)
            response.end(body)
          },
          { mode: tls ? 'strict' : 'plaintext' },
          dependencies,
        )
        const client = open(server.port, GET, tls)
        client.socket.once('data', () => client.socket.pause())
        await expect.poll(() => client.got().length).toBeGreaterThan(0)
        // What the system buffers for the two sockets is taken at first.
        await standsStill(sent)
        for (let i = 0; i < 6; i++) {
          if (reads) {
            for (let taken = 0; taken < 1_000_000; ) {
              taken += (client.socket.read() as Buffer | null)?.length ?? 0
              await pause(1)
            }
            await standsStill(sent)
          }
          clock.advance(10_001)
        }
        if (reads) expect([client.closed(), limit.running]).toEqual([false, 1])
        else await expect.poll(() => limit.running).toBe(0)
        client.socket.destroy()
        await expect.poll(() => limit.running).toBe(0)
      }
    },
  )

  it('stays open as a stream of events that has nothing to say', async () => {
    const { clock, limit, dependencies } = bounded()
    const { server } = await serve(
      (_request, response) =>
        void response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n'),
      {},
      dependencies,
    )
    const client = open(server.port, GET)
    await expect.poll(client.got).toContain('data: 1')
    for (let i = 0; i < 60; i++) clock.advance(60_000)
    expect([client.closed(), limit.running]).toEqual([false, 1])
    client.socket.destroy()
    await expect.poll(() => limit.running).toBe(0)
  })
})

describe('a gRPC call without a deadline', () => {
  const options = { keepalive: '1h' as const }
  const filler = Buffer.alloc(1024 * 1024)

  it.each<[string, Kind, (arrived: () => void) => ShopHandlers]>([
    ['a unary call that is not answered', 'get', (arrived) => ({ Get: arrived })],
    [
      'a stream of requests whose sender is idle',
      'upload',
      (arrived) => ({ Upload: (call) => void call.on('data', arrived) }),
    ],
    [
      'a stream of requests whose handler does not answer',
      'upload',
      (arrived) => ({ Upload: (call) => void call.resume().on('end', arrived) }),
    ],
  ])('ends %s', async (what, kind, handlers) => {
    const { clock, limit, dependencies } = bounded()
    const arrived = Promise.withResolvers<void>()
    const { server } = await serveShop(handlers(arrived.resolve), options, dependencies)
    const { ended } = begin(shopClient(server.port), kind, { open: what.includes('idle') })
    await arrived.promise
    if (kind === 'get') clock.advance(TIMEOUT_MS + 1)
    else for (let i = 0; i < 8; i++) clock.advance(10_001)
    expect(await ended).toMatchObject({ code: 4 })
    await expect.poll(() => limit.running).toBe(0)
  })

  it.each<Kind>(['watch', 'chat'])('keeps a %s that has nothing to say', async (kind) => {
    const { clock, limit, dependencies } = bounded()
    const quiet = (call: { write(stock: object): unknown }): void => void call.write({})
    const { server } = await serveShop({ Watch: quiet as never, Chat: quiet as never }, options, dependencies)
    const running = begin(shopClient(server.port), kind, { open: true })
    await once(running.call, 'data')
    for (let i = 0; i < 30; i++) clock.advance(60_000)
    expect(limit.running).toBe(1)
    running.cancel()
    await expect.poll(() => limit.running).toBe(0)
  })

  it('keeps a stream of requests that come one a half minute', async () => {
    const { clock, limit, dependencies } = bounded()
    let received = 0
    const { server } = await serveShop(
      { Upload: (call) => void call.on('data', () => (received += 1)) },
      options,
      dependencies,
    )
    const { call, cancel } = begin(shopClient(server.port), 'upload', { open: true })
    for (let i = 1; i <= 6; i++) {
      await expect.poll(() => received).toBe(i)
      for (let look = 0; look < 3; look++) clock.advance(10_001)
      ;(call as unknown as { write(item: object): void }).write({ sku: 'more' })
    }
    expect(limit.running).toBe(1)
    cancel()
    await expect.poll(() => limit.running).toBe(0)
  })

  it.each<[Kind, Record<string, string>]>([
    ['watch', {}],
    ['chat', {}],
    ['watch', { 'grpc-timeout': '9000H' }],
  ])('ends a %s whose reader takes nothing (%j)', async (kind, more) => {
    const { clock, limit, dependencies } = bounded()
    const chatty = (call: { write(stock: object): unknown }): void => {
      for (let i = 0; i < 8; i++) call.write({ filler })
    }
    const { server } = await serveShop({ Watch: chatty as never, Chat: chatty as never }, options, dependencies)
    // Its windows are never opened again.
    const raw = await rawClient(server.port)
    const path = `/shop.Inventory/${kind === 'watch' ? 'Watch' : 'Chat'}`
    const message = Buffer.concat([Buffer.of(0, 0, 0, 0, itemBytes('a').length), itemBytes('a')])
    raw.write(frames.headers(1, callHeaders(path, more), FLAG.endHeaders), frames.data(1, message, FLAG.endStream))
    await raw.frame(({ type }) => type === FRAME.data)
    await expect.poll(() => limit.running).toBe(1)
    await standsStill(() => raw.received.length)
    for (let i = 0; i < 7; i++) {
      clock.advance(10_001)
      await pause(5)
    }
    await expect.poll(() => limit.running).toBe(0)
  })
})

it('counts what the system has taken, not what waits in this process', async () => {
  const waiting: Socket[] = []
  const { server } = await serve((request, response) => {
    waiting.push(request.socket)
    response.end(Buffer.alloc(128 * 1024 * 1024))
  })
  const client = open(server.port, GET)
  client.socket.once('data', () => client.socket.pause())
  await expect.poll(() => waiting.length).toBe(1)
  await standsStill(() => flushedBytes(waiting[0]!))
  expect(waiting[0]!.bytesWritten).toBeGreaterThan(128_000_000)
  expect(flushedBytes(waiting[0]!)).toBeLessThan(128_000_000)
  client.socket.resume()
  await expect.poll(() => flushedBytes(waiting[0]!)).toBeGreaterThan(128_000_000)
  client.socket.destroy()
})
