import { createServer } from 'node:http'
import { PassThrough, Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { Agent, type Dispatcher, errors, interceptors, request, stream, FormData as UndiciFormData } from 'undici'
import { describe, expect, it } from 'vitest'
import { type MeshDispatcherOptions, makeDispatcher } from '../../../../src/client/http/dispatcher/dispatcher.ts'
import type { LegacyHandler } from '../../../../src/client/http/dispatcher/legacy-handler.ts'
import { OVER_MUX } from '../../../rigs/mux-gateway.ts'
import { opened } from '../opened.ts'
import { makeRig, type Rig, TestServer, until } from '../rig.ts'

const ORIGIN = 'http://inventory.mesh'

async function setUp(
  handler: ConstructorParameters<typeof TestServer>[0],
  options?: MeshDispatcherOptions,
): Promise<{ rig: Rig; dispatcher: Dispatcher; server: TestServer }> {
  const server = await new TestServer(handler).listen()
  opened(server)
  const rig = await makeRig([server.port])
  opened(rig)
  const dispatcher = makeDispatcher((name) => (name === 'inventory' ? rig : undefined), options)
  opened({ close: () => dispatcher.destroy() })
  return { rig, dispatcher, server }
}

const mirror: ConstructorParameters<typeof TestServer>[0] = async (req, res) => {
  let body = ''
  for await (const part of req) body += part
  res.end(JSON.stringify({ method: req.method, url: req.url, headers: req.headers, body }))
}

interface Mirrored {
  method: string
  url: string
  headers: Record<string, string>
  body: string
}

/** Records its callbacks; `on` may add to them. */
class Recorder implements Dispatcher.DispatchHandler {
  readonly seen: string[] = []
  error: Error | undefined
  controller!: Dispatcher.DispatchController
  readonly #on: Partial<Record<string, () => void>>

  constructor(on: Partial<Record<string, () => void>> = {}) {
    this.#on = on
  }

  get over(): boolean {
    return this.seen.includes('end') || this.seen.includes('error')
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.controller = controller
    this.#note('start')
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number): void {
    this.#note(`head ${status}`)
  }

  onResponseData(): void {
    if (!this.seen.includes('data')) this.#note('data')
  }

  onResponseEnd(): void {
    this.#note('end')
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.error = error
    this.#note('error')
  }

  #note(what: string): void {
    this.seen.push(what)
    this.#on[what.split(' ')[0]!]?.()
  }
}

const get = { origin: ORIGIN, path: '/', method: 'GET' } as const

describe("the mesh's dispatcher keeps undici's contract", () => {
  it('tells of start, head, data and one end', async () => {
    const { dispatcher, rig } = await setUp((_req, res) => res.end('hello'))
    const recorder = new Recorder()
    expect(dispatcher.dispatch(get, recorder)).toBe(true)
    await until(() => recorder.over)
    recorder.controller.abort(new Error('too late'))
    expect(recorder.seen).toEqual(['start', 'head 200', 'data', 'end'])
    expect(rig.attempts.outcomes.map((one) => one.verdict)).toEqual(['success'])
  })

  it.each(['start', 'head', 'data', 'end'])('ends with the error that a handler throws at its %s', async (at) => {
    const { dispatcher, rig } = await setUp((_req, res) => res.end('hello'))
    const mine = new Error('mine')
    const recorder = new Recorder({
      [at]: () => {
        throw mine
      },
    })
    dispatcher.dispatch(get, recorder)
    await until(() => recorder.over)
    await sleep(5)
    expect(recorder.error).toBe(mine)
    expect(recorder.seen.filter((one) => one === 'error')).toHaveLength(1)
    expect(rig.endpoint.pending).toBe(0)
  })

  it.each(['start', 'head', 'data'])('lets a handler abort at its %s', async (at) => {
    const { dispatcher, rig } = await setUp((_req, res) => res.end('hello'))
    const reason = new Error('enough')
    const recorder: Recorder = new Recorder({ [at]: () => recorder.controller.abort(reason) })
    dispatcher.dispatch(get, recorder)
    await until(() => recorder.over)
    await sleep(5)
    expect([recorder.error, recorder.controller.aborted, recorder.controller.reason]).toEqual([reason, true, reason])
    expect(recorder.seen.slice(recorder.seen.indexOf('error'))).toEqual(['error'])
    expect(rig.endpoint.pending).toBe(0)
  })

  it("reports what onResponseError throws, as 'error' or as a warning, and goes on", async () => {
    const { dispatcher } = await setUp((_req, res) => res.destroy())
    const failing = new Recorder({
      error: () => {
        throw new Error('of the error handler')
      },
    })
    const warned: string[] = []
    const warn = ({ message }: Error): number => warned.push(message)
    process.on('warning', warn)
    opened({ close: () => process.off('warning', warn) })
    dispatcher.dispatch({ ...get, method: 'POST' }, failing)
    await until(() => warned.some((message) => message.includes('of the error handler')))
    const emitted = new Promise<Error>((resolve) => dispatcher.once('error' as 'drain', resolve as never))
    dispatcher.dispatch({ ...get, method: 'POST' }, failing)
    expect((await emitted).message).toBe('of the error handler')
  })

  it('holds data and the end back while it is paused', async () => {
    const { dispatcher } = await setUp((_req, res) => res.end('hello'))
    const recorder: Recorder = new Recorder({
      head: () => recorder.controller.pause(),
      data: () => recorder.controller.pause(),
    })
    dispatcher.dispatch(get, recorder)
    await until(() => recorder.seen.length === 2)
    await sleep(10)
    expect([recorder.seen, recorder.controller.paused]).toEqual([['start', 'head 200'], true])
    recorder.controller.resume()
    await until(() => recorder.seen.length === 3)
    await sleep(10)
    expect(recorder.seen.at(-1)).toBe('data')
    recorder.controller.resume()
    await until(() => recorder.over)
    expect(recorder.seen.at(-1)).toBe('end')
  })

  it('passes on informational answers, trailers and the raw headers', async () => {
    const { dispatcher } = await setUp((_req, res) => {
      res.writeEarlyHints({ link: '</a>; rel=preload' })
      res.setHeader('Trailer', 'X-Sum')
      res.setHeader('X-Mine', 'a')
      res.setHeader('inmesh-secret', 'b')
      res.write('a')
      res.addTrailers({ 'X-Sum': '1' })
      res.end()
    })
    const infos: number[] = []
    const res = await request(`${ORIGIN}/`, {
      dispatcher,
      responseHeaders: 'raw',
      onInfo: ({ statusCode }) => void infos.push(statusCode),
    })
    await res.body.text()
    expect(infos).toEqual([103])
    expect(res.trailers).toEqual({ 'x-sum': '1' })
    // Names travel in lower case on inmesh/1.
    expect(res.headers).toContain(OVER_MUX ? 'x-mine' : 'X-Mine')
    expect(String(res.headers)).not.toContain('inmesh-')
  })

  it.each<[string, unknown, string | undefined]>([
    ['a flat list', ['X-A', '1', 'x-b', '2'], '1'],
    ['a flat list of bytes', [Buffer.from('x-a'), Buffer.from('1')], '1'],
    ['pairs', [['x-a', '1']], '1'],
    ['an empty list', [], undefined],
    ['an object', { 'x-a': '1', 'x-none': undefined }, '1'],
    ['an object with a list', { 'x-a': ['1', '2'] }, '1, 2'],
    ['an object with null', { 'x-a': null }, ''],
    ['a Map', new Map([['x-a', '1']]), '1'],
    ['Headers', new Headers({ 'x-a': '1' }), '1'],
    ['nothing', null, undefined],
  ])('takes headers as %s', async (_, headers, value) => {
    const { dispatcher } = await setUp(mirror)
    const { body } = await request(`${ORIGIN}/`, { dispatcher, headers: headers as never })
    expect(((await body.json()) as Mirrored).headers['x-a']).toBe(value)
  })

  it.each<[string, () => unknown, Partial<Record<string, string | undefined>>]>([
    ['text', () => 'hello', { 'content-length': '5', 'content-type': undefined }],
    ['a Buffer', () => Buffer.from('hello'), { 'content-length': '5' }],
    ['a Uint8Array', () => new Uint8Array([104, 101, 108, 108, 111]), { 'content-length': '5' }],
    ['a Readable', () => Readable.from(['hel', 'lo']), { 'transfer-encoding': 'chunked' }],
    ['a list of text', () => ['hel', 'lo'], { 'content-length': '5' }],
    ['a Blob', () => new Blob(['hello'], { type: 'text/x' }), { 'content-type': 'text/x', 'content-length': '5' }],
  ])('sends a body as %s', async (_, make, headers) => {
    const { dispatcher } = await setUp(mirror)
    const { body } = await request(`${ORIGIN}/`, { dispatcher, method: 'POST', body: make() as string })
    const seen = (await body.json()) as Mirrored
    expect(seen.body).toBe('hello')
    for (const name of Object.keys(headers)) expect(seen.headers[name]).toBe(headers[name])
  })

  it("sends undici's and the global FormData as a form", async () => {
    const { dispatcher } = await setUp(mirror)
    for (const Form of [UndiciFormData, FormData]) {
      const form = new Form()
      form.append('sku', 'a-1')
      form.append('file', new Blob(['hello'], { type: 'text/plain' }), 'h.txt')
      const { body } = await request(`${ORIGIN}/`, { dispatcher, method: 'POST', body: form as UndiciFormData })
      const seen = (await body.json()) as Mirrored
      expect(seen.headers['content-type']).toMatch(/^multipart\/form-data; boundary=/)
      expect(seen.body).toMatch(/name="sku"\r\n\r\na-1[\s\S]*filename="h.txt"[\s\S]*text\/plain\r\n\r\nhello/)
    }
  })

  it.each<[string, object, string]>([
    ['onRequestUpgrade', { upgrade: 'websocket' }, 'UND_ERR_INVALID_ARG'],
    ['upgrade', { upgrade: 'a\r\nb' }, 'UND_ERR_INVALID_ARG'],
    ['upgrade', { upgrade: 'websocket', method: 'POST', body: 'a' }, 'UND_ERR_NOT_SUPPORTED'],
    ['CONNECT', { method: 'CONNECT' }, 'UND_ERR_NOT_SUPPORTED'],
    ['expectContinue', { expectContinue: true }, 'UND_ERR_NOT_SUPPORTED'],
    ['expect header', { headers: { expect: '100-continue' } }, 'UND_ERR_NOT_SUPPORTED'],
    ['typeOfService', { typeOfService: 1 }, 'UND_ERR_NOT_SUPPORTED'],
    ['servername', { servername: 'other' }, 'UND_ERR_NOT_SUPPORTED'],
    ['throwOnError', { throwOnError: true }, 'UND_ERR_INVALID_ARG'],
    ['maxRedirections', { maxRedirections: 3 }, 'UND_ERR_INVALID_ARG'],
    ['headersTimeout', { headersTimeout: '1s' }, 'UND_ERR_INVALID_ARG'],
    ['bodyTimeout', { bodyTimeout: -1 }, 'UND_ERR_INVALID_ARG'],
    ['reset', { reset: 'yes' }, 'UND_ERR_INVALID_ARG'],
    ['idempotent', { idempotent: 'false' }, 'UND_ERR_INVALID_ARG'],
    ['blocking', { blocking: 1 }, 'UND_ERR_INVALID_ARG'],
    ['headers', { headers: ['a'] }, 'UND_ERR_INVALID_ARG'],
    ['headers', { headers: 'a: b' }, 'UND_ERR_INVALID_ARG'],
    ['x-a header', { headers: { 'x-a': {} } }, 'UND_ERR_INVALID_ARG'],
    ['transfer-encoding header', { headers: { 'transfer-encoding': 'chunked' } }, 'UND_ERR_INVALID_ARG'],
    ['dispatcher', { dispatcher: {} }, 'UND_ERR_INVALID_ARG'],
    ['origin', { origin: 'http://a:b@inventory.mesh' }, 'UND_ERR_INVALID_ARG'],
    ['path', { path: 'a b' }, 'invalid-options'],
    ['method', { method: 'A B' }, 'invalid-options'],
    ['body', { method: 'POST', body: 5 }, 'invalid-options'],
    ['query', { query: 'a=1' }, 'invalid-options'],
  ])('refuses %s in the same turn', async (name, options, code) => {
    const { dispatcher, server } = await setUp(mirror)
    const recorder = new Recorder()
    expect(dispatcher.dispatch({ ...get, ...options } as Dispatcher.DispatchOptions, recorder)).toBe(false)
    expect(recorder.seen).toEqual(['error'])
    expect(recorder.error).toMatchObject({ code, message: expect.stringContaining(name) })
    expect(server.requests).toBe(0)
  })

  it('refuses what is no handler', async () => {
    const { dispatcher } = await setUp(mirror)
    for (const handler of [undefined, null, 'a', {}, { onRequestStart() {} }, { onResponseError() {} }]) {
      expect(() => dispatcher.dispatch(get, handler as never)).toThrow(errors.InvalidArgumentError)
    }
  })

  it('keeps the bounds of a request', async () => {
    const { dispatcher, rig } = await setUp((req, res) => {
      if (req.url === '/body') res.write('a'.repeat(70_000))
    })
    await expect(request(`${ORIGIN}/`, { dispatcher, headersTimeout: 30 })).rejects.toThrow(errors.HeadersTimeoutError)
    const late = await request(`${ORIGIN}/body`, { dispatcher, bodyTimeout: 30 })
    await expect(late.body.text()).rejects.toThrow(errors.BodyTimeoutError)
    expect(rig.endpoint.pending).toBe(0)
  })

  // A connection of inmesh/1 belongs to all calls, so none can end it.
  it.skipIf(OVER_MUX)('ends the connection after the exchange if it is asked to', async () => {
    const { dispatcher, rig } = await setUp(mirror)
    const { body } = await request(`${ORIGIN}/`, { dispatcher, reset: true })
    expect(((await body.json()) as Mirrored).headers.connection).toBe('close')
    await until(() => rig.transport.connections === 0)
  })

  it("refuses a path in the origin, which undici's clients refuse as well", async () => {
    const { dispatcher, server } = await setUp(mirror)
    for (const origin of [`${ORIGIN}/base`, `${ORIGIN}/?a=1`, `${ORIGIN}/#a`]) {
      await expect(dispatcher.request({ ...get, origin })).rejects.toThrow(/origin: expected no path/)
    }
    expect(server.requests).toBe(0)
    const { body } = await dispatcher.request({ ...get, origin: `${ORIGIN}/` })
    await body.dump()
  })

  it('takes a host in any case, fully qualified, by either scheme', async () => {
    const { dispatcher, rig } = await setUp(mirror)
    for (const origin of ['http://Inventory.MESH', 'http://inventory.mesh.', 'https://inventory.mesh:8443']) {
      const { statusCode, body } = await dispatcher.request({ ...get, origin: new URL(origin) })
      await body.dump()
      expect(statusCode).toBe(200)
    }
    expect(rig.attempts.admitted).toBe(3)
  })
})

describe("undici's interceptors over the mesh's dispatcher", () => {
  const text = async (answer: Promise<Dispatcher.ResponseData>): Promise<string> => {
    const { statusCode, body } = await answer
    return `${statusCode} ${await body.text()}`
  }

  it('redirect, decompress, dump, responseError, cache and retry', async () => {
    let tries = 0
    const { dispatcher, server } = await setUp((req, res) => {
      if (req.url === '/moved') res.writeHead(302, { location: '/here' }).end()
      else if (req.url === '/zip') res.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync('zipped'))
      else if (req.url === '/404') res.writeHead(404).end()
      else if (req.url === '/cached') res.writeHead(200, { 'cache-control': 'max-age=60' }).end('kept')
      else if (req.url === '/flaky') {
        tries += 1
        res.writeHead(tries < 3 ? 500 : 200).end(`try ${tries}`)
      } else res.end(req.url)
    })
    const via = (path: string, ...used: Dispatcher.DispatcherComposeInterceptor[]): Promise<string> =>
      text(request(`${ORIGIN}${path}`, { dispatcher: dispatcher.compose(used) }))
    expect(await via('/moved', interceptors.redirect({ maxRedirections: 1 }))).toBe('200 /here')
    expect(await via('/zip', interceptors.decompress())).toBe('200 zipped')
    expect(await via('/small', interceptors.dump({ maxSize: 10 }))).toBe('200 ')
    await expect(via('/404', interceptors.responseError())).rejects.toMatchObject({ statusCode: 404 })
    expect(await via('/flaky', interceptors.retry({ minTimeout: 1 }))).toBe('200 try 3')
    const cache = interceptors.cache()
    const before = server.requests
    expect([await via('/cached', cache), await via('/cached', cache)]).toEqual(['200 kept', '200 kept'])
    expect(server.requests).toBe(before + 1)
  })

  it('fails at once with dns, which knows no services', async () => {
    const { dispatcher } = await setUp(mirror)
    const lookup = (_origin: unknown, _options: unknown, done: (error: Error) => void): void =>
      done(Object.assign(new Error('unknown host'), { code: 'ENOTFOUND' }))
    const composed = dispatcher.compose(interceptors.dns({ lookup: lookup as never }))
    await expect(request(`${ORIGIN}/`, { dispatcher: composed })).rejects.toMatchObject({ code: 'ENOTFOUND' })
  })

  it('streams into a Writable', async () => {
    const { dispatcher } = await setUp((_req, res) => res.end('hello'))
    const out = new PassThrough()
    await stream(`${ORIGIN}/`, { dispatcher, method: 'GET' }, () => out)
    expect(String(await out.setEncoding('utf8').toArray())).toBe('hello')
  })
})

describe("the mesh's dispatcher and handlers of undici 7", () => {
  it.each<[string, RequestInit, number | string]>([
    ['a GET', {}, 200],
    ['a POST', { method: 'POST', body: 'a' }, 200],
    ['a signal', { signal: AbortSignal.timeout(20) }, 'TimeoutError'],
  ])('serves the built-in fetch: %s', async (_, init, outcome) => {
    const { dispatcher } = await setUp((req, res) => {
      if (outcome === 200) mirror(req, res)
    })
    const got = await fetch(`${ORIGIN}/`, { dispatcher, ...init } as RequestInit).then(
      async (res) => (await res.json()) && res.status,
      (error) => error.name,
    )
    expect(got).toBe(outcome)
  })

  it('tells the built-in fetch of an unknown service at once', async () => {
    const { dispatcher } = await setUp(mirror)
    const error = await fetch('http://nobody.mesh/', { dispatcher } as object).catch((reason) => reason)
    expect(error.cause).toMatchObject({ code: 'not-in-mesh' })
  })

  it('serves the built-in fetch outside of the mesh', async () => {
    const { dispatcher, server } = await setUp(mirror)
    const res = await fetch(`http://127.0.0.1:${server.port}/a`, { dispatcher } as object)
    expect(((await res.json()) as Mirrored).url).toBe('/a')
  })

  it('answers the old callbacks: raw headers, pause by false, resume, completion', async () => {
    const { dispatcher } = await setUp((_req, res) => {
      res.setHeader('x-a', '1')
      res.end('hello')
    })
    const seen: string[] = []
    let resume!: () => void
    const handler: LegacyHandler = {
      onConnect: () => void seen.push('connect'),
      onHeaders(status, raw, goOn) {
        resume = goOn
        seen.push(`${status} ${raw.map(String).includes('1') && raw.every((part) => Buffer.isBuffer(part))}`)
        return false
      },
      onData: (chunk) => void seen.push(String(chunk)),
      onComplete: (trailers) => void seen.push(`complete ${trailers.length}`),
      onError: (error) => void seen.push(String(error)),
    }
    dispatcher.dispatch(get, handler as never)
    await until(() => seen.length === 2)
    await sleep(10)
    expect(seen).toEqual(['connect', '200 true'])
    resume()
    await until(() => seen.length === 4)
    expect(seen.slice(2)).toEqual(['hello', 'complete 0'])
  })

  it('lets an old handler abort', async () => {
    const { dispatcher, rig } = await setUp(() => {})
    let abort!: (reason: Error) => void
    const failed = new Promise<Error>((resolve) => {
      const handler: LegacyHandler = {
        onConnect(given) {
          abort = given
        },
        onError: resolve,
      }
      dispatcher.dispatch(get, handler as never)
    })
    await until(() => rig.endpoint.pending === 1)
    abort(new Error('enough'))
    expect((await failed).message).toBe('enough')
    expect(rig.endpoint.pending).toBe(0)
  })
})

describe('the end of a dispatcher', () => {
  it('waits for what runs, and takes no more', async () => {
    let answer!: () => void
    const { dispatcher } = await setUp((_req, res) => {
      answer = () => res.end('late')
    })
    const recorder = new Recorder()
    dispatcher.dispatch(get, recorder)
    await until(() => answer !== undefined)
    const order: string[] = []
    const told = new Promise((resolve) => dispatcher.close(resolve as never))
    const closed = dispatcher.close().then(() => order.push('closed', ...recorder.seen.slice(-1)))
    const refused = new Recorder()
    expect(dispatcher.dispatch(get, refused)).toBe(false)
    expect(refused.error).toBeInstanceOf(errors.ClientClosedError)
    answer()
    await closed
    expect(order).toEqual(['closed', 'end'])
    expect(await told).toBeNull()
  })

  it('fails what runs when it is destroyed, with the error given', async () => {
    const { dispatcher, rig } = await setUp(() => {})
    const recorder = new Recorder()
    dispatcher.dispatch(get, recorder)
    await until(() => rig.endpoint.pending === 1)
    const reason = new Error('over')
    await dispatcher.compose(interceptors.dump()).destroy(reason)
    expect(recorder.error).toBe(reason)
    const refused = new Recorder()
    dispatcher.dispatch(get, refused)
    expect(refused.error).toBeInstanceOf(errors.ClientDestroyedError)
    await expect(dispatcher.close()).rejects.toThrow(errors.ClientDestroyedError)
    expect(() => dispatcher.close(5 as never)).toThrow(errors.InvalidArgumentError)
  })

  it("passes the fallback's answer and its drain on", async () => {
    const server = createServer((_req, res) => res.end('outside'))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const address = server.address() as { port: number }
    opened({ close: () => new Promise<void>((resolve) => void server.close(() => resolve())) })
    const agent = new Agent({ connections: 1, pipelining: 1 })
    opened({ close: () => agent.destroy() })
    const { dispatcher } = await setUp(mirror, { fallback: agent })
    const drained = new Promise<void>((resolve) => dispatcher.once('drain', () => resolve()))
    const recorders = [new Recorder(), new Recorder(), new Recorder()]
    const outside = { ...get, origin: `http://127.0.0.1:${address.port}` }
    expect(recorders.map((recorder) => dispatcher.dispatch(outside, recorder)).at(-1)).toBe(false)
    await drained
    await until(() => recorders.every((recorder) => recorder.seen.at(-1) === 'end'))
    await dispatcher.close()
    expect(agent.listenerCount('drain')).toBe(0)
    expect(agent.closed).toBe(false)
  })
})
