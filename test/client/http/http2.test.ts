/** Calls to endpoints that speak HTTP/2 and nothing better. */
import { execFile } from 'node:child_process'
import {
  createSecureServer,
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
  type ServerOptions,
} from 'node:http2'
import { type AddressInfo, createServer as createNetServer, type Socket } from 'node:net'
import { Readable } from 'node:stream'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { systemClock } from '../../../src/core/clock.ts'
import type { Endpoint } from '../../../src/core/endpoint.ts'
import { HTTP2 } from '../../../src/core/transport.ts'
import { serverTlsOptions } from '../../../src/identity/tls-options.ts'
import { newAuthority, newIdentity } from '../../rigs/certificates.ts'
import { FLAG, FRAME, frames, RawHttp2 } from '../../rigs/raw-http2.ts'
import { clientIdentity } from '../identity-rig.ts'
import { failure, opened } from './opened.ts'
import { endpoint, makeRig, type Rig, type RigOptions, until } from './rig.ts'

const authority = newAuthority()

type Listener = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void

class Peer {
  readonly sessions: ServerHttp2Session[] = []
  readonly ended: number[] = []
  requests = 0
  readonly #server: Http2Server
  readonly #sockets = new Set<Socket>()

  constructor(listener: Listener, options: ServerOptions, secure: boolean) {
    const identity = newIdentity(authority, 'inventory')
    const all = { ...options, ...serverTlsOptions(identity) }
    this.#server = secure ? (createSecureServer(all) as unknown as Http2Server) : createServer(options)
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => this.#sockets.delete(socket))
    })
    this.#server.on('session', (session) => this.sessions.push(session))
    this.#server.on('sessionError', () => {})
    this.#server.on('stream', (stream, headers) => {
      this.requests += 1
      stream.on('error', () => {})
      stream.on('close', () => this.ended.push(stream.rstCode ?? 0))
      listener(stream, headers)
    })
  }

  async listen(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    return this
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  get connections(): number {
    return this.#sockets.size
  }

  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  close(): Promise<void> {
    this.cut()
    return new Promise((resolve) => this.#server.close(() => resolve()))
  }
}

async function peer(listener: Listener, options: ServerOptions = {}, secure = false): Promise<Peer> {
  return opened(await new Peer(listener, options, secure).listen())
}

/** In plaintext, an endpoint speaks what it announces. */
function announced(port: number): Endpoint {
  const one = endpoint(port)
  one.transports = [HTTP2]
  return one
}

async function rigTo(peers: readonly Peer[], options: RigOptions = {}): Promise<Rig> {
  return opened(
    await makeRig(
      peers.map(({ port }) => announced(port)),
      options,
    ),
  )
}

function respond(stream: ServerHttp2Stream, body: string | Buffer = 'ok', headers: IncomingHttpHeaders = {}): void {
  stream.resume()
  stream.respond({ ':status': 200, ...headers })
  stream.end(body)
}

describe('an endpoint that speaks HTTP/2', () => {
  it('is known by ALPN, and carries all calls on one connection', async () => {
    const there = await peer(
      (stream, headers) => respond(stream, `${headers[':authority']} ${headers[':path']}`),
      {},
      true,
    )
    const { identity } = clientIdentity(newIdentity(authority, 'checkout'))
    const rig = opened(await makeRig([endpoint(there.port, { tls: true })], { identity }))
    const paths = Array.from({ length: 50 }, (_, i) => `/${i}`)
    const answers = await Promise.all(paths.map(async (path) => (await rig.http.get(path)).text()))
    expect(answers).toEqual(paths.map((path) => `inventory ${path}`))
    await rig.http.get('/')
    expect(there.connections).toBeLessThanOrEqual(4)
  })

  it('is known by its announcement in plaintext, and gets one connection for many calls', async () => {
    const there = await peer((stream) => void setTimeout(() => respond(stream), 20))
    const rig = await rigTo([there])
    const answers = await Promise.all(Array.from({ length: 100 }, async () => (await rig.http.get('/')).text()))
    expect(new Set(answers)).toEqual(new Set(['ok']))
    expect(there.sessions).toHaveLength(1)
  })

  it('gets heads and bodies as they are', async () => {
    const seen: IncomingHttpHeaders[] = []
    const there = await peer((stream, headers) => {
      seen.push(headers)
      stream.respond({ ':status': 201, 'x-many': ['1', '2'] })
      stream.pipe(stream)
    })
    const rig = await rigTo([there])
    const body = Buffer.alloc(1_000_000, 'abc')
    const answer = await rig.http.post('/items?a=b', body, { headers: { 'x-given': 'given' } })
    expect(answer.status).toBe(201)
    expect(answer.headers.get('x-many')).toBe('1, 2')
    expect(Buffer.from(await answer.bytes()).equals(body)).toBe(true)
    expect(seen[0]).toMatchObject({
      ':method': 'POST',
      ':scheme': 'http',
      ':authority': 'inventory',
      ':path': '/items?a=b',
      'content-length': '1000000',
      'x-given': 'given',
    })
    expect(Object.keys(seen[0]!)).not.toContain('host')
    expect(Number(seen[0]!['inmesh-timeout-ms'])).toBeGreaterThan(0)
  })

  it('takes a body that is read in parts, and gives its answer in parts', async () => {
    const there = await peer((stream) => {
      stream.respond({ ':status': 200 })
      stream.pipe(stream)
    })
    const rig = await rigTo([there])
    const parts = Array.from({ length: 100 }, (_, i) => Buffer.alloc(50_000, i))
    const answer = await rig.http.post('/', Readable.from(parts))
    const got: Buffer[] = []
    for await (const chunk of answer.body!) got.push(Buffer.from(chunk))
    expect(Buffer.concat(got).equals(Buffer.concat(parts))).toBe(true)
    expect(there.ended).toEqual([0])
  })

  it('waits while its answer is not read', async () => {
    let written = 0
    const there = await peer((stream) => {
      stream.resume()
      stream.respond({ ':status': 200 })
      const more = (): void => {
        while (written < 50e6) {
          written += 65_536
          if (!stream.write(Buffer.alloc(65_536))) return void stream.once('drain', more)
        }
        stream.end()
      }
      more()
    })
    const rig = await rigTo([there])
    const answer = await rig.http.get('/')
    const reader = answer.body!.getReader()
    await reader.read()
    let before = -1
    await until(() => {
      const still = written === before
      before = written
      return still
    })
    expect(written).toBeLessThan(5e6)
    let size = 0
    for (;;) {
      const { done, value } = await reader.read()
      if (done) break
      size += value.length
    }
    expect(size).toBeGreaterThan(40e6)
  })

  it.each([
    ['HEAD', 200],
    ['GET', 204],
    ['GET', 304],
  ])('answers %s with %i and no body', async (method, status) => {
    const there = await peer((stream) => {
      stream.respond({ ':status': status, ...(method === 'HEAD' && { 'content-length': '5' }) }, { endStream: true })
    })
    const rig = await rigTo([there])
    const answer = await rig.http.request(method, '/')
    expect([answer.status, await answer.text()]).toEqual([status, ''])
  })

  it('may send informational heads before its answer, and trailers after it', async () => {
    const there = await peer((stream) => {
      stream.additionalHeaders({ ':status': 103, link: '</a.css>' })
      stream.respond({ ':status': 200 }, { waitForTrailers: true })
      stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': '1' }))
      stream.end('ok')
    })
    const rig = await rigTo([there])
    const answer = await rig.http.get('/')
    expect([answer.status, await answer.text()]).toEqual([200, 'ok'])
  })

  it('never gets more calls at once than it takes', async () => {
    let running = 0
    let most = 0
    const there = await peer(
      (stream) => {
        running += 1
        most = Math.max(most, running)
        setTimeout(() => {
          running -= 1
          respond(stream)
        }, 5)
      },
      { settings: { maxConcurrentStreams: 3 } },
    )
    const rig = await rigTo([there], { connections: { maxConnections: 1 } })
    await Promise.all(Array.from({ length: 30 }, async () => (await rig.http.get('/')).text()))
    expect([most, there.requests, there.sessions.length]).toEqual([3, 30, 1])
  })
})

describe('a call over HTTP/2', () => {
  it('that is cancelled resets its stream, and the others go on', async () => {
    let answerOther = (): void => {}
    const there = await peer((stream, headers) => {
      if (headers[':path'] === '/other') answerOther = () => respond(stream, 'other')
    })
    const rig = await rigTo([there])
    const other = rig.http.get('/other')
    const controller = new AbortController()
    const cancelled = failure(rig.http.post('/', 'x', { signal: controller.signal }))
    await until(() => there.requests === 2)
    controller.abort()
    expect(await cancelled).toMatchObject({ code: 'cancelled', sent: true })
    await until(() => there.ended.length === 1)
    expect(there.ended).toEqual([8])
    answerOther()
    expect(await (await other).text()).toBe('other')
    expect(there.sessions).toHaveLength(1)
  })

  it('that is cancelled within its body never looks like a whole one', async () => {
    const seen: string[] = []
    const there = await peer((stream) => {
      stream.on('data', () => seen.push('data'))
      stream.on('end', () => seen.push(stream.aborted ? 'end of a broken one' : 'end'))
      stream.on('aborted', () => seen.push('aborted'))
    })
    const rig = await rigTo([there])
    const controller = new AbortController()
    const body = new Readable({ read() {} })
    body.push('a part')
    const cancelled = failure(rig.http.post('/', body, { signal: controller.signal }))
    await until(() => seen.length === 1)
    controller.abort()
    expect((await cancelled).code).toBe('cancelled')
    await until(() => there.ended.length === 1)
    expect(there.ended).toEqual([8])
    expect(seen).toContain('aborted')
    expect(seen).not.toContain('end')
  })

  it('whose answer is abandoned resets its stream', async () => {
    const there = await peer((stream) => {
      stream.resume()
      stream.respond({ ':status': 200 })
      stream.write('a part')
    })
    const rig = await rigTo([there])
    const answer = await rig.http.get('/')
    await answer.body!.cancel()
    await until(() => there.ended.length === 1)
    expect(there.ended).toEqual([8])
  })

  it('that the peer refuses goes elsewhere, whatever its method', async () => {
    const busy = await peer((stream) => stream.close(7))
    const free = await peer((stream) => respond(stream))
    const rig = await rigTo([busy, free])
    for (let i = 0; i < 6; i++) expect(await (await rig.http.post('/orders', 'x')).text()).toBe('ok')
    expect(busy.requests).toBeGreaterThan(0)
    expect(free.requests).toBe(6)
  })

  it('beyond the last stream of a GOAWAY goes elsewhere, whatever its method', async () => {
    const leaving = await rawPeer((raw) => raw.write(frames.goAway(0, 0)))
    const free = await peer((stream) => respond(stream))
    const rig = opened(await makeRig([announced(leaving), announced(free.port)]))
    for (let i = 0; i < 4; i++) expect(await (await rig.http.post('/orders', 'x')).text()).toBe('ok')
    expect(free.requests).toBe(4)
  })

  it('before it is answered, and the next takes another connection', async () => {
    const there = await peer((stream) => {
      const { session } = stream
      if (there.requests === 1) session!.close()
      setTimeout(() => respond(stream), 20)
    })
    const rig = await rigTo([there])
    expect(await (await rig.http.post('/', 'x')).text()).toBe('ok')
    expect(await (await rig.http.post('/', 'x')).text()).toBe('ok')
    expect(there.sessions).toHaveLength(2)
  })

  it.each([
    ['the peer resets', (stream: ServerHttp2Stream) => stream.close(2)],
    ['whose connection is lost', (stream: ServerHttp2Stream) => stream.session!.destroy()],
    ['whose peer leaves with an error', (stream: ServerHttp2Stream) => stream.session!.goaway(2, stream.id)],
  ])('that %s may have been executed: no POST is repeated', async (_what, end) => {
    const there = await peer((stream) => end(stream))
    const rig = await rigTo([there])
    const error = await failure(rig.http.post('/orders', 'x'))
    expect([error.code, error.sent]).toEqual(['connection-lost', true])
    expect(there.requests).toBe(1)
    expect(rig.endpoint.pending).toBe(0)
  })

  it('whose answer breaks off fails its reader', async () => {
    const port = await rawPeer((raw, id) => {
      raw.write(frames.headers(id, { ':status': '200' }, FLAG.endHeaders), frames.data(id, Buffer.from('a part')))
      setTimeout(() => raw.write(frames.reset(id, 2)), 20)
    })
    const rig = opened(await makeRig([announced(port)]))
    const answer = await rig.http.get('/')
    expect((await failure(answer.text())).code).toBe('connection-lost')
  })

  it('that is reset as if it were answered fails', async () => {
    const port = await rawPeer((raw, id) => raw.write(frames.reset(id, 0)))
    const rig = opened(await makeRig([announced(port)]))
    expect(await failure(rig.http.post('/', 'x'))).toMatchObject({ code: 'protocol-error', sent: true })
  })

  it('that ends without an answer fails', async () => {
    const port = await rawPeer((raw, id) => raw.write(frames.data(id, Buffer.alloc(0), FLAG.endStream)))
    const rig = opened(await makeRig([announced(port)], { retry: { attempts: 1 } }))
    // Node 22 drops such DATA: the deadline ends the call.
    const [codes, timeout] =
      Number.parseInt(process.versions.node, 10) < 24
        ? ([['deadline-exceeded'], '2s'] as const)
        : ([['protocol-error', 'connection-lost'], '20s'] as const)
    expect(codes).toContain((await failure(rig.http.get('/', { timeout }))).code)
  })

  it.each([
    ['shorter', '5'],
    ['longer', '1'],
  ])('whose answer is %s than its content-length fails', async (_what, length) => {
    const there = await peer((stream) => respond(stream, 'abc', { 'content-length': length }))
    const rig = await rigTo([there], { retry: { attempts: 1 } })
    const error = await failure(rig.http.get('/').then((answer) => answer.text()))
    expect(['protocol-error', 'connection-lost']).toContain(error.code)
  })

  it('to a peer that refuses our certificate is refused, and told', async () => {
    const told: string[] = []
    const there = await peer((stream) => {
      stream.session!.goaway(7, 0, Buffer.from('identity-rejected; reason=denied'))
    })
    const rig = await rigTo([there], { retry: { attempts: 1 }, onRefusedByPeer: (reason) => told.push(reason) })
    const error = await failure(rig.http.post('/orders', 'x'))
    expect([error.code, error.sent]).toEqual(['identity-rejected', false])
    expect(told).toEqual(['denied'])
  })

  it('to a peer that does not speak it fails, and is not sent', async () => {
    const there = opened(await new Silent().listen())
    const rig = opened(await makeRig([announced(there.port)], { retry: { attempts: 1 } }))
    const error = await failure(rig.http.post('/orders', 'x'))
    expect([error.code, error.sent]).toEqual(['connect-failed', false])
  })
})

describe('a connection of HTTP/2', () => {
  it('whose peer is silent, and answers no PING, is cut, and its calls fail', async () => {
    const port = await rawPeer(() => {})
    const one = announced(port)
    const rig = opened(await makeRig([one], { retry: { attempts: 1 } }))
    const lost = failure(rig.http.post('/orders', 'x'))
    const pool = rig.transport.poolOf(one)
    await until(() => pool.reachable && one.pending === 1)
    const now = systemClock.now()
    pool.sweep(now)
    pool.sweep(now + 9_000)
    expect(pool.connections).toBe(1)
    pool.sweep(now + 11_000)
    pool.sweep(now + 17_000)
    expect(await lost).toMatchObject({ code: 'connection-lost', sent: true })
    await until(() => pool.connections === 0)
  })

  it('is replaced after a rotation, and no call is lost', async () => {
    const there = await peer((stream) => void setTimeout(() => respond(stream), 2), {}, true)
    const { source, identity } = clientIdentity(newIdentity(authority, 'checkout'))
    const connections = { rotationSpread: 200 }
    const rig = opened(await makeRig([endpoint(there.port, { tls: true })], { identity, connections }))
    let going = true
    let answered = 0
    const calling = Array.from({ length: 4 }, async () => {
      while (going) {
        expect(await (await rig.http.post('/', 'x')).text()).toBe('ok')
        answered += 1
      }
    })
    await until(() => answered > 20)
    const before = new Set(there.sessions)
    source.rotate({ ...newIdentity(authority, 'checkout'), generation: 2 })
    await until(() => there.sessions.some((session) => !before.has(session)))
    await until(() => [...before].every((session) => session.destroyed))
    const then = answered
    await until(() => answered > then + 20)
    going = false
    await Promise.all(calling)
  })

  it('that carries nothing is closed when its endpoint is withdrawn, and lets its calls end', async () => {
    const there = await peer((stream) => void setTimeout(() => respond(stream), 50))
    const rig = await rigTo([there])
    const last = rig.http.get('/')
    await until(() => there.requests === 1)
    rig.transport.poolOf(rig.endpoint).close(30_000)
    expect(await (await last).text()).toBe('ok')
    await until(() => there.connections === 0)
  })

  it('keeps no process alive', async () => {
    const there = await peer((stream) => respond(stream))
    const source = (path: string): string => JSON.stringify(new URL(`../../../${path}`, import.meta.url).href)
    const script = `
      const { makeRig, endpoint } = await import(${source('test/client/http/rig.ts')})
      const one = endpoint(${there.port})
      one.transports = ['h2']
      const rig = await makeRig([one])
      console.log(await (await rig.http.get('/')).text())
    `
    const given = ['--input-type=module', '-e', script]
    const { stdout } = await promisify(execFile)(process.execPath, given, { timeout: 45_000 })
    expect(stdout).toBe('ok\n')
  })
})

/** A port where each request is answered with frames by hand. */
async function rawPeer(answer: (raw: RawHttp2, id: number) => void): Promise<number> {
  const sockets = new Set<Socket>()
  const server = createNetServer((socket) => {
    sockets.add(socket)
    const raw: RawHttp2 = RawHttp2.serve(socket, ({ type, streamId }) => {
      if (type === FRAME.headers) answer(raw, streamId)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  opened({
    close: () => {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  })
  return (server.address() as AddressInfo).port
}

/** Answers every connection in HTTP/1.1. */
class Silent {
  readonly #server = createNetServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', () => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))
  })

  async listen(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    return this
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  close(): void {
    this.#server.close()
  }
}
