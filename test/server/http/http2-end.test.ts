/** How streams and connections of HTTP/2 end: by either side, one of many, or all of a server. */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { ClientHttp2Session } from 'node:http2'
import { describe, expect, it } from 'vitest'
import { currentCall } from '../../../src/server/current-call.ts'
import type { HttpServer } from '../../../src/server/http/server.ts'
import { newIdentity } from '../../rigs/certificates.ts'
import { FLAG, FRAME, frames } from '../../rigs/raw-http2.ts'
import { authority, clientOf, pause, serve } from '../rig.ts'
import { answerOf, ask, begin, type Certificate, open, rawHttp2, requestHeaders } from './http2-rig.ts'

const CANCEL = 8
const INTERNAL_ERROR = 2
const REFUSED = 7

describe('a client that resets its stream', () => {
  it('cancels that call, tells its handler in every way, and keeps its connection', async () => {
    const seen: string[] = []
    const { server } = await serve((request, response) => {
      if (request.url === '/other') return response.end('other')
      currentCall()!.signal.addEventListener('abort', () => seen.push('signal'))
      request.on('aborted', () => seen.push('aborted'))
      request.on('error', () => seen.push('error'))
      request.on('close', () => seen.push(`request destroyed=${request.destroyed}`))
      response.on('close', () => seen.push(`response finished=${response.writableFinished}`))
      return response.write('a part')
    })
    const session = open(server.port)
    const stream = begin(session, { ':method': 'POST' })
    const answer = answerOf(stream)
    await new Promise((resolve) => stream.once('data', resolve))
    stream.close(CANCEL)
    await answer
    await expect.poll(() => seen.length).toBe(5)
    expect([...seen].sort()).toEqual([
      'aborted',
      'error',
      'request destroyed=true',
      'response finished=false',
      'signal',
    ])
    expect((await ask(session, { headers: { ':path': '/other' } })).body).toBe('other')
    await expect.poll(() => server.stats).toMatchObject({ connections: 1, accepted: 1, inFlight: 0 })
  })
})

describe('a handler that breaks its answer off', () => {
  it.each<[string, (response: import('node:http').ServerResponse) => void]>([
    ['destroys its response', (response) => void response.destroy()],
    ['destroys its socket', (response) => void response.socket!.destroy()],
    [
      'throws',
      () => {
        throw new Error('on purpose')
      },
    ],
  ])('and %s loses its stream only', async (_what, breakOff) => {
    const { server } = await serve(async (request, response) => {
      if (request.url === '/other') {
        await pause(50)
        response.end('other')
        return
      }
      response.write('a part')
      await pause(10)
      breakOff(response)
    })
    const session = open(server.port)
    const other = ask(session, { headers: { ':path': '/other' } })
    const broken = await ask(session)
    expect(broken).toMatchObject({ status: 200, code: INTERNAL_ERROR })
    expect((await other).body).toBe('other')
    expect(server.stats).toMatchObject({ connections: 1, accepted: 1 })
  })

  it('before its head answers 500', async () => {
    const { server, failures } = await serve(() => {
      throw new Error('on purpose')
    })
    expect(await ask(open(server.port))).toMatchObject({ status: 500, code: 0 })
    expect(failures).toHaveLength(1)
  })
})

describe('a deadline', () => {
  it('that passes answers 504 before the head, and resets the stream after it', async () => {
    const { server } = await serve((request, response) => {
      if (request.url === '/begun') response.write('a part')
    })
    const session = open(server.port)
    const headers = { 'inmesh-timeout-ms': '150' }
    expect(await ask(session, { headers })).toMatchObject({ status: 504, code: 0 })
    expect(await ask(session, { headers: { ...headers, ':path': '/begun' } })).toMatchObject({
      status: 200,
      code: INTERNAL_ERROR,
    })
    expect(server.stats.connections).toBe(1)
  })
})

describe('an answer that is cut off', () => {
  it.each([
    ['given at once', ['x'.repeat(300_000)]],
    ['given in parts', ['x'.repeat(300_000), 'y'.repeat(300_000)]],
  ])('never passes for a whole one: %s', async (_what, parts) => {
    const { server } = await serve((_request, response) => {
      for (const part of parts.slice(1)) response.write(part)
      response.end(parts[0])
    })
    const raw = await rawHttp2(server.port)
    raw.write(frames.settings({ 4: 1_000 }), frames.headers(1, requestHeaders('/', { 'inmesh-timeout-ms': '200' })))
    expect(await raw.frame(({ type, streamId }) => type === FRAME.reset && streamId === 1)).toBeDefined()
    const data = raw.received.filter(({ type, streamId }) => type === FRAME.data && streamId === 1)
    expect(data.length).toBeGreaterThan(0)
    expect(data.some(({ flags }) => (flags & FLAG.endStream) !== 0)).toBe(false)
  })
})

describe('calls on one connection', () => {
  it('run in contexts of their own, their listeners included', async () => {
    const storage = new AsyncLocalStorage<string>()
    const { server } = await serve((request, response) => {
      const before = storage.getStore()
      storage.enterWith(request.url!)
      request.resume().on('end', () => {
        response.end(JSON.stringify([before ?? null, storage.getStore(), currentCall()!.method]))
      })
    })
    const session = open(server.port)
    const paths = ['/a', '/b', '/c', '/d']
    const answers = await Promise.all(paths.map((path) => ask(session, { headers: { ':path': path }, body: 'x' })))
    expect(answers.map(({ body }) => JSON.parse(body) as unknown)).toEqual(paths.map((path) => [null, path, 'POST']))
  })
})

/** Calls one by one, on a new connection after each GOAWAY; repeats what was not executed. */
class Caller {
  answered = 0
  repeated = 0
  readonly lost: string[] = []
  readonly #server: HttpServer
  readonly #as: Certificate | undefined
  #session: ClientHttp2Session | undefined

  constructor(server: HttpServer, as?: Certificate) {
    this.#server = server
    this.#as = as
  }

  async callUntil(over: () => boolean): Promise<void> {
    while (!over()) await this.#call()
  }

  async #call(): Promise<void> {
    const session = this.#current()
    let last = Number.POSITIVE_INFINITY
    const leave = (_code: number, id: number): void => {
      last = id
    }
    session.on('goaway', leave)
    const stream = session.request({ ':authority': 'inventory', ':path': '/' })
    const { status, body, code } = await answerOf(stream)
    session.off('goaway', leave)
    if (status === 200 && body === 'done' && code === 0) this.answered += 1
    else if (code === REFUSED || stream.id === undefined || stream.id > last) this.repeated += 1
    else this.lost.push(`${status} ${code} ${stream.id} of ${last}`)
  }

  #current(): ClientHttp2Session {
    if (this.#session === undefined || this.#session.closed || this.#session.destroyed) {
      this.#session = open(this.#server.port, this.#as)
    }
    return this.#session
  }
}

describe('a drain', () => {
  it('loses no call, and leaves no connection', async () => {
    const { server } = await serve(async (_request, response) => {
      await pause(5)
      response.end('done')
    })
    const callers = Array.from({ length: 8 }, () => new Caller(server))
    const seen = Promise.withResolvers<void>()
    let over = false
    const calling = callers.map((caller) => caller.callUntil(() => over))
    await expect.poll(() => callers.every(({ answered }) => answered > 5)).toBe(true)
    const report = server.drain({ lameDuckMs: 50_000, seen: seen.promise, graceMs: 50_000 })
    const before = callers.map(({ answered }) => answered)
    // Connections that came after the withdrawal are served, too.
    await expect.poll(() => callers.every(({ answered }, i) => answered > before[i]! + 5)).toBe(true)
    over = true
    await Promise.all(calling)
    seen.resolve()
    expect((await report).cancelled).toBe(0)
    expect(callers.flatMap(({ lost }) => lost)).toEqual([])
    expect(server.stats).toMatchObject({ connections: 0, inFlight: 0 })
  })

  it('says GOAWAY with the last stream that it serves, and answers that', async () => {
    const held = Promise.withResolvers<void>()
    const { server } = await serve(async (_request, response) => {
      await held.promise
      response.end('done')
    })
    const raw = await rawHttp2(server.port)
    raw.write(frames.headers(1, requestHeaders()), frames.headers(3, requestHeaders()))
    await expect.poll(() => server.stats.inFlight).toBe(2)
    const report = server.drain({ lameDuckMs: 0, graceMs: 50_000 })
    const goAway = await raw.frame(({ type }) => type === FRAME.goAway)
    expect(goAway!.payload.readUInt32BE(0)).toBe(3)
    held.resolve()
    for (const id of [1, 3]) {
      expect(await raw.frame(({ type, streamId }) => type === FRAME.data && streamId === id)).toBeDefined()
    }
    expect(await report).toEqual({ finished: 2, cancelled: 0 })
    expect(await raw.ends()).toBe(true)
  })
})

describe('a rotation', () => {
  it('moves calls to connections with the new certificate, and loses none', async () => {
    const { server, identity } = await serve(
      async (_request, response) => {
        await pause(2)
        response.end('done')
      },
      { mode: 'strict', rotationGrace: '1s' },
    )
    const callers = Array.from({ length: 6 }, () => new Caller(server, clientOf('checkout')))
    let over = false
    const calling = callers.map((caller) => caller.callUntil(() => over))
    await expect.poll(() => callers.every(({ answered }) => answered > 5)).toBe(true)
    const { accepted } = server.stats
    identity.rotate()
    await expect.poll(() => server.stats.accepted).toBe(accepted + 6)
    const before = callers.map(({ answered }) => answered)
    await expect.poll(() => callers.every(({ answered }, i) => answered > before[i]! + 5)).toBe(true)
    over = true
    await Promise.all(calling)
    expect(callers.flatMap(({ lost }) => lost)).toEqual([])
  })

  it('that denies a caller answers its calls and says why', async () => {
    const { server, identity } = await serve(() => undefined, { mode: 'strict' })
    const raw = await rawHttp2(server.port, clientOf('mallory'))
    raw.write(frames.headers(1, requestHeaders()))
    await expect.poll(() => server.stats.inFlight).toBe(1)
    const denied = ['spiffe://mesh.test/service/mallory']
    identity.rotate({ ...newIdentity(authority, 'inventory'), denied })
    const goAway = await raw.frame(({ type }) => type === FRAME.goAway)
    expect(goAway!.payload.subarray(8).toString()).toBe('identity-rejected; reason=denied')
    expect(await raw.frame(({ type, streamId }) => type === FRAME.headers && streamId === 1)).toBeDefined()
    expect(await raw.ends()).toBe(true)
  })
})
