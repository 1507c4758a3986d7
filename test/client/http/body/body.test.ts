import { AsyncLocalStorage } from 'node:async_hooks'
import { Readable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { deadPort } from '../../../rigs/dead-port.ts'
import { always } from '../../../rigs/scripted-server.ts'
import { opened, rigOver, serve } from '../opened.ts'
import { TestServer, until } from '../rig.ts'

async function echo(): Promise<TestServer> {
  const server = await new TestServer((req, res) => {
    const parts: Buffer[] = []
    req.on('data', (part) => parts.push(part))
    req.on('end', () => {
      res.setHeader('x-type', req.headers['content-type'] ?? 'none')
      res.setHeader('x-length', req.headers['content-length'] ?? req.headers['transfer-encoding'] ?? 'none')
      res.end(Buffer.concat(parts))
    })
  }).listen()
  opened(server)
  return server
}

async function* slowly(...parts: string[]): AsyncGenerator<string> {
  for (const part of parts) {
    await new Promise((resolve) => setTimeout(resolve, 5))
    yield part
  }
}

describe('a request body', () => {
  const bytes = new TextEncoder().encode('hello')
  it.each<[string, () => unknown, string, string]>([
    ['text', () => 'hello', 'text/plain;charset=UTF-8', '5'],
    ['a Uint8Array', () => bytes, 'none', '5'],
    ['an ArrayBuffer', () => bytes.buffer, 'none', '5'],
    ['a Node stream', () => Readable.from(['hel', 'lo']), 'none', 'chunked'],
    ['a web stream', () => new Blob(['hello']).stream(), 'none', 'chunked'],
    ['a generator', () => slowly('hel', 'lo'), 'none', 'chunked'],
    ['a Blob', () => new Blob(['hello'], { type: 'text/x' }), 'text/x', '5'],
  ])('of %s arrives', async (_, make, type, length) => {
    const rig = await rigOver([(await echo()).port])
    const res = await rig.http.request('POST', '/', { body: make() as string })
    expect([await res.text(), res.headers.get('x-type'), res.headers.get('x-length')]).toEqual(['hello', type, length])
  })

  it('of a form and of URL parameters arrives encoded', async () => {
    const rig = await rigOver([(await echo()).port])
    const params = await rig.http.post('/', new URLSearchParams({ a: '1 2' }))
    expect([await params.text(), params.headers.get('x-type')]).toEqual([
      'a=1+2',
      'application/x-www-form-urlencoded;charset=UTF-8',
    ])
    const form = new FormData()
    form.set('sku', 'a')
    const res = await rig.http.post('/', form)
    expect(res.headers.get('x-type')).toMatch(/^multipart\/form-data; boundary=/)
    expect(await res.text()).toContain('name="sku"')
  })

  it('of a plain object or list is sent as JSON', async () => {
    const rig = await rigOver([(await echo()).port])
    const res = await rig.http.post('/', { sku: 'a' })
    expect([await res.json(), res.headers.get('x-type')]).toEqual([{ sku: 'a' }, 'application/json'])
    expect(await (await rig.http.put('/', [1, 2])).json()).toEqual([1, 2])
  })

  it.each<[string, object]>([
    ['JSON and a timeout', { json: { a: 1 }, timeout: '1s' }],
    ['JSON alone', { json: { a: 1 } }],
    ['a body and headers', { body: 'a', headers: { 'x-a': '1' } }],
    ['a timeout', { timeout: 500 }],
    ['a signal', { signal: new AbortController().signal }],
    ['an option and a mistyped one', { timeuot: '1s', json: { a: 1 } }],
  ])('is not taken from what looks like options: %s', async (_, options) => {
    const rig = await rigOver([(await echo()).port])
    for (const method of ['post', 'put', 'patch'] as const) {
      await expect(rig.http[method]('/', options as never)).rejects.toThrow(/what looks like options.*pass undefined/)
      expect(await (await rig.http[method]('/', options as never, {})).json()).toEqual(
        JSON.parse(JSON.stringify(options)),
      )
    }
    expect(rig.attempts.admitted).toBe(3)
  })

  it.each<[string, object]>([
    ['a query', { query: { match: 'a' } }],
    ['a query as text', { query: '{ me }', variables: {} }],
    ['a comment', { body: 'well done' }],
    ['a key', { key: 'a' }],
    ['nothing', {}],
    ['a job', { timeout: 5, name: 'a' }],
  ])('may have fields that are named like options: %s', async (_, body) => {
    const rig = await rigOver([(await echo()).port])
    expect(await (await rig.http.post('/', body as never)).json()).toEqual(body)
  })

  it('is given once', async () => {
    const rig = await rigOver([(await echo()).port])
    await expect(rig.http.request('POST', '/', { body: 'a', json: 1 })).rejects.toThrow('json')
    await expect(rig.http.post('/', 'a', { body: 'b' })).rejects.toThrow('given already')
    await expect(rig.http.post('/', { a: 1 }, { json: 2 })).rejects.toThrow('given already')
    expect(await (await rig.http.post('/', undefined, { json: { a: 1 } })).json()).toEqual({ a: 1 })
    expect(rig.attempts.admitted).toBe(1)
  })

  it('that was begun to be read is never sent again, whatever the verdict', async () => {
    const busy = await serve(async (c) => {
      await c.request()
      await until(() => c.received.includes('0\r\n\r\n'))
      c.answer(503, 'busy', { 'inmesh-not-executed': 'overloaded' })
    })
    const good = await serve(always(200, 'ok'))
    const rig = await rigOver([busy.port, good.port])
    const res = await rig.http.put('/', slowly('a', 'b'))
    expect(res.status).toBe(503)
    expect(rig.attempts.admitted).toBe(1)
  })

  it('that nobody has read yet goes to the next endpoint after a refused connection', async () => {
    const rig = await rigOver([await deadPort(), (await echo()).port])
    const res = await rig.http.post('/', slowly('a', 'b'))
    expect(await res.text()).toBe('ab')
    expect(rig.attempts.admitted).toBe(2)
  })

  it('that fails ends the call, and a source that never ends is told to stop', async () => {
    const server = await echo()
    const rig = await rigOver([server.port])
    const broken = (async function* () {
      yield 'a'
      throw new Error('the file is gone')
    })()
    await expect(rig.http.post('/', broken)).rejects.toMatchObject({
      sent: true,
      cause: { message: 'the file is gone' },
    })
    let stopped = false
    const endless = new ReadableStream({
      pull: () => new Promise(() => {}),
      cancel: () => {
        stopped = true
      },
    })
    await expect(rig.http.post('/', endless, { timeout: 60 })).rejects.toMatchObject({ code: 'deadline-exceeded' })
    await until(() => stopped)
  })

  it('is read in the async context of its caller', async () => {
    const rig = await rigOver([(await echo()).port], { connections: { maxConnections: 1 } })
    const storage = new AsyncLocalStorage<string>()
    const texts = await Promise.all(
      ['a', 'b', 'c'].map((name) =>
        storage.run(name, async () => {
          const body = (async function* () {
            yield storage.getStore() ?? 'nobody'
            await new Promise((resolve) => setTimeout(resolve, 2))
            yield storage.getStore() ?? 'nobody'
          })()
          const res = await rig.http.post('/', body)
          return `${await res.text()} ${storage.getStore()}`
        }),
      ),
    )
    expect(texts).toEqual(['aa a', 'bb b', 'cc c'])
  })
})

describe('a response body', () => {
  it('of any size and framing arrives whole', async () => {
    const server = await new TestServer((req, res) => {
      const [, size, framing] = req.url!.split('/')
      const body = Buffer.alloc(Number(size), 'x')
      if (framing === 'length') res.setHeader('content-length', body.length)
      res.write(body.subarray(0, body.length >> 1))
      setImmediate(() => res.end(body.subarray(body.length >> 1)))
    }).listen()
    opened(server)
    const rig = await rigOver([server.port])
    for (const size of [0, 1, 1_000, 65_536, 65_537, 3_000_000]) {
      for (const framing of ['length', 'chunked']) {
        const res = await rig.http.get(`/${size}/${framing}`)
        expect((await res.bytes()).length).toBe(size)
      }
    }
    expect(rig.attempts.outcomes.every((o) => o.verdict === 'success')).toBe(true)
    expect(rig.transport.connections).toBe(1)
  })

  it('is read no faster than its reader reads', async () => {
    let written = 0
    const server = await new TestServer((_req, res) => {
      const part = Buffer.alloc(65_536, 'x')
      const write = (): void => {
        while (written < 50_000_000) {
          written += part.length
          if (!res.write(part)) {
            res.once('drain', write)
            return
          }
        }
        res.end()
      }
      write()
    }).listen()
    opened(server)
    const rig = await rigOver([server.port], { timeoutMs: 60_000 })
    const res = await rig.http.get('/')
    const reader = res.body.getReader()
    await reader.read()
    await new Promise((resolve) => setTimeout(resolve, 200))
    // Buffers of both kernels and both processes; far from all of it.
    expect(written).toBeLessThan(30_000_000)
    let read = 0
    for (;;) {
      const { done, value } = await reader.read()
      if (done) break
      read += value.length
    }
    expect(read).toBeGreaterThan(49_000_000)
    expect(rig.attempts.outcomes.map((o) => o.verdict)).toEqual(['success'])
  })

  it('that ends with a broken connection is an error, also without a length', async () => {
    const server = await serve(async (c, number) => {
      await c.request()
      c.write(`HTTP/1.1 200 OK\r\n${number === 0 ? 'connection: close' : 'transfer-encoding: chunked'}\r\n\r\n`)
      c.write(number === 0 ? 'half' : '4\r\nhalf\r\n')
      setTimeout(() => c.reset(), 20)
    })
    const rig = await rigOver([server.port])
    for (let i = 0; i < 2; i++) {
      const res = await rig.http.get('/')
      await expect(res.text()).rejects.toMatchObject({ code: 'connection-lost', sent: true })
    }
    expect(rig.calls.outcomes.map((o) => o.code)).toEqual(['connection-lost', 'connection-lost'])
  })

  it('that ends with the connection, in order, is whole', async () => {
    const server = await serve(async (c) => {
      await c.request()
      c.write('HTTP/1.1 200 OK\r\n\r\n')
      setTimeout(() => c.socket.end('whole'), 10)
    })
    const rig = await rigOver([server.port])
    expect(await (await rig.http.get('/')).text()).toBe('whole')
  })

  it('can be read once', async () => {
    const rig = await rigOver([(await serve(always(200, '{"a":1}'))).port])
    const res = await rig.http.get('/')
    expect(res.bodyUsed).toBe(false)
    expect(await res.json()).toEqual({ a: 1 })
    expect(res.bodyUsed).toBe(true)
    await expect(res.text()).rejects.toThrow('already been read')
  })

  it('of HEAD, 204 and 304 is empty', async () => {
    const server = await new TestServer((req, res) => {
      res.statusCode = Number(req.url!.slice(1))
      if (req.method === 'HEAD') res.setHeader('content-length', 99_999)
      res.end()
    }).listen()
    opened(server)
    const rig = await rigOver([server.port])
    expect(await (await rig.http.head('/200')).text()).toBe('')
    expect(await (await rig.http.get('/204')).text()).toBe('')
    expect(await (await rig.http.get('/304')).text()).toBe('')
  })

  it('resolves in the async context of its caller on a shared connection', async () => {
    const server = await new TestServer((req, res) => void setTimeout(() => res.end(req.url), 2)).listen()
    opened(server)
    const rig = await rigOver([server.port], { connections: { maxConnections: 2 } })
    const storage = new AsyncLocalStorage<number>()
    await Promise.all(
      Array.from({ length: 40 }, (_, i) =>
        storage.run(i, async () => {
          const res = await rig.http.get(`/${i}`)
          expect(storage.getStore()).toBe(i)
          expect(await res.text()).toBe(`/${i}`)
          expect(storage.getStore()).toBe(i)
        }),
      ),
    )
  })
})
