import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../src/core/clock.ts'
import { MuxSession, type SessionEvents } from '../../src/mux/session.ts'
import { MUX_DEFAULTS, type MuxSettings } from '../../src/mux/settings.ts'
import type { MuxReset, MuxStream, StreamEvents } from '../../src/mux/stream.ts'
import { GOAWAY, RESET } from '../../src/mux/wire.ts'
import { standsStill } from '../rigs/stands-still.ts'

/** What a stream's user has seen. */
class Seen implements StreamEvents {
  heads: { status: number; reason: string; headers: string[] }[] = []
  readonly #chunks: Buffer[] = []
  trailers: string[] | undefined
  reset: MuxReset | undefined
  ended = false
  drains = 0
  readonly settled: Promise<this>
  #done!: (seen: this) => void
  readonly reads: boolean

  constructor(reads = true) {
    this.reads = reads
    this.settled = new Promise((resolve) => {
      this.#done = resolve as (seen: Seen) => void
    })
  }
  responseArrived(_stream: MuxStream, status: number, reason: string, headers: string[], end: boolean): void {
    this.heads.push({ status, reason, headers })
    if (end) this.#end()
  }
  dataArrived(stream: MuxStream, chunk: Buffer, end: boolean): void {
    this.#chunks.push(chunk)
    if (this.reads) stream.read(chunk.length)
    if (end) this.#end()
  }
  trailersArrived(_stream: MuxStream, headers: string[]): void {
    this.trailers = headers
    this.#end()
  }
  wasReset(_stream: MuxStream, reset: MuxReset): void {
    this.reset = reset
    this.#done(this)
  }
  drained(): void {
    this.drains += 1
  }
  get body(): Buffer {
    return Buffer.concat(this.#chunks)
  }
  #end(): void {
    this.ended = true
    this.#done(this)
  }
}

interface Request {
  readonly stream: MuxStream
  readonly method: string
  readonly path: string
  readonly headers: string[]
  readonly seen: Seen
}

class Owner implements SessionEvents {
  goAways: [number, number, string][] = []
  brokenWith: string | undefined
  isClosed = false
  readonly onRequest: (request: Request) => void
  whenSettled: () => void = () => {}
  reads = true

  constructor(onRequest: (request: Request) => void = () => {}) {
    this.onRequest = onRequest
  }
  requestArrived(stream: MuxStream, method: string, path: string, headers: string[], end: boolean): void {
    const seen = new Seen(this.reads)
    stream.events = seen
    seen.ended = end
    this.onRequest({ stream, method, path, headers, seen })
  }
  settled(): void {
    this.whenSettled()
  }
  goingAway(last: number, code: number, reason: string): void {
    this.goAways.push([last, code, reason])
  }
  roomChanged(): void {}
  broken(_code: number, reason: string): void {
    this.brokenWith = reason
  }
  closed(): void {
    this.isClosed = true
  }
}

const open: { close?(): unknown; destroy?(): unknown }[] = []
afterEach(() => {
  for (const each of open.splice(0)) (each.close ?? each.destroy)?.call(each)
})

async function pair(onRequest: (request: Request) => void, settings: Partial<MuxSettings> = {}, reads = true) {
  const serverOwner = new Owner(onRequest)
  serverOwner.reads = reads
  let serverSession!: MuxSession
  const server: Server = createServer((socket: Socket) => {
    serverSession = new MuxSession(socket, 'server', { ...MUX_DEFAULTS, ...settings }, systemClock, serverOwner)
    socket.on('data', (bytes: Buffer) => serverSession.receive(bytes))
    open.push(socket)
  }).listen(0, '127.0.0.1')
  open.push(server)
  await once(server, 'listening')
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  open.push(socket)
  await once(socket, 'connect')
  const owner = new Owner()
  const settled = new Promise<void>((resolve) => {
    owner.whenSettled = resolve
  })
  const client = new MuxSession(socket, 'client', { ...MUX_DEFAULTS, maxStreams: 0 }, systemClock, owner)
  socket.on('data', (bytes: Buffer) => client.receive(bytes))
  await settled
  return { client, owner, serverOwner, server: () => serverSession }
}

describe('a session of inmesh/1', () => {
  it('carries a request and its response, with deadline, trace and attempts as they were', async () => {
    const headers = [
      'host',
      'inventory',
      'traceparent',
      '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
      'inmesh-timeout-ms',
      '9999',
      'x-own',
      'ä',
      'inmesh-previous-attempts',
      '2',
    ]
    const requests: Request[] = []
    const { client } = await pair((request) => {
      requests.push(request)
      request.stream.respond(200, '', ['content-type', 'text/plain'], 'hello', true)
    })
    const seen = await new Promise<Seen>((resolve) => {
      const events = new Seen()
      client.request('GET', '/items/1', headers, undefined, true, events)
      void events.settled.then(resolve)
    })
    expect(seen.heads).toEqual([{ status: 200, reason: '', headers: ['content-type', 'text/plain'] }])
    expect(seen.body.toString()).toBe('hello')
    const [request] = requests
    expect([request!.method, request!.path, request!.seen.ended]).toEqual(['GET', '/items/1', true])
    const pairs = (flat: string[]) => flat.flatMap((name, i) => (i % 2 === 0 ? [`${name}: ${flat[i + 1]}`] : [])).sort()
    expect(pairs(request!.headers)).toEqual(pairs(headers))
    expect(client.open).toBe(0)
  })

  it('carries fields that no binary form restores as text', async () => {
    const trace = '0af7651916cd43dd8448eb211c80319c'
    const heads = [
      ['traceparent', `00-${trace}-b7ad6b7169203331-1`],
      ['traceparent', `01-${trace}-b7ad6b7169203331-01`],
      ['traceparent', `00-${trace.toUpperCase()}-b7ad6b7169203331-01`],
      // Its last seven bits are those of a digit.
      ['traceparent', `00-${trace}-b7ad6b716920333\xb1-01`],
      ['traceparent', `00_${trace}-b7ad6b7169203331-01`],
      ['traceparent', `00-${trace}_b7ad6b7169203331-01`],
      ['traceparent', `00-${trace}-b7ad6b7169203331-01`, 'traceparent', `00-${trace}-b7ad6b7169203332-01`],
      ['inmesh-timeout-ms', '007'],
      ['inmesh-timeout-ms', ''],
      ['inmesh-timeout-ms', '1e3'],
      ['inmesh-timeout-ms', '1234567890'],
      ['inmesh-previous-attempts', '100'],
      ['inmesh-timeout-ms', '0', 'inmesh-timeout-ms', '5', 'inmesh-timeout-ms', '5'],
    ]
    const received: string[][] = []
    const { client } = await pair(({ stream, headers }) => {
      received.push(headers)
      stream.respond(204, '', [], undefined, true)
    })
    for (const head of heads) {
      const seen = new Seen()
      client.request('GET', '/', ['host', 'a', ...head], undefined, true, seen)
      await seen.settled
    }
    expect(received).toEqual(heads.map((head) => ['host', 'a', ...head]))
  })

  it('sends nothing of a request whose path is invalid, and carries those beside it', async () => {
    const paths: string[] = []
    const { client } = await pair(({ stream, path }) => {
      paths.push(path)
      stream.respond(204, '', [], undefined, true)
    })
    const good = [
      '/',
      `/${'a'.repeat(37)}`,
      `/${'a'.repeat(38)}`,
      `/${'a'.repeat(39)}`,
      '/\xe9?b=%20',
      `/${'é'.repeat(60)}`,
    ]
    const bad = ['', '*', 'a', '/ ', '/#', '/\0', '/\x7f', '/\u0130', `/${'a'.repeat(60)} `, `/${'a'.repeat(60)}\u0130`]
    const all: Promise<unknown>[] = []
    for (const [i, path] of bad.entries()) {
      expect(() => client.request('GET', path, ['host', 'a'], undefined, true, new Seen()), path).toThrow(/is no path/)
      const seen = new Seen()
      client.request('GET', good[i % good.length]!, ['host', 'a'], undefined, true, seen)
      all.push(seen.settled)
    }
    await Promise.all(all)
    expect(paths).toEqual(bad.map((_, i) => good[i % good.length]))
  })

  it('carries bodies beyond every window both ways, with trailers', async () => {
    const big = Buffer.alloc(9_000_000, 'a')
    const { client } = await pair(({ stream, seen }) => {
      void seen.settled.then(() => {
        stream.respond(200, 'Fine', [], undefined, false)
        stream.write(seen.body)
        stream.end(['x-sum', String(seen.body.length)])
      })
    })
    const seen = new Seen()
    client.request('POST', '/', ['host', 'a'], big, true, seen)
    await seen.settled
    expect(seen.heads[0]!.reason).toBe('Fine')
    expect(seen.body.equals(big)).toBe(true)
    expect(seen.trailers).toEqual(['x-sum', '9000000'])
  })

  it('sends no more than the peer has credited until the application has read', async () => {
    const { client } = await pair(
      ({ stream, seen }) => {
        void standsStill(() => seen.body.length).then(() => {
          stream.respond(200, '', [], String(seen.body.length), true)
          stream.reset(RESET.NO_ERROR)
        })
      },
      { streamWindow: 50_000 },
      false,
    )
    const seen = new Seen()
    const stream = client.request('POST', '/', ['host', 'a'], Buffer.alloc(200_000), true, seen)
    await seen.settled
    // Whole frames, and what each is charged beside its payload.
    expect(seen.body.toString()).toBe('49152')
    expect(stream.closed).toBe(true)
  })

  it('answers small calls beside a large body', async () => {
    const { client } = await pair(({ stream, path }) => {
      const body = path === '/large' ? Buffer.alloc(8_000_000) : 'small'
      stream.respond(200, '', [], undefined, false)
      stream.write(body)
      stream.end()
    })
    const large = new Seen()
    client.request('GET', '/large', ['host', 'a'], undefined, true, large)
    const small = Array.from({ length: 64 }, () => new Seen())
    for (const each of small) client.request('GET', '/small', ['host', 'a'], undefined, true, each)
    await Promise.all(small.map(({ settled }) => settled))
    expect(large.ended).toBe(false)
    await large.settled
    expect(large.body.length).toBe(8_000_000)
  })

  it('resets one stream and keeps the connection', async () => {
    const requests: Request[] = []
    const { client } = await pair((request) => {
      requests.push(request)
      if (request.path === '/second') request.stream.respond(204, '', [], undefined, true)
    })
    const first = client.request('GET', '/first', ['host', 'a'], undefined, true, new Seen())
    await expect.poll(() => requests.length).toBe(1)
    first.reset(RESET.CANCELLED)
    const seen = new Seen()
    client.request('GET', '/second', ['host', 'a'], undefined, true, seen)
    await seen.settled
    expect(seen.heads[0]!.status).toBe(204)
    expect(requests[0]!.seen.reset).toMatchObject({ code: RESET.CANCELLED, executed: true })
  })

  it('tells with GOAWAY which requests were certainly not executed', async () => {
    const requests: Request[] = []
    const { client, owner, server } = await pair((request) => {
      requests.push(request)
    })
    const first = new Seen()
    client.request('GET', '/1', ['host', 'a'], undefined, true, first)
    await expect.poll(() => requests.length).toBe(1)
    server().goAway(GOAWAY.NO_ERROR, 'drain')
    const second = new Seen()
    client.request('GET', '/2', ['host', 'a'], undefined, true, second)
    await second.settled
    expect(second.reset).toMatchObject({ code: RESET.NOT_EXECUTED, executed: false })
    expect(owner.goAways).toEqual([[1, GOAWAY.NO_ERROR, 'drain']])
    expect(client.room).toBe(0)
    const third = new Seen()
    client.request('GET', '/3', ['host', 'a'], undefined, true, third)
    await third.settled
    expect(third.reset).toMatchObject({ code: RESET.NOT_EXECUTED, executed: false })
    requests[0]!.stream.respond(200, '', [], 'late', true)
    await first.settled
    expect(first.body.toString()).toBe('late')
    await expect.poll(() => owner.isClosed).toBe(true)
    expect(requests.length).toBe(1)
  })

  it('says of a lost connection which requests never left', async () => {
    const { client } = await pair(() => {})
    const sent = new Seen()
    client.request('GET', '/1', ['host', 'a'], undefined, true, sent)
    await new Promise((resolve) => setTimeout(resolve, 20))
    const unsent = new Seen()
    client.request('GET', '/2', ['host', 'a'], undefined, true, unsent)
    client.destroy(new Error('cut'))
    await Promise.all([sent.settled, unsent.settled])
    expect(sent.reset).toMatchObject({ code: undefined, executed: true })
    expect(unsent.reset).toMatchObject({ code: undefined, executed: false })
  })

  it('takes a server that has closed its half for lost, though it does not read on', async () => {
    const settings = { streamWindow: 2 ** 30, connectionWindow: 2 ** 30 }
    const { client, owner, server } = await pair(() => {}, settings)
    await expect.poll(() => client.settled).toBe(true)
    const { socket } = server()
    socket.pause()
    const seen = new Seen()
    client.request('POST', '/', ['host', 'a'], Buffer.alloc(64_000_000), true, seen)
    // The memory of the network is full.
    await expect.poll(() => client.backlog > 0 && socket.readableLength > 0).toBe(true)
    socket.end()
    await expect.poll(() => owner.isClosed).toBe(true)
    expect(seen.reset).toMatchObject({ code: undefined, executed: true })
  })

  it.each([
    ['HTTP/1.1', Buffer.from('GET / HTTP/1.1\r\nhost: a\r\n\r\n'), 'a beginning that is not'],
    ['a frame before SETTINGS', Buffer.concat([Buffer.from('\0inmesh/1'), Buffer.alloc(9, 7)]), 'bytes'],
  ])('ends the connection of a peer that speaks %s', async (_what, bytes, reason) => {
    const { serverOwner, server } = await pair(() => {})
    const raw = connect((server().socket.address() as AddressInfo).port, '127.0.0.1')
    raw.on('error', () => {}).resume()
    raw.write(bytes)
    await expect.poll(() => raw.destroyed).toBe(true)
    expect(serverOwner.brokenWith).toContain(reason)
  })
})
