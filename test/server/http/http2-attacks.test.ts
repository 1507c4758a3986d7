/** Clients that attack an HTTP server by HTTP/2: what they cost, while an honest client goes on. */
import { connect } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import { currentCall } from '../../../src/server/current-call.ts'
import type { HttpListener } from '../../../src/server/http/application.ts'
import type { HttpServerOptions } from '../../../src/server/http/options.ts'
import type { HttpServer } from '../../../src/server/http/server.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'
import { type Flood, floodsOfFrames, keepCalling, many } from '../../rigs/http2-floods.ts'
import { FLAG, FRAME, frameOf, frames, headerBlock, type RawHttp2 } from '../../rigs/raw-http2.ts'
import { clientOf, ask as get, serve, serverStack } from '../rig.ts'
import { ask, open, rawHttp2, requestHeaders } from './http2-rig.ts'

const GET = requestHeaders('/flood')
const POST = requestHeaders('/flood', { ':method': 'POST' })

/** Requests of an honest client, one after another, until it is stopped; gives the statuses. */
function honest(server: HttpServer): () => Promise<(number | undefined)[]> {
  const session = open(server.port, clientOf('checkout'))
  return keepCalling(async () => (await ask(session, { headers: { ':path': '/honest' } })).status)
}

async function attacked(
  listener: HttpListener = (_request, response) => response.end('x'),
  options: HttpServerOptions = {},
) {
  const ran = { honest: 0, flood: 0 }
  const served = await serve(
    (request, response) => {
      if (request.url !== '/honest') {
        ran.flood += 1
        return listener(request, response)
      }
      ran.honest += 1
      return response.end('fine')
    },
    { mode: 'strict', ...options },
  )
  const stop = honest(served.server)
  await expect.poll(() => ran.honest).toBeGreaterThan(2)
  const attacker = await rawHttp2(served.server.port, clientOf('mallory'))
  /** The honest client goes on, and has lost nothing. */
  const unharmed = async (): Promise<void> => {
    const before = ran.honest
    await expect.poll(() => ran.honest).toBeGreaterThan(before + 5)
    expect((await stop()).filter((status) => status !== 200)).toEqual([])
  }
  return { ...served, ran, unharmed, attacker }
}

function onStreams(raw: RawHttp2, count: number, send: (id: number) => Buffer[]): void {
  for (let i = 0; i < count; i++) raw.write(...send(2 * i + 1))
}

/** One entry of the HPACK table, and references to it of one byte each. */
function bomb(references: number): Buffer {
  const value = Buffer.alloc(3_900, 'x')
  const length = Buffer.of(127, ((value.length - 127) % 128) + 128, Math.floor((value.length - 127) / 128))
  const entry = Buffer.concat([Buffer.of(0x40, 6), Buffer.from('x-bomb'), length, value])
  return Buffer.concat([headerBlock(GET), entry, Buffer.alloc(references, 0xbe)])
}

/** Node 22 answers the first such DATA with GOAWAY, reads no more, and waits for what it runs. */
const AFTER_THE_END = 'resets that we are made to send, by data after the end'
const ENDS_BY_GOAWAY = Number.parseInt(process.versions.node, 10) < 24

const FLOODS: Readonly<Record<string, Flood>> = {
  'rapid reset': {
    flood: (raw) => onStreams(raw, 5_000, (id) => [frames.headers(id, GET), frames.reset(id)]),
    reason: 'rapid-reset',
  },
  'resets that we are made to send, by an increment of nothing': {
    flood: (raw) =>
      onStreams(raw, 5_000, (id) => [frames.headers(id, POST, FLAG.endHeaders), frames.windowUpdate(id, 0)]),
  },
  'resets that we are made to send, by windows that overflow': {
    flood: (raw) =>
      onStreams(raw, 5_000, (id) => [
        frames.headers(id, POST, FLAG.endHeaders),
        frames.windowUpdate(id, 2 ** 31 - 1),
        frames.windowUpdate(id, 2 ** 31 - 1),
      ]),
  },
  [AFTER_THE_END]: {
    flood: (raw) => onStreams(raw, 5_000, (id) => [frames.headers(id, GET), frames.data(id, Buffer.of(1))]),
  },
  ...floodsOfFrames(GET),
  'empty DATA': {
    flood: (raw) => {
      raw.write(frames.headers(1, POST, FLAG.endHeaders))
      many(raw, frames.data(1, Buffer.alloc(0)))
    },
  },
  'streams beyond the limit': {
    flood: (raw) => onStreams(raw, 10_000, (id) => [frames.headers(id, POST, FLAG.endHeaders)]),
  },
}

describe('a flood', () => {
  it.each(Object.keys(FLOODS))('of %s is cut, and the honest go on', async (name) => {
    if (name === AFTER_THE_END && ENDS_BY_GOAWAY) {
      const { attacker, ran, unharmed } = await attacked(() => undefined)
      FLOODS[name]!.flood(attacker)
      await attacker.frame(({ type }) => type === FRAME.goAway)
      await unharmed()
      expect(ran.flood).toBeLessThanOrEqual(1)
      return
    }
    const { flood, reason } = FLOODS[name]!
    // It answers nothing, so that no answer counts against the flood.
    const { attacker, events, unharmed, server } = await attacked(() => undefined)
    flood(attacker)
    expect(await attacker.ends()).toBe(true)
    await unharmed()
    await expect.poll(() => server.stats).toMatchObject({ inFlight: 0 })
    if (reason !== undefined) {
      const told = events.of('peer:refused')
      expect(told).toHaveLength(1)
      expect(told[0]).toMatchObject({ side: 'server', reason, peer: 'mallory', address: '127.0.0.1' })
    }
  })

  it('of resets within one packet runs no handler', async () => {
    const { attacker, ran, unharmed } = await attacked()
    attacker.write(
      ...Array.from({ length: 2_000 }, (_, i) => [frames.headers(2 * i + 1, GET), frames.reset(2 * i + 1)]).flat(),
    )
    await unharmed()
    expect(ran.flood).toBe(0)
  })

  it('of streams that never end holds no more than its streams, and ends with its connection', async () => {
    const { attacker, ran, unharmed, server } = await attacked(() => undefined)
    onStreams(attacker, 250, (id) => [frames.headers(id, POST, FLAG.endHeaders)])
    await expect.poll(() => ran.flood).toBe(250)
    expect(server.stats.inFlight).toBeLessThanOrEqual(251)
    attacker.socket.destroy()
    await expect.poll(() => server.stats.inFlight).toBeLessThanOrEqual(1)
    await unharmed()
  })

  it('of headers that expand in the table of HPACK is refused by size', async () => {
    const { attacker, ran, unharmed } = await attacked()
    const before = process.memoryUsage().rss
    for (let i = 0; i < 50; i++) {
      const block = bomb(8_000)
      attacker.write(frameOf(FRAME.headers, FLAG.endHeaders | FLAG.endStream, 2 * i + 1, block))
    }
    expect(await attacker.frame(({ type }) => type === FRAME.reset || type === FRAME.goAway)).toBeDefined()
    // Each would be 31 MB.
    expect(process.memoryUsage().rss - before).toBeLessThan(200e6)
    expect(ran.flood).toBe(0)
    await unharmed()
  })
})

describe('a slow reader', () => {
  it('that gives no window holds what fits in one answer, and loses its stream at the deadline', async () => {
    const aborted: unknown[] = []
    const written: number[] = []
    const { attacker, unharmed, server } = await attacked((_request, response) => {
      const { signal } = currentCall()!
      signal.addEventListener('abort', () => aborted.push(signal.reason))
      response.writeHead(200)
      let bytes = 0
      const more = (): void => {
        while (!response.destroyed) {
          bytes += 65_536
          written.push(bytes)
          if (!response.write(Buffer.alloc(65_536))) return void response.once('drain', more)
        }
      }
      more()
    })
    attacker.write(frames.settings({ 4: 0 }))
    onStreams(attacker, 20, (id) => [frames.headers(id, requestHeaders('/flood', { 'inmesh-timeout-ms': '500' }))])
    await expect.poll(() => aborted.length).toBe(20)
    expect(Math.max(...written)).toBeLessThanOrEqual(4 * 65_536)
    expect(await attacker.frame(({ type }) => type === FRAME.reset)).toBeDefined()
    await expect.poll(() => server.stats.inFlight).toBeLessThanOrEqual(1)
    await unharmed()
  })

  it('that never reads its socket ends with the deadlines of its calls', async () => {
    const { ran, unharmed, server } = await attacked((_request, response) => response.end(Buffer.alloc(10_000_000)))
    const session = open(server.port, clientOf('mallory'))
    await ask(session, { headers: { ':path': '/first', ':method': 'HEAD' } })
    const before = ran.flood
    const socket = connect(server.port, '127.0.0.1')
    onTestFinished(() => void socket.destroy())
    const { promise, resolve } = Promise.withResolvers<void>()
    session.on('close', resolve)
    for (let i = 0; i < 10; i++) {
      const stream = session.request({ ':path': '/big', 'inmesh-timeout-ms': '500' })
      stream.on('error', () => {})
    }
    await expect.poll(() => ran.flood).toBe(before + 10)
    await expect.poll(() => server.stats.inFlight).toBeLessThanOrEqual(1)
    session.destroy()
    await promise
    await unharmed()
  })
})

describe('an upload that the handler does not read', () => {
  it('stops within its window, and other streams go on', async () => {
    const held = Promise.withResolvers<void>()
    let size = 0
    const { server } = await serve(async (request, response) => {
      if (request.method === 'GET') {
        response.end('beside it')
        return
      }
      await held.promise
      for await (const chunk of request) size += (chunk as Buffer).length
      response.end('read')
    })
    const session = open(server.port)
    const big = ask(session, { body: Buffer.alloc(5_000_000) })
    await expect.poll(() => server.stats.inFlight).toBe(1)
    for (let i = 0; i < 20; i++) expect((await ask(session)).body).toBe('beside it')
    const { effectiveRecvDataLength = 0 } = session.state
    expect(effectiveRecvDataLength).toBeLessThan(5_000_000)
    held.resolve()
    expect((await big).body).toBe('read')
    expect(size).toBe(5_000_000)
  })
})

describe('a connection that never becomes one', () => {
  it.each([
    ['a part of the preface', 'PRI * HT'],
    ['the preface alone', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
  ])('after %s is closed within headersTimeout', async (_what, said) => {
    const clock = new FakeClock({ wallNow: Date.now() })
    const { server } = await serve((_request, response) => response.end(), { headersTimeout: '500ms' }, { clock })
    const waiting = await rawHttp2(server.port)
    waiting.write(frames.ping())
    await waiting.frame(({ type, flags }) => type === FRAME.ping && flags === FLAG.ack)
    const socket = connect(server.port, '127.0.0.1')
    socket.resume().on('error', () => {})
    socket.write(said)
    await expect.poll(() => server.stats.connections).toBe(2)
    await expect
      .poll(() => {
        clock.advance(501)
        return server.stats.connections
      })
      .toBe(1)
    await expect.poll(() => socket.closed).toBe(true)
    expect(waiting.closed).toBe(false)
  })

  it('or that is half-closed ends, with the calls on it', async () => {
    let aborted = 0
    const { server } = await serve(() => {
      currentCall()!.signal.addEventListener('abort', () => {
        aborted += 1
      })
    })
    const raw = await rawHttp2(server.port)
    raw.write(frames.headers(1, GET))
    await expect.poll(() => server.stats.inFlight).toBe(1)
    raw.socket.end()
    await expect.poll(() => aborted).toBe(1)
    await expect.poll(() => server.stats).toMatchObject({ connections: 0, inFlight: 0 })
  })

  it('is asked to leave when it has been idle for keepAliveTimeout', async () => {
    const { server } = await serve((_request, response) => response.end(), { keepAliveTimeout: '500ms' })
    const raw = await rawHttp2(server.port)
    raw.write(frames.headers(1, GET))
    expect(await raw.frame(({ type }) => type === FRAME.goAway)).toBeDefined()
    expect(await raw.ends()).toBe(true)
  })
})

describe('HTTP/1.1 on the same port', () => {
  it('is served as before, also with a method that begins like the preface', async () => {
    const { server } = await serve((request, response) => response.end(request.method), {}, { stack: serverStack() })
    expect((await get(server.port, { method: 'PROPFIND' })).body).toBe('PROPFIND')
    expect((await get(server.port, { method: 'POST', body: 'x'.repeat(100_000) })).body).toBe('POST')
  })
})
