/** HTTP/2 on the port of an HTTP server: what a handler sees, and what a foreign client gets. */
import { constants } from 'node:http2'
import { type TLSSocket, connect as tlsConnect } from 'node:tls'
import { describe, expect, it } from 'vitest'
import { currentCall } from '../../../src/server/current-call.ts'
import { scanHeaders } from '../../../src/server/http/headers.ts'
import { craftLeaf, newAuthority } from '../../rigs/certificates.ts'
import { FRAME, frames, headerBlock } from '../../rigs/raw-http2.ts'
import { clientOf, OneAtATime, serve, serverStack, TRUSTING } from '../rig.ts'
import { answerOf, ask, begin, open, rawHttp2, requestHeaders } from './http2-rig.ts'

const errorCode = (body: string): string => (JSON.parse(body) as { error: { code: string } }).error.code

describe('a client of HTTP/2', () => {
  it('is served by ALPN with its identity, and in plaintext by its preface', async () => {
    const whom = async (mode: 'strict' | 'plaintext'): Promise<string[]> => {
      const { server } = await serve(
        (request, response) => {
          const { peer, method } = currentCall()!
          response.end(JSON.stringify([peer?.service ?? null, method, request.url, request.headers.host]))
        },
        { mode },
      )
      const session = open(server.port, mode === 'strict' ? clientOf('checkout') : undefined)
      return JSON.parse((await ask(session, { headers: { ':path': '/items?a=b' } })).body) as string[]
    }
    expect(await whom('strict')).toEqual(['checkout', 'GET', '/items?a=b', 'inventory'])
    expect(await whom('plaintext')).toEqual([null, 'GET', '/items?a=b', 'inventory'])
  })

  it('gets what it names first, of what both speak', async () => {
    const { server } = await serve((_request, response) => response.end(), { mode: 'strict' })
    const chosen = (ALPNProtocols: string[]): Promise<string | false | null> =>
      new Promise((resolve, reject) => {
        const socket: TLSSocket = tlsConnect(
          { port: server.port, host: '127.0.0.1', ...TRUSTING, ...clientOf('checkout'), ALPNProtocols },
          () => {
            resolve(socket.alpnProtocol)
            socket.destroy()
          },
        )
        socket.on('error', reject)
      })
    expect(await chosen(['h2', 'http/1.1'])).toBe('h2')
    expect(await chosen(['smtp', 'http/1.1', 'h2'])).toBe('http/1.1')
    expect(await chosen(['h2'])).toBe('h2')
  })

  it('runs many calls on one connection', async () => {
    let running = 0
    let most = 0
    const { server } = await serve(async (request, response) => {
      running += 1
      most = Math.max(most, running)
      await new Promise((resolve) => setTimeout(resolve, 20))
      running -= 1
      response.end(request.url)
    })
    const session = open(server.port)
    const paths = Array.from({ length: 200 }, (_, i) => `/${i}`)
    const answers = await Promise.all(paths.map((path) => ask(session, { headers: { ':path': path } })))
    expect(answers.map(({ body }) => body)).toEqual(paths)
    expect(most).toBeGreaterThan(50)
    await expect.poll(() => server.stats).toMatchObject({ connections: 1, inFlight: 0 })
  })

  it('sends and gets bodies of any size, byte by byte the same', async () => {
    const { server } = await serve((request, response) => request.pipe(response))
    const session = open(server.port)
    for (const size of [1, 16_384, 65_536, 3_000_000]) {
      const body = Buffer.alloc(size, 'abcdefghij')
      const answer = await ask(session, { body })
      expect(answer.status).toBe(200)
      expect(answer.body === body.toString()).toBe(true)
    }
  })

  it('sends and gets trailers, without those of the mesh', async () => {
    const { server } = await serve((request, response) => {
      request.resume().on('end', () => {
        response.writeHead(200, { trailer: 'x-sum' })
        response.write('a')
        response.addTrailers({ 'x-sum': JSON.stringify(request.trailers) })
        response.end()
      })
    })
    const { trailers, body } = await ask(open(server.port), {
      body: 'abc',
      trailers: { 'x-count': '3', 'inmesh-peer': 'root' },
    })
    expect(body).toBe('a')
    expect(trailers!['x-sum']).toBe('{"x-count":"3"}')
  })

  it('gets informational heads, and 100 before it sends its body', async () => {
    const { server } = await serve((request, response) => {
      response.writeEarlyHints({ link: '</a.css>; rel=preload' })
      request.resume().on('end', () => response.end('done'))
    })
    const session = open(server.port)
    const stream = begin(session, { ':method': 'POST', expect: '100-continue' })
    const answer = answerOf(stream)
    await new Promise((resolve) => stream.once('continue', resolve))
    stream.end('body')
    expect(await answer).toMatchObject({ status: 200, body: 'done', informed: [100, 103] })
  })

  it.each([
    ['HEAD', 200, { ':method': 'HEAD' }],
    ['204', 204, {}],
    ['304', 304, {}],
  ])('gets no body with %s', async (_what, status, headers) => {
    const { server } = await serve((_request, response) => {
      response.writeHead(status as number, status === 200 ? { 'content-length': '5' } : {})
      response.end(status === 200 ? 'hello' : undefined)
    })
    const answer = await ask(open(server.port), { headers })
    expect(answer).toMatchObject({ status, body: '', code: 0 })
  })

  it('gets no header that speaks of a connection of HTTP/1.1', async () => {
    const { server } = await serve((_request, response) => {
      response.writeHead(200, [
        'connection',
        'close',
        'keep-alive',
        'timeout=5',
        'Set-Cookie',
        'a=1',
        'Set-Cookie',
        'b=2',
      ])
      response.end('x')
    })
    const { headers, status } = await ask(open(server.port))
    expect(status).toBe(200)
    expect(headers['set-cookie']).toEqual(['a=1', 'b=2'])
    expect(Object.keys(headers)).not.toContain('connection')
    expect(Object.keys(headers)).not.toContain('keep-alive')
    expect(Object.keys(headers)).not.toContain('transfer-encoding')
  })

  it('gets every line of a header that the handler repeats', async () => {
    const { server } = await serve((_request, response) => {
      response.setHeader('x-many', ['1', '2']).setHeader('content-type', ['a/b', 'c/d']).end()
    })
    const { headers, status, code } = await ask(open(server.port))
    expect([status, code]).toEqual([200, 0])
    expect(headers['x-many']).toBe('1, 2')
  })

  it('cannot make a handler hear headers of the mesh, nor two lines of cookies', async () => {
    const { server } = await serve((request, response) =>
      response.end(JSON.stringify([request.headers, scanHeaders(request).timeout])),
    )
    const headers = {
      'inmesh-timeout-ms': '9000',
      'x-forwarded-client-cert': 'me',
      cookie: ['a=1', 'b=2'],
      'x-kept': '1',
    }
    const { body } = await ask(open(server.port), { headers })
    expect(JSON.parse(body)).toEqual([{ host: 'inventory', cookie: 'a=1; b=2', 'x-kept': '1' }, '9000'])
  })
})

describe('a refused request', () => {
  it.each<[string, Record<string, string>, number]>([
    ['host that differs from its authority', { host: 'admin' }, 400],
    ['a scheme that is none', { ':scheme': 'ftp' }, 400],
    ['a dot segment', { ':path': '/a/../b' }, 400],
    ['an escaped slash', { ':path': '/a%2fb' }, 400],
    ['a path that begins with //', { ':path': '//a' }, 400],
    ['a deadline that is none', { 'inmesh-timeout-ms': 'x' }, 400],
    ['an unknown method', { ':method': 'BREW' }, 400],
    ['more headers than maxHeaders', Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`x-${i}`, '1'])), 431],
  ])('is one with %s: no handler runs, and the connection goes on', async (_what, more, status) => {
    let ran = 0
    const { server, events } = await serve((_request, response) => {
      ran += 1
      response.end()
    })
    const raw = await rawHttp2(server.port)
    raw.write(frames.headers(1, requestHeaders('/', more)))
    const head = await raw.frame(({ type, streamId }) => type === FRAME.headers && streamId === 1)
    expect(ran).toBe(0)
    expect(head).toBeDefined()
    expect(events.of('admission:refused')).toMatchObject([{ code: 'protocol-error' }])
    const { port } = server
    const { ':authority': authority, ...rest } = more
    const given = { ':authority': authority ?? 'inventory', ...rest }
    if (more.host === undefined) expect((await ask(open(port), { headers: given })).status).toBe(status)
    raw.write(frames.headers(3, requestHeaders()))
    await raw.frame(({ type, streamId }) => type === FRAME.headers && streamId === 3)
    expect(ran).toBe(1)
  })

  it.each<[string, Record<string, string>]>([
    ['connection', { connection: 'close' }],
    ['transfer-encoding', { 'transfer-encoding': 'chunked' }],
    ['upgrade', { upgrade: 'websocket' }],
    ['keep-alive', { 'keep-alive': 'timeout=5' }],
    ['te other than trailers', { te: 'gzip' }],
    ['an upper-case name', { 'X-Upper': '1' }],
    ['CONNECT', { ':method': 'CONNECT' }],
    ['extended CONNECT', { ':method': 'CONNECT', ':protocol': 'websocket' }],
    ['no path', { ':path': '' }],
    ['an empty authority', { ':authority': '' }],
    ['an authority with userinfo', { ':authority': 'a@inventory' }],
    ['a full URL as path', { ':path': 'http://inventory/' }],
    ['a second method', { ':method ': 'GET' }],
  ])('is one with %s: no handler runs', async (_what, more) => {
    let ran = 0
    const { server } = await serve((_request, response) => {
      ran += 1
      response.end()
    })
    const raw = await rawHttp2(server.port)
    raw.write(frames.headers(1, requestHeaders('/', more)))
    const end = ({ type, streamId }: { type: number; streamId: number }): boolean =>
      (streamId === 1 && (type === FRAME.headers || type === FRAME.reset)) || type === FRAME.goAway
    expect(await raw.frame(end)).toBeDefined()
    expect(ran).toBe(0)
  })

  it.each(['b\r\nc: d', 'b\0', 'b\n'])('never shows a handler the value %j, which nghttp2 drops', async (value) => {
    const { server } = await serve((request, response) => response.end(JSON.stringify(request.headers)))
    const raw = await rawHttp2(server.port)
    raw.write(frames.headers(1, requestHeaders('/', { 'x-a': value, 'x-b': '1' })))
    const body = await raw.frame(({ type, streamId }) => type === FRAME.data && streamId === 1)
    expect(JSON.parse(String(body!.payload))).toEqual({ host: 'inventory', 'x-b': '1' })
  })

  it('may not say twice what it may say once', async () => {
    let ran = 0
    const { server } = await serve((_request, response) => {
      ran += 1
      response.end()
    })
    const twice = [{ ':path': '/a' }, { ':authority': 'b' }, { ':method': 'GET' }, { ':scheme': 'http' }]
    for (const again of twice) {
      const raw = await rawHttp2(server.port)
      const block = Buffer.concat([headerBlock(requestHeaders()), headerBlock(again as Record<string, string>)])
      raw.write(frameWith(block))
      await raw.frame(({ type }) => type === FRAME.reset || type === FRAME.goAway || type === FRAME.headers)
    }
    expect(ran).toBe(0)
  })

  it.each([
    ['longer', '3', 'four'],
    ['shorter', '5', 'four'],
  ])('is one whose body is %s than its content-length', async (_what, length, body) => {
    let whole = 0
    const { server } = await serve((request, response) => {
      request.resume().on('end', () => {
        whole += 1
        response.end()
      })
    })
    const { status } = await ask(open(server.port), { headers: { 'content-length': length }, body })
    expect([undefined, 400]).toContain(status)
    expect(whole).toBe(0)
  })

  it('by a limit is marked as not executed, and so is one of a stranger', async () => {
    const held = Promise.withResolvers<void>()
    const { server } = await serve(
      async (_request, response) => {
        await held.promise
        response.end('first')
      },
      {},
      { stack: serverStack([new OneAtATime()]) },
    )
    const session = open(server.port)
    const first = ask(session)
    await expect.poll(() => server.stats.inFlight).toBe(1)
    const second = await ask(session)
    expect(second).toMatchObject({ status: 503, headers: { 'inmesh-not-executed': 'concurrency-limited' } })
    expect(errorCode(second.body)).toBe('concurrency-limited')
    held.resolve()
    expect((await first).body).toBe('first')
  })

  it('of a stranger is answered with 403 and the reason, and its connection closes', async () => {
    let ran = 0
    const { server, events } = await serve(
      (_request, response) => {
        ran += 1
        response.end()
      },
      { mode: 'strict' },
    )
    for (const [as, reason] of [
      [craftLeaf(newAuthority(), {}), 'untrusted-issuer'],
      [undefined, 'no-certificate'],
    ] as const) {
      const session = open(server.port, as ?? ({} as never))
      const gone = new Promise<string>((resolve) => session.on('goaway', (_c, _l, data) => resolve(String(data))))
      const closed = new Promise((resolve) => session.on('close', resolve))
      const refusal = `identity-rejected; reason=${reason}`
      for (const { status, headers, code } of await Promise.all([ask(session), ask(session, { body: 'some' })])) {
        expect({ status, code, marker: headers['inmesh-not-executed'] }).toEqual({
          status: 403,
          code: 0,
          marker: refusal,
        })
      }
      expect((await gone).startsWith(refusal)).toBe(true)
      await closed
    }
    expect(ran).toBe(0)
    expect(events.of('peer:refused').map(({ reason }) => reason)).toEqual(['untrusted-issuer', 'no-certificate'])
  })

  it('of a stranger that asks for nothing gets a GOAWAY', async () => {
    const { server } = await serve((_request, response) => response.end(), { mode: 'strict' })
    const raw = await rawHttp2(server.port, {} as never)
    const goAway = await raw.frame(({ type }) => type === FRAME.goAway)
    expect(goAway!.payload.readUInt32BE(0)).toBe(0)
    expect(goAway!.payload.readUInt32BE(4)).toBe(constants.NGHTTP2_REFUSED_STREAM)
    expect(goAway!.payload.subarray(8).toString()).toMatch(/^identity-rejected; reason=no-certificate; This port/)
    expect(await raw.ends()).toBe(true)
  })
})

function frameWith(block: Buffer): Buffer {
  return Buffer.concat([Buffer.from([0, block.length >> 8, block.length & 255, FRAME.headers, 5, 0, 0, 0, 1]), block])
}
