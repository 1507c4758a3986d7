/**
 * Frames that carry no request are counted by their bytes; what honest peers send is none of it.
 */
import { once } from 'node:events'
import http2, { type Http2Server, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type FloodGuard, type FloodReason, GUARDED_SERVER, guardSession } from '../../src/net/http2-flood-guard.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import { FLAG, FRAME, frameOf, frames, RawHttp2 } from '../rigs/raw-http2.ts'

const POST = { ':method': 'POST', ':scheme': 'http', ':authority': 'a', ':path': '/' }
const BUDGET = 131_072

let server: Http2Server
let clock: FakeClock
let session: ServerHttp2Session
let guard: FloodGuard
let floods: FloodReason[]
let serve: (stream: ServerHttp2Stream) => void
let raw: RawHttp2

beforeEach(async () => {
  clock = new FakeClock()
  floods = []
  serve = (stream) => stream.resume()
  server = http2.createServer(GUARDED_SERVER)
  server.on('session', (one) => {
    session = one
    guard = guardSession(one, clock, (reason) => floods.push(reason))
  })
  server.on('stream', (stream) => serve(stream.on('error', () => {})))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  raw = await RawHttp2.connect((server.address() as AddressInfo).port)
  await raw.frame(({ type, flags }) => type === FRAME.settings && flags === FLAG.ack)
})

afterEach(async () => {
  await raw.close()
  await new Promise<void>((resolve) => server.close(() => resolve()))
})

/**
 * Sends `frame` so often that it makes `bytes`, waits until all is read, and lets the guard look.
 */
async function send(frame: Buffer, bytes: number): Promise<void> {
  const count = Math.ceil(bytes / frame.length)
  await sendAll(Array.from({ length: count }, () => frame))
}

async function sendAll(all: readonly Buffer[]): Promise<void> {
  raw.write(...all)
  await read()
  guard.look()
}

/** All that was sent has been read: a PING behind it is answered. */
async function read(): Promise<void> {
  const pongs = () => raw.received.filter(({ type }) => type === FRAME.ping).length
  const before = pongs()
  raw.write(frames.ping())
  await expect.poll(() => pongs() > before || raw.closed, { interval: 2 }).toBe(true)
}

const FLOODS: readonly (readonly [string, Buffer])[] = [
  ['WINDOW_UPDATE of the connection', frames.windowUpdate(0, 1)],
  ['WINDOW_UPDATE of a stream', frames.windowUpdate(1, 1)],
  ['DATA of nothing but padding', frameOf(FRAME.data, 8, 1, Buffer.concat([Buffer.of(20), Buffer.alloc(20)]))],
]

describe('a connection that sends', () => {
  it.each(FLOODS)('%s is cut by more than the budget', async (_name, frame) => {
    raw.write(frames.headers(1, POST, FLAG.endHeaders))
    await send(frame, BUDGET * 0.9)
    expect(floods).toEqual([])
    await send(frame, BUDGET * 0.2)
    expect(await raw.ends()).toBe(true)
    expect(floods).toEqual(['frame-flood'])
  })

  it.each(FLOODS)('%s is not cut by half of the budget in each window', async (_name, frame) => {
    raw.write(frames.headers(1, POST, FLAG.endHeaders))
    for (let i = 0; i < 6; i++) {
      await send(frame, BUDGET / 2)
      clock.advance(10_000)
      guard.look()
    }
    expect([raw.closed, floods]).toEqual([false, []])
  })

  it('useless frames is cut although it has had a large answer', async () => {
    serve = (stream) => {
      stream.respond({ ':status': 200 })
      stream.end(Buffer.alloc(1_000_000))
    }
    raw.write(frames.windowUpdate(0, 1_000_000), frames.settings({ 4: 1_000_000 }), frames.headers(1, POST))
    await raw.frame(({ type, flags }) => type === FRAME.data && flags === FLAG.endStream)
    guard.look()
    for (let i = 0; i < 50 && floods.length === 0; i++) await send(frames.windowUpdate(0, 1), 10_000)
    expect(floods).toEqual(['frame-flood'])
  })

  it.each([
    ['PRIORITY', frames.priority(3)],
    ['frames of an unknown type', frameOf(0x77, 0, 0)],
  ])('%s is cut, by the guard or by Node before it', async (_name, frame) => {
    for (let i = 0; i < 12 && !raw.closed; i++) await send(frame, BUDGET / 10)
    expect(await raw.ends()).toBe(true)
  })

  it('useless frames is cut although it is served again and again', async () => {
    serve = (stream) => {
      stream.respond({ ':status': 200 })
      stream.end('ok')
    }
    for (let i = 0; i < 20 && floods.length === 0; i++) {
      raw.write(frames.headers(2 * i + 1, POST))
      await send(frames.windowUpdate(0, 1), 20_000)
    }
    expect(floods).toEqual(['frame-flood'])
  })
})

describe('an honest peer is not cut', () => {
  it('that uploads a megabyte in messages of one byte', async () => {
    raw.write(frames.headers(1, POST, FLAG.endHeaders))
    for (let i = 0; i < 25; i++) await send(frames.data(1, Buffer.of(1)), 40_000)
    expect(floods).toEqual([])
  })

  it('whose uploads are answered before they are read', async () => {
    serve = (stream) => stream.respond({ ':status': 403 }, { endStream: true })
    for (let i = 0; i < 20; i++) {
      raw.write(frames.headers(2 * i + 1, POST, FLAG.endHeaders))
      await raw.frame(({ type, streamId }) => type === FRAME.headers && streamId === 2 * i + 1)
      // On its way when the answer came, up to the window.
      await sendAll([frames.data(2 * i + 1, Buffer.alloc(16_000)), frames.data(2 * i + 1, Buffer.alloc(16_000))])
      raw.write(frames.windowUpdate(0, 32_000))
    }
    expect(floods).toEqual([])
  })

  it('whose requests have heads of 4 kB', async () => {
    for (let i = 0; i < 50; i++) {
      await sendAll([frames.headers(2 * i + 1, { ...POST, 'x-token': 'a'.repeat(4_000) })])
    }
    expect(floods).toEqual([])
  })

  it('that answers each small message with a WINDOW_UPDATE of the stream and one of the connection', async () => {
    let stream: ServerHttp2Stream | undefined
    serve = (one) => {
      stream = one
      one.respond({ ':status': 200 })
    }
    raw.write(frames.headers(1, POST, FLAG.endHeaders))
    await read()
    for (let round = 0; round < 20; round++) {
      const before = raw.received.length
      // Each in a frame, because writes of one turn share one.
      for (let i = 0; i < 300; i++) await new Promise((resolve) => stream!.write(Buffer.of(1), resolve))
      await expect.poll(() => raw.received.length, { interval: 2 }).toBe(before + 300)
      guard.look()
      await sendAll(Array.from({ length: 300 }, () => [frames.windowUpdate(1, 1), frames.windowUpdate(0, 1)]).flat())
    }
    expect([raw.closed, floods]).toEqual([false, []])
  })

  it('that uploads and downloads 20 MB as an HTTP/2 client of Node', async () => {
    serve = (stream) => {
      stream.respond({ ':status': 200 })
      stream.pipe(stream)
    }
    const client = http2.connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    const stream = client.request(POST)
    let received = 0
    stream.on('data', (chunk: Buffer) => {
      received += chunk.length
      guard.look()
    })
    const chunk = Buffer.alloc(50_000)
    for (let i = 0; i < 400; i++) if (!stream.write(chunk)) await once(stream, 'drain')
    stream.end()
    await once(stream, 'close')
    expect([received, session.destroyed, floods]).toEqual([20_000_000, false, []])
    client.destroy()
  })
})
