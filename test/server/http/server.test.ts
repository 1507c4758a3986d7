import { Agent } from 'node:http'
import { Agent as SecureAgent } from 'node:https'
import { connect } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import { inboundCall } from '../../../src/core/context.ts'
import { MeshError } from '../../../src/core/errors.ts'
import type { Policy } from '../../../src/core/policy.ts'
import { compileIntentions } from '../../../src/server/authorization/intentions.ts'
import { currentCall } from '../../../src/server/current-call.ts'
import type { HttpListener } from '../../../src/server/http/application.ts'
import { serveHttp } from '../../../src/server/http/server.ts'
import { craftLeaf, newAuthority } from '../../rigs/certificates.ts'
import {
  ask,
  authority,
  clientOf,
  OneAtATime,
  OVER_MUX,
  pause,
  sendRaw,
  serve,
  serverStack,
  TRUSTING,
  tlsAttempt,
} from '../rig.ts'

const REFUSED = /^HTTP\/1\.1 403 .*\r\ninmesh-not-executed: identity-rejected; reason=[a-z-]+\r\n/s

const hello: HttpListener = (_request, response) => {
  response.end('hello')
}

function errorCode(body: string): string {
  return (JSON.parse(body) as { error: { code: string } }).error.code
}

describe('who may connect', () => {
  it('serves a peer with an identity of the mesh and tells the handler who it is', async () => {
    const { server } = await serve((_request, response) => response.end(JSON.stringify(currentCall()?.peer)), {
      mode: 'strict',
    })
    const answer = await ask(server.port, { as: clientOf('checkout') })
    expect(JSON.parse(answer.body)).toMatchObject({
      spiffeId: 'spiffe://mesh.test/service/checkout',
      service: 'checkout',
    })
  })

  it('refuses plaintext, missing, foreign and malformed certificates without running the handler, and says why', async () => {
    let ran = 0
    const { server, events } = await serve(
      (_request, response) => {
        ran += 1
        response.end()
      },
      { mode: 'strict' },
    )
    const stranger = craftLeaf(newAuthority(), {})
    const twoNames = craftLeaf(authority, {
      uris: ['spiffe://mesh.test/service/checkout', 'spiffe://mesh.test/service/admin'],
    })
    const foreign = craftLeaf(authority, { uris: ['spiffe://other.test/service/checkout'] })
    const nameOnly = craftLeaf(authority, { uris: [], commonName: 'checkout' })
    const expired = craftLeaf(authority, { notBefore: Date.now() - 7_200_000, notAfter: Date.now() - 3_600_000 })
    expect(await sendRaw(server.port, 'GET / HTTP/1.1\r\nhost: inventory\r\n\r\n')).not.toContain('200')
    for (const as of [undefined, stranger, twoNames, foreign, nameOnly, expired]) {
      expect(await tlsAttempt(server.port, as)).toMatch(REFUSED)
    }
    expect(ran).toBe(0)
    const reasons = events.of('peer:refused').map((event) => event.reason)
    expect(reasons).toEqual([
      'plaintext',
      'no-certificate',
      'untrusted-issuer',
      'several-uri-names',
      'foreign-trust-domain',
      'no-uri-name',
      'expired',
    ])
    expect(server.stats).toMatchObject({ refused: 7, inFlight: 0 })
  })

  it('takes TLS and plaintext on one port when permissive, and counts the plaintext', async () => {
    const { server } = await serve((_request, response) => response.end(currentCall()?.peer?.service ?? 'nobody'), {
      mode: 'permissive',
    })
    expect((await ask(server.port, { as: clientOf('checkout') })).body).toBe('checkout')
    expect((await ask(server.port)).body).toBe('nobody')
    expect((await ask(server.port, { method: 'POST', body: 'x'.repeat(100_000) })).body).toBe('nobody')
    expect(await tlsAttempt(server.port, undefined)).toMatch(REFUSED)
    expect(server.stats).toMatchObject({ accepted: 4, plaintext: 2, refused: 1 })
  })

  it('says to a caller in plaintext why no intention can let it in', async () => {
    const { server } = await serve(hello, { mode: 'permissive' }, { authorizer: compileIntentions([], 'deny') })
    expect(await ask(server.port)).toMatchObject({
      status: 403,
      body: expect.stringContaining('unauthenticated: true'),
    })
    const named = (await ask(server.port, { as: clientOf('checkout') })).body
    expect(named).toMatch(/No intention allows this call to 'inventory'\."/)
  })

  it('drops a permissive connection that says nothing', async () => {
    const { server } = await serve(hello, { mode: 'permissive', headersTimeout: 100 })
    expect(await sendRaw(server.port, '')).toBe('')
  })

  it('needs an identity unless it is plaintext', async () => {
    const options = { mode: 'strict' } as const
    const failing = serveHttp(hello, options, {
      service: 'inventory',
      authorizer: compileIntentions([], 'allow'),
      stack: serverStack(),
    })
    await expect(failing).rejects.toMatchObject({ code: 'not-in-mesh' })
  })
})

describe('what is taken from headers', () => {
  it('drops every header of the mesh and every claim of identity in all views of the headers', async () => {
    const { server } = await serve((request, response) => {
      const raw = request.rawHeaders.filter((_, i) => i % 2 === 0)
      response.end(JSON.stringify([request.headers, Object.keys(request.headersDistinct), raw]))
    })
    const text = await sendRaw(
      server.port,
      'GET / HTTP/1.1\r\nInMesh-Peer: root\r\nhost: a\r\ninmesh-timeout-ms: 900\r\nX-Forwarded-Client-Cert: me\r\nx-kept: 1\r\nconnection: close\r\n\r\n',
    )
    const [headers, distinct, raw] = JSON.parse(text.slice(text.indexOf('['), text.lastIndexOf(']') + 1)) as unknown[]
    expect(headers).toEqual({ host: 'a', 'x-kept': '1', connection: 'close' })
    expect(distinct).toEqual(['host', 'x-kept', 'connection'])
    expect(raw).toEqual(['host', 'x-kept', 'connection'])
  })

  it('gives the handler deadline, trace, baggage and the number of attempts before', async () => {
    const { server } = await serve((_request, response) => {
      const call = currentCall()!
      call.setBaggage('more', '1')
      response.end(
        JSON.stringify({
          left: call.remainingMs,
          trace: call.trace,
          baggage: [...call.baggage],
          carried: [...(inboundCall()?.baggage ?? [])],
          before: call.previousAttempts,
          method: call.method,
          service: call.service,
          logged: call,
        }),
      )
    })
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    const headers = {
      'inmesh-timeout-ms': '8000',
      'inmesh-previous-attempts': '2',
      traceparent,
      baggage: 'tenant=a%20b',
    }
    const told = JSON.parse((await ask(server.port, { headers })).body) as Record<string, unknown>
    expect(told.left).toBeGreaterThan(0)
    expect(told.left).toBeLessThanOrEqual(8_000)
    expect(told).toMatchObject({
      trace: { traceId: '0af7651916cd43dd8448eb211c80319c', sampled: true },
      baggage: [
        ['tenant', 'a b'],
        ['more', '1'],
      ],
      carried: [
        ['tenant', 'a b'],
        ['more', '1'],
      ],
      before: 2,
      method: 'GET',
      service: 'inventory',
    })
    expect(told.logged).toEqual({
      service: 'inventory',
      method: 'GET',
      transport: expect.any(String),
      remainingMs: expect.any(Number),
      traceId: '0af7651916cd43dd8448eb211c80319c',
      previousAttempts: 2,
      mirror: false,
    })
    expect(currentCall()).toBeUndefined()
  })

  it.each([
    ['two Host headers', 'GET / HTTP/1.1\r\nhost: a\r\nHost: b\r\n\r\n', 400],
    ['a full URL as target', 'GET http://evil/ HTTP/1.1\r\nhost: a\r\n\r\n', 400],
    ['dot segments', 'GET /a/%2e%2e/admin HTTP/1.1\r\nhost: a\r\n\r\n', 400],
    ['a malformed deadline', 'GET / HTTP/1.1\r\nhost: a\r\ninmesh-timeout-ms: -5\r\n\r\n', 400],
    ['two deadlines', 'GET / HTTP/1.1\r\nhost: a\r\ninmesh-timeout-ms: 5\r\ninmesh-timeout-ms: 9\r\n\r\n', 400],
    [
      'length and chunks at once',
      'POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n',
      400,
    ],
    ['too many headers', `GET / HTTP/1.1\r\nhost: a\r\n${'x: y\r\n'.repeat(300)}\r\n`, 431],
    ['too large headers', `GET / HTTP/1.1\r\nhost: a\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`, 431],
    ['no HTTP at all', '\x16\x03\x01 garbage\r\n\r\n', 400],
  ])('answers %s itself and closes', async (_what, text, status) => {
    let ran = 0
    const { server } = await serve((_request, response) => {
      ran += 1
      response.end()
    })
    expect(await sendRaw(server.port, text)).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
    expect(ran).toBe(0)
  })

  it('lets the router see the path that was authorized', async () => {
    const { server } = await serve((request, response) => response.end(request.url))
    expect((await ask(server.port, { path: '/%61dmin/caf%c3%a9?q=%61' })).body).toBe('/admin/caf%C3%A9?q=%61')
  })
})

describe('intentions', () => {
  it('answers 403 without running the handler, tells the audit, and follows a change at once', async () => {
    let ran = 0
    const { server, events } = await serve(
      (_request, response) => {
        ran += 1
        response.end()
      },
      { mode: 'strict' },
      { authorizer: compileIntentions([{ from: 'checkout', methods: ['GET'], paths: ['/items/*'] }], 'deny') },
    )
    const as = clientOf('checkout')
    expect((await ask(server.port, { as, path: '/items/42' })).status).toBe(200)
    const denied = await ask(server.port, { as, path: '/items/42?x=1', method: 'DELETE' })
    expect(denied.status).toBe(403)
    expect(errorCode(denied.body)).toBe('permission-denied')
    expect((await ask(server.port, { as: clientOf('audit'), path: '/items/42' })).status).toBe(403)
    expect(ran).toBe(1)
    expect(events.of('intention:denied')[0]).toEqual({
      peer: 'checkout',
      method: 'DELETE',
      path: '/items/42',
      reason: 'default',
    })
    server.authorizer = compileIntentions([{ from: 'audit' }], 'deny')
    expect((await ask(server.port, { as: clientOf('audit'), path: '/items/42' })).status).toBe(200)
    expect((await ask(server.port, { as, path: '/items/42' })).status).toBe(403)
  })

  it('asks before it tells a client to continue', async () => {
    const { server } = await serve(hello, {}, { authorizer: compileIntentions([], 'deny') })
    const text = await sendRaw(
      server.port,
      'POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n',
    )
    expect(text).toMatch(/^HTTP\/1.1 403 /)
    const open = await serve((request, response) => {
      request.on('data', () => {}).on('end', () => response.end('got it'))
    })
    const answered = await new Promise<string>((resolve) => {
      let received = ''
      const socket = connect(open.server.port, '127.0.0.1', () =>
        socket.write(
          'POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n',
        ),
      )
      socket.on('data', (part) => {
        if (received === '') socket.write('12345')
        received += part.toString()
      })
      socket.on('close', () => resolve(received))
    })
    expect(answered).toMatch(/^HTTP\/1.1 100 Continue[\s\S]*200 OK[\s\S]*got it/)
  })

  it('hands an allowed upgrade over, refuses another, and serves it as a plain request if nobody takes upgrades', async () => {
    const text = (path: string): string =>
      `GET ${path} HTTP/1.1\r\nhost: a\r\nupgrade: echo\r\nconnection: upgrade\r\ninmesh-peer: root\r\n\r\n`
    let seen: unknown
    const { server } = await serve(
      hello,
      {
        onUpgrade: (request, socket) => {
          seen = [request.headers['inmesh-peer'], currentCall()?.remainingMs]
          socket.end('HTTP/1.1 101 Switching Protocols\r\n\r\nhi')
        },
      },
      {},
    )
    expect(await sendRaw(server.port, text('/ws'))).toContain('hi')
    expect(seen).toEqual([undefined, Number.POSITIVE_INFINITY])
    server.authorizer = compileIntentions([], 'deny')
    expect(await sendRaw(server.port, text('/ws'))).toMatch(/^HTTP\/1.1 403 /)
    await expect.poll(() => server.stats.inFlight).toBe(0)
    const plain = await serve((_request, response) => {
      response.setHeader('connection', 'close')
      response.end('plain')
    })
    expect(await sendRaw(plain.server.port, text('/ws'))).toContain('plain')
  })
})

describe('deadlines and cancellation', () => {
  it('refuses expired work before the handler', async () => {
    let ran = 0
    const { server } = await serve((_request, response) => {
      ran += 1
      response.end()
    })
    const answer = await ask(server.port, { headers: { 'inmesh-timeout-ms': '0' } })
    expect(answer.status).toBe(504)
    expect(errorCode(answer.body)).toBe('deadline-exceeded')
    expect(answer.headers['inmesh-not-executed']).toBe('deadline-exceeded')
    expect(ran).toBe(0)
  })

  it("aborts the handler's signal at the deadline, answers 504 and swallows what the handler still writes", async () => {
    let reason: unknown
    let late: unknown = 'nothing'
    const { server, failures } = await serve((_request, response) => {
      response.setHeader('content-length', '999999')
      const { signal } = currentCall()!
      signal.addEventListener('abort', () => {
        reason = signal.reason
        setTimeout(() => {
          try {
            response.setHeader('x', 'y')
            response.writeHead(200)
            response.write('late')
            late = response.end('later') === response
          } catch (error) {
            late = error
          }
        }, 5)
      })
    })
    const agent = new Agent({ keepAlive: true })
    onTestFinished(() => agent.destroy())
    const answer = await ask(server.port, { agent, headers: { 'inmesh-timeout-ms': '30' } })
    expect(answer.status).toBe(504)
    expect(answer.headers['inmesh-not-executed']).toBeUndefined()
    await pause(30)
    expect(reason).toBeInstanceOf(MeshError)
    expect((reason as MeshError).code).toBe('deadline-exceeded')
    expect(late).toBe(true)
    expect(failures).toEqual([])
    await expect.poll(() => server.stats.inFlight).toBe(0)
  })

  it('cuts an answer that is late for the caller, but lets a stream outlive the default timeout', async () => {
    const streaming: HttpListener = (_request, response) => {
      response.write('a')
      const timer = setInterval(() => response.write('b'), 20)
      setTimeout(() => {
        clearInterval(timer)
        response.end('end')
      }, 200)
      response.on('close', () => clearInterval(timer))
    }
    const { server } = await serve(streaming, {}, { stack: serverStack([], 50) })
    expect((await ask(server.port)).body).toMatch(/end$/)
    await expect(ask(server.port, { headers: { 'inmesh-timeout-ms': '60' } })).rejects.toThrow()
  })

  it('tells the handler when the caller has gone away', async () => {
    const aborted = Promise.withResolvers<unknown>()
    const begun = Promise.withResolvers<void>()
    const { server } = await serve(() => {
      begun.resolve()
      const { signal } = currentCall()!
      signal.addEventListener('abort', () => aborted.resolve(signal.reason))
    })
    const stop = new AbortController()
    const gone = ask(server.port, { signal: stop.signal })
    gone.catch(() => {})
    await begun.promise
    stop.abort()
    await expect(gone).rejects.toThrow()
    expect(await aborted.promise).toMatchObject({ code: 'cancelled' })
    await expect.poll(() => server.stats.inFlight).toBe(0)
  })

  it('keeps requests that came in one packet apart, also after a wait, and leaves nothing behind', async () => {
    const seen: unknown[] = []
    const { server } = await serve(async (request, response) => {
      await pause(20 / (seen.length + 1))
      seen.push([request.url, currentCall()?.trace?.spanId])
      response.end()
    })
    const traced = (path: string, span: string): string =>
      `GET ${path} HTTP/1.1\r\nhost: a\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-${span}-01\r\n\r\n`
    const [first, second] = ['b7ad6b7169203331', 'c7ad6b7169203332']
    const socket = connect(server.port, '127.0.0.1', () => {
      socket.write(traced('/1', first) + traced('/2', second))
    })
    await expect.poll(() => seen.length).toBe(2)
    expect(seen).toEqual(
      expect.arrayContaining([
        ['/1', first],
        ['/2', second],
      ]),
    )
    // The next one on the same connection tells of no trace, so it has none.
    socket.write('GET /3 HTTP/1.1\r\nhost: a\r\n\r\n')
    await expect.poll(() => seen.length).toBe(3)
    expect(seen[2]).toEqual(['/3', undefined])
    expect(inboundCall()).toBeUndefined()
    socket.destroy()
  })
})

describe('limits', () => {
  it('answers 503 with retry-after and the mark of not being executed, and admits again afterwards', async () => {
    const limit = new OneAtATime()
    const release = Promise.withResolvers<void>()
    const { server } = await serve(
      async (_request, response) => {
        await release.promise
        response.end('done')
      },
      {},
      { stack: serverStack([limit]) },
    )
    const first = ask(server.port)
    await expect.poll(() => limit.running).toBe(1)
    const refused = await ask(server.port, { method: 'POST', body: 'x'.repeat(200_000) })
    expect(refused.status).toBe(503)
    expect(refused.headers).toMatchObject({ 'retry-after': '1', 'inmesh-not-executed': 'concurrency-limited' })
    release.resolve()
    expect((await first).body).toBe('done')
    expect((await ask(server.port)).status).toBe(200)
    await expect.poll(() => limit.settled).toEqual(['success', 'success'])
  })

  it('answers 429 when the rate is exceeded', async () => {
    const limit: Policy = { name: 'rate', admit: () => 'rate-limited', settle() {} }
    const { server, events } = await serve(hello, {}, { stack: serverStack([limit]) })
    const answer = await ask(server.port)
    expect(answer.status).toBe(429)
    expect(answer.headers['inmesh-not-executed']).toBe('rate-limited')
    expect(events.of('admission:refused')).toEqual([{ side: 'server', code: 'rate-limited' }])
  })

  it('closes connections that send their head too slowly while others are served', async () => {
    const { server } = await serve(hello, { headersTimeout: 3_000 })
    const slow = Array.from({ length: 20 }, () => sendRaw(server.port, 'GET / HTTP/1.1\r\nhost: a\r\nx-never'))
    expect((await ask(server.port)).status).toBe(200)
    for (const text of await Promise.all(slow)) expect(text).toMatch(/^HTTP\/1.1 408 /)
  })

  it('tells a client whose request crosses the end of a silent connection that it was not executed', async () => {
    const { server } = await serve(hello, { headersTimeout: 200 })
    expect(await sendRaw(server.port, '')).toMatch(/^HTTP\/1.1 408 .*\r\ninmesh-not-executed: /s)
    // What makes no sense is not worth another attempt.
    const garbage = await sendRaw((await serve(hello)).server.port, 'nonsense\r\n\r\n')
    expect(garbage).toMatch(/^HTTP\/1.1 400 /)
    expect(garbage).not.toContain('inmesh-')
  })

  it('does not let a slow sender outlive its deadline', async () => {
    const { server } = await serve((request, response) => {
      request.resume().on('end', () => response.end())
    })
    const text = await sendRaw(
      server.port,
      'POST / HTTP/1.1\r\nhost: a\r\ninmesh-timeout-ms: 50\r\ncontent-length: 1000\r\n\r\nfew',
    )
    expect(text).toMatch(/^HTTP\/1.1 504 /)
  })
})

describe('handlers that fail', () => {
  it.each<[string, HttpListener]>([
    [
      'throws',
      () => {
        throw new Error('secret detail')
      },
    ],
    ['rejects', () => Promise.reject(new Error('secret detail'))],
  ])('answers 500 without internals when one %s', async (_how, handler) => {
    const { server, failures } = await serve(handler)
    const answer = await ask(server.port)
    expect(answer.status).toBe(500)
    expect(answer.body).not.toContain('secret')
    expect(errorCode(answer.body)).toBe('server-error')
    expect(failures).toHaveLength(1)
    await expect.poll(() => server.stats.inFlight).toBe(0)
  })

  it('ends the connection when one fails in the middle of its answer', async () => {
    const { server, failures } = await serve(async (_request, response) => {
      response.write('part')
      await pause(10)
      throw new Error('later')
    })
    await expect(ask(server.port)).rejects.toThrow()
    expect(failures).toHaveLength(1)
    await expect.poll(() => server.stats.inFlight).toBe(0)
  })

  it.each<[string, HttpListener]>([
    ['setHeader', (_request, response) => void response.setHeader('Inmesh-Not-Executed', 'x').end()],
    [
      'an object',
      (_request, response) => void response.writeHead(200, { 'Inmesh-Not-Executed': 'x', kept: '1' }).end(),
    ],
    [
      'a flat list',
      (_request, response) => void response.writeHead(200, 'OK', ['Inmesh-Not-Executed', 'x', 'kept', '1']).end(),
    ],
  ])('never lets a handler claim by %s that it did not execute', async (_how, handler) => {
    const { server } = await serve(handler)
    const answer = await ask(server.port)
    expect(answer.status).toBe(200)
    expect(answer.headers['inmesh-not-executed']).toBeUndefined()
  })
})

describe('going away', () => {
  it('finishes what runs, asks clients to leave, and loses nothing', async () => {
    let held = Promise.resolve()
    const { server, events } = await serve(async (_request, response) => {
      await held
      response.end('done')
    })
    const agent = new Agent({ keepAlive: true, maxSockets: 20 })
    onTestFinished(() => agent.destroy())
    await Promise.all(Array.from({ length: 20 }, () => ask(server.port, { agent })))
    const { port } = server
    const release = Promise.withResolvers<void>()
    held = release.promise
    const running = Array.from({ length: 20 }, () => ask(port, { agent }))
    await expect.poll(() => server.stats.inFlight).toBe(20)
    const seen = Promise.withResolvers<void>()
    const report = server.drain({ lameDuckMs: 50_000, graceMs: 50_000, seen: seen.promise })
    const during = ask(port)
    await expect.poll(() => server.stats.inFlight).toBe(21)
    release.resolve()
    for (const answer of await Promise.all(running)) expect(answer).toMatchObject({ body: 'done', leave: true })
    // A new connection of `inmesh/1` hears of the end when the grace begins.
    expect(await during).toMatchObject({ body: 'done', leave: !OVER_MUX })
    seen.resolve()
    expect(await report).toEqual({ finished: 21, cancelled: 0 })
    await expect(ask(port)).rejects.toThrow()
    expect(events.of('drain:step').map((event) => event.step)).toEqual(['lame-duck', 'finishing', 'closed'])
    expect(server.stats.connections).toBe(0)
  })

  it('cancels what does not finish within the grace', async () => {
    let reason: unknown
    const { server } = await serve(() => {
      const { signal } = currentCall()!
      signal.addEventListener('abort', () => {
        reason = signal.reason
      })
    })
    const hanging = ask(server.port)
    await expect.poll(() => server.stats.inFlight).toBe(1)
    expect(await server.drain({ lameDuckMs: 0, graceMs: 50 })).toEqual({ finished: 0, cancelled: 1 })
    expect((await hanging).status).toBe(503)
    expect(reason).toMatchObject({ code: 'closed' })
  })

  it('goes on at once when all clients have seen it, and close hastens a drain', async () => {
    const { server } = await serve(hello)
    const begun = performance.now()
    await server.drain({ lameDuckMs: 50_000, seen: Promise.resolve() })
    expect(performance.now() - begun).toBeLessThan(40_000)
    const other = await serve(hello)
    const draining = other.server.drain({ lameDuckMs: 50_000 })
    await other.server.close()
    expect(await draining).toEqual({ finished: 0, cancelled: 0 })
    expect(performance.now() - begun).toBeLessThan(40_000)
    expect(other.server.state).toBe('closed')
  })

  it('moves connections to a new certificate under traffic without a failed request', async () => {
    const { server, identity } = await serve(hello, { mode: 'strict', rotationGrace: 50 })
    const as = clientOf('checkout')
    const agent = new SecureAgent({ keepAlive: true, maxSockets: 4, ...as, ...TRUSTING })
    onTestFinished(() => agent.destroy())
    let statuses = 0
    let closes = 0
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 40; i++) {
        const answers = await Promise.all([1, 2, 3, 4].map(() => ask(server.port, { as, agent })))
        for (const answer of answers) {
          if (answer.status === 200) statuses += 1
          if (answer.leave) closes += 1
        }
        if (i === 5) identity.rotate()
        await pause(3)
      }
    }
    expect(statuses).toBe(480)
    if (OVER_MUX) expect(server.stats.accepted).toBeGreaterThan(1)
    else expect([closes, server.stats.accepted]).toEqual([12, 16])
  })
})
