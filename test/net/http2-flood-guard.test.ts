import { once } from 'node:events'
import http2, {
  type ClientHttp2Session,
  type Http2Server,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  type FloodGuard,
  type FloodLimits,
  type FloodReason,
  GUARDED_SERVER,
  guardSession,
  LENIENT_LIMITS,
} from '../../src/net/http2-flood-guard.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import { FLAG, FRAME, frames, RawHttp2 } from '../rigs/raw-http2.ts'

const REQUEST = { ':method': 'GET', ':scheme': 'http', ':authority': 'a', ':path': '/' }

let server: Http2Server
let clock: FakeClock
let session: ServerHttp2Session
let guard: FloodGuard
let floods: FloodReason[]
let limits: Partial<FloodLimits> | undefined
/** What is done for each stream; it may wait for the test. */
let serve: (stream: ServerHttp2Stream) => void
let streams: ServerHttp2Stream[]
const clients: { close(): unknown }[] = []

beforeEach(async () => {
  clock = new FakeClock()
  floods = []
  limits = undefined
  streams = []
  serve = (stream) => {
    stream.respond({ ':status': 200 })
    stream.end('ok')
  }
  server = http2.createServer({ ...GUARDED_SERVER, settings: { maxConcurrentStreams: 1_000 } })
  server.on('session', (one) => {
    session = one
    guard = guardSession(one, clock, (reason) => floods.push(reason), limits)
  })
  server.on('stream', (stream) => {
    stream.on('error', () => {})
    streams.push(stream)
    if (!stream.destroyed) serve(stream)
  })
  server.on('sessionError', () => {})
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
})

afterEach(async () => {
  for (const client of clients.splice(0)) await client.close()
  await new Promise<void>((resolve) => server.close(() => resolve()))
})

function poll<T>(what: () => T) {
  return expect.poll(what, { interval: 5 })
}

async function attacker(): Promise<RawHttp2> {
  const raw = await RawHttp2.connect((server.address() as AddressInfo).port)
  clients.push(raw)
  await raw.frame(({ type, flags }) => type === FRAME.settings && flags === FLAG.ack)
  return raw
}

async function honest(): Promise<ClientHttp2Session> {
  const client = http2.connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  clients.push({ close: () => client.destroy() })
  client.on('error', () => {})
  await once(client, 'remoteSettings')
  return client
}

/** All that was sent before has been seen by the guard. */
async function settled(raw: RawHttp2): Promise<void> {
  const pongs = () => raw.received.filter(({ type }) => type === FRAME.ping).length
  const before = pongs()
  raw.write(frames.ping())
  await poll(() => pongs() > before || raw.closed).toBe(true)
}

/** Opens and resets streams; returns the next free id. */
function resets(raw: RawHttp2, count: number, from = 1): number {
  for (let i = 0; i < count; i++) raw.write(frames.headers(from + 2 * i, REQUEST), frames.reset(from + 2 * i))
  return from + 2 * count
}

function served(client: ClientHttp2Session): Promise<unknown> {
  const stream = client.request({ ':path': '/' })
  stream.resume()
  return once(stream, 'close')
}

describe('a connection whose streams are reset', () => {
  it('is cut after more than a hundred that nobody was served for', async () => {
    serve = () => {}
    const raw = await attacker()
    const next = resets(raw, 100)
    await settled(raw)
    expect([raw.closed, guard.flooded]).toEqual([false, false])
    resets(raw, 1, next)
    expect(await raw.ends()).toBe(true)
    expect(floods).toEqual(['rapid-reset'])
    const goodbye = raw.received.find(({ type }) => type === FRAME.goAway)
    expect(goodbye?.payload.readUInt32BE(4)).toBe(11) // ENHANCE_YOUR_CALM
  })

  it('is told of once, and a listener that looks first does nothing for what was read with it', async () => {
    let late = 0
    serve = () => {
      if (guard.flooded) late += 1
    }
    const raw = await attacker()
    resets(raw, 500)
    expect(await raw.ends()).toBe(true)
    expect(floods).toEqual(['rapid-reset'])
    expect(streams.length - late).toBeLessThanOrEqual(101)
  })

  it('is cut when it makes the server reset them', async () => {
    serve = () => {}
    const raw = await attacker()
    for (let i = 0; i < 200 && !raw.closed; i++) {
      const id = 2 * i + 1
      raw.write(frames.headers(id, REQUEST, FLAG.endHeaders), frames.headers(id, { ':path': '/' }))
      await raw.frame(({ type, streamId }) => type === FRAME.reset && streamId === id)
    }
    expect(await raw.ends()).toBe(true)
    expect(floods).toEqual(['rapid-reset'])
    expect(streams).toHaveLength(101)
  })

  it('is not cut for a hundred in each window', async () => {
    serve = () => {}
    const raw = await attacker()
    let next = 1
    for (let i = 0; i < 5; i++) {
      next = resets(raw, 100, next)
      await settled(raw)
      clock.advance(10_000)
    }
    expect([raw.closed, streams.length, floods]).toEqual([false, 500, []])
  })

  it('is cut for a hundred and more that lie on both sides of the middle of a window', async () => {
    serve = () => {}
    const raw = await attacker()
    const next = resets(raw, 60)
    await settled(raw)
    clock.advance(6_000)
    resets(raw, 60, next)
    expect(await raw.ends()).toBe(true)
    expect(floods).toEqual(['rapid-reset'])
  })

  describe('where clients give attempts up as a matter of policy', () => {
    beforeEach(() => {
      limits = LENIENT_LIMITS
      serve = () => {}
    })

    it.each([20, 250])('is not cut for 75 a second that lived %i ms', async (livedMs) => {
      const raw = await attacker()
      let next = 1
      for (let second = 0; second < 10; second++) {
        const first = next
        for (let i = 0; i < 75; i++, next += 2) raw.write(frames.headers(next, REQUEST))
        await settled(raw)
        clock.advance(livedMs)
        for (let id = first; id < next; id += 2) raw.write(frames.reset(id))
        await settled(raw)
        clock.advance(1_000 - livedMs)
      }
      expect([raw.closed, floods]).toEqual([false, []])
    })

    it('is cut for more than a thousand at once that no other was served for', async () => {
      serve = () => {}
      const raw = await attacker()
      resets(raw, 3_000)
      expect(await raw.ends()).toBe(true)
      expect(floods).toEqual(['rapid-reset'])
    })

    it('is cut for thousands a second that live a little', async () => {
      const raw = await attacker()
      let next = 1
      for (let round = 0; round < 40 && !guard.flooded; round++) {
        const first = next
        for (let i = 0; i < 500; i++, next += 2) raw.write(frames.headers(next, REQUEST))
        await settled(raw)
        clock.advance(110)
        for (let id = first; id < next; id += 2) raw.write(frames.reset(id))
        await Promise.race([settled(raw), raw.ends()])
      }
      expect(floods).toEqual(['rapid-reset'])
    })
  })

  it('is not cut for calls that were given up after a second', async () => {
    serve = () => {}
    const raw = await attacker()
    for (let i = 0; i < 300; i++) raw.write(frames.headers(2 * i + 1, REQUEST))
    await settled(raw)
    clock.advance(1_000)
    for (let i = 0; i < 300; i++) raw.write(frames.reset(2 * i + 1))
    await settled(raw)
    expect([raw.closed, streams.filter(({ destroyed }) => destroyed).length, floods]).toEqual([false, 300, []])
  })

  it('is not cut for streams that are left after their first message', async () => {
    serve = (stream) => {
      stream.respond({ ':status': 200 })
      stream.write('first')
    }
    const client = await honest()
    for (let i = 0; i < 300; i++) {
      const stream = client.request({ ':path': '/' })
      stream.on('error', () => {})
      await once(stream, 'data')
      stream.close(http2.constants.NGHTTP2_CANCEL)
    }
    serve = (stream) => stream.respond({ ':status': 204 }, { endStream: true })
    await served(client)
    expect([client.closed, floods]).toEqual([false, []])
  })

  it('is not cut when the client goes while many streams are open', async () => {
    serve = () => {}
    const raw = await attacker()
    for (let i = 0; i < 300; i++) raw.write(frames.headers(2 * i + 1, REQUEST))
    await settled(raw)
    await raw.close()
    await once(session, 'close')
    await new Promise((resolve) => setImmediate(resolve))
    expect([streams.length, floods]).toEqual([300, []])
  })
})

describe('an honest client that cancels', () => {
  it('is not cut over 10,000 calls of which half are cancelled', async () => {
    serve = (stream) => {
      stream.respond({ ':status': 200 })
      stream.end('ok')
    }
    const client = await honest()
    const answered = serve
    let nth = 0
    // Every second one is never answered, so that all of them are cancelled before anything was
    // said.
    serve = (stream) => {
      if (nth++ % 2 === 0) answered(stream)
    }
    for (let round = 0; round < 100; round++) {
      const calls: Promise<unknown>[] = []
      for (let i = 0; i < 50; i++) {
        calls.push(served(client))
        const loser = client.request({ ':path': '/' })
        loser.on('error', () => {})
        calls.push(once(loser, 'close'))
        setImmediate(() => loser.close(http2.constants.NGHTTP2_CANCEL))
      }
      await Promise.all(calls)
    }
    expect(streams.filter(({ headersSent }) => headersSent).length).toBe(5_000)
    expect([client.closed, streams.length, floods]).toEqual([false, 10_000, []])
  })

  it('may cancel in one go as many as it was served before', async () => {
    const client = await honest()
    for (let i = 0; i < 10; i++) await Promise.all(Array.from({ length: 50 }, () => served(client)))
    serve = () => {}
    const calls = Array.from({ length: 400 }, () => client.request({ ':path': '/' }))
    await poll(() => streams.length).toBe(900)
    for (const call of calls) call.on('error', () => {}).close(http2.constants.NGHTTP2_CANCEL)
    await poll(() => streams.filter(({ destroyed }) => !destroyed).length).toBe(0)
    expect([client.closed, floods]).toEqual([false, []])
  })
})

describe('a connection that pings', () => {
  it('is cut after more than a thousand with nothing said in between', async () => {
    const raw = await attacker()
    for (let i = 0; i < 20; i++) {
      raw.write(...Array.from({ length: 50 }, () => frames.ping()))
      await poll(() => raw.received.filter(({ type }) => type === FRAME.ping).length).toBe(50 * (i + 1))
    }
    expect(raw.closed).toBe(false)
    raw.write(frames.ping())
    expect(await raw.ends()).toBe(true)
    expect(floods).toEqual(['ping-flood'])
  })

  it('is not cut when each PING goes with data, as from a client that measures its bandwidth', async () => {
    serve = (stream) => {
      stream.respond({ ':status': 200 })
      stream.on('data', () => stream.write(Buffer.alloc(5)))
    }
    const client = await honest()
    const stream = client.request({ ':path': '/', ':method': 'POST' })
    let pings = 0
    stream.write('more')
    for await (const _message of stream) {
      await new Promise((resolve) => client.ping(resolve))
      if (++pings === 2_000) break
      stream.write('more')
    }
    expect([client.closed, pings, floods]).toEqual([false, 2_000, []])
  })
})

describe('a connection that sends SETTINGS', () => {
  it('is cut after more than a thousand', async () => {
    const raw = await attacker()
    const acks = () => raw.received.filter(({ type, flags }) => type === FRAME.settings && flags === FLAG.ack).length
    for (let i = 0; i < 30 && !raw.closed; i++) {
      const before = acks()
      raw.write(...Array.from({ length: 50 }, () => frames.settings()))
      await poll(() => acks() === before + 50 || raw.closed).toBe(true)
    }
    expect(await raw.ends()).toBe(true)
    expect(floods).toEqual(['settings-flood'])
  })
})

describe('a guard', () => {
  it('cuts a connection that was closing already, and whose client does not hang up', async () => {
    serve = () => {}
    const raw = await attacker()
    raw.socket.allowHalfOpen = true
    raw.write(frames.headers(1, REQUEST))
    await settled(raw)
    session.close()
    const closed = once(session, 'close')
    for (let i = 0; i < 25 && !guard.flooded; i++) {
      raw.write(...Array.from({ length: 50 }, () => frames.ping()))
      await settled(raw)
    }
    await closed
    expect(floods).toEqual(['ping-flood'])
    const connections = await new Promise((resolve) => server.getConnections((_error, count) => resolve(count)))
    expect(connections).toBe(0)
  })

  it('leaves no listener and no timer behind when the session closes', async () => {
    const client = await honest()
    await served(client)
    const names = ['stream', 'ping', 'remoteSettings'] as const
    const guarded = names.map((name) => session.listenerCount(name))
    const closed = once(session, 'close')
    client.close()
    await closed
    expect(names.map((name, i) => guarded[i]! - session.listenerCount(name))).toEqual([1, 1, 1])
    expect(clock.timers).toBe(0)
  })
})
