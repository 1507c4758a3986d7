/** Mirrors over HTTP: what is copied, and that nothing that a copy meets harms its call. */
import type { IncomingMessage } from 'node:http'
import { expect, it } from 'vitest'
import { MOST_IN_FLIGHT } from '../../../src/client/mirror/in-flight.ts'
import { deadPort } from '../../rigs/dead-port.ts'
import { opened, serve } from '../http/opened.ts'
import { TestServer, until } from '../http/rig.ts'
import { mirroredRig } from './rig.ts'

interface Received {
  readonly method: string | undefined
  readonly url: string | undefined
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString()
}

/** A server that keeps what it received. */
async function recorder(): Promise<{ readonly port: number; readonly received: Received[] }> {
  const received: Received[] = []
  const server = opened(
    await new TestServer(async (request, response) => {
      const { method, url, headers } = request
      received.push({ method, url, headers, body: await bodyOf(request) })
      response.end('copied')
    }).listen(),
  )
  return { port: server.port, received }
}

async function liveServer(): Promise<number> {
  const server = opened(
    await new TestServer((request, response) => {
      request.resume()
      request.once('end', () => response.end('live'))
    }).listen(),
  )
  return server.port
}

it('sends what the attempt sent, marked, with the deadline of the route', async () => {
  const { port, received } = await recorder()
  const { http, seen } = await mirroredRig([await liveServer()], [port], { timeoutMs: 60_000 })
  const headers = { 'x-user': '7', 'content-type': 'application/json', baggage: 'a=b' }
  const answer = await http.put('/items/1?x=2', { n: 1 }, { headers, timeout: '20s' })
  expect(await answer.text()).toBe('live')
  await until(() => seen.ended.length === 1)
  expect(received).toMatchObject([
    {
      method: 'PUT',
      url: '/items/1?x=2',
      body: '{"n":1}',
      headers: {
        host: 'inventory',
        'x-user': '7',
        'content-type': 'application/json',
        'content-length': '7',
        baggage: 'a=b',
        'x-inmesh-mirror': '1',
      },
    },
  ])
  const left = Number(received[0]!.headers['inmesh-timeout-ms'])
  expect(left).toBeGreaterThan(20_000)
  expect(left).toBeLessThanOrEqual(60_000)
  expect(seen).toMatchObject({ started: 1, ended: ['success'], dropped: [] })
})

it('copies bodies of every kind that is kept for retries, without asking their source twice', async () => {
  const { port, received } = await recorder()
  const { http, fetch, seen } = await mirroredRig([await liveServer()], [port])
  let opens = 0
  class Watched extends Blob {
    override stream(): ReturnType<Blob['stream']> {
      opens += 1
      return super.stream()
    }
  }
  const bodies = [
    'text',
    Buffer.from('bytes'),
    new URLSearchParams({ a: '1' }),
    new Watched(['a', 'blob']),
    ['a', 'list'],
  ]
  for (const body of bodies) await (await http.post('/', body)).text()
  const late = new ReadableStream({
    async pull(controller) {
      await new Promise((resolve) => setTimeout(resolve, 20))
      controller.enqueue(Buffer.from('request'))
      controller.close()
    },
  })
  await (await fetch(new Request('http://inventory/', { method: 'POST', body: late, duplex: 'half' }))).text()
  await until(() => seen.ended.length === 6)
  const expected = ['text', 'bytes', 'a=1', 'ablob', '["a","list"]', 'request']
  expect(received.map(({ body }) => body).sort()).toEqual(expected.sort())
  expect(opens).toBe(1)
  expect(seen.dropped).toEqual([])
})

it('does not copy bodies that are too large or cannot be repeated, and counts them', async () => {
  const { port, received } = await recorder()
  const { http, fetch, seen } = await mirroredRig([await liveServer()], [port])
  const large = Buffer.alloc(262_145)
  await (await http.post('/', large)).text()
  await (await http.post('/', new Blob([large]))).text()
  // Its length is not known beforehand.
  const chunks = new ReadableStream({
    async pull(controller) {
      await new Promise((resolve) => setTimeout(resolve, 20))
      controller.enqueue(large)
      controller.close()
    },
  })
  await (await fetch(new Request('http://inventory/', { method: 'POST', body: chunks, duplex: 'half' }))).text()
  async function* parts() {
    yield 'once'
  }
  await (await http.post('/', parts())).text()
  await (await http.post('/', Buffer.alloc(262_144))).text()
  await until(() => seen.ended.length === 1)
  expect(received.map(({ body }) => body.length)).toEqual([262_144])
  expect(seen.dropped).toEqual(['body-too-large', 'body-too-large', 'body-too-large', 'body-not-kept'])
})

it('draws its share by the random numbers of the clock', async () => {
  const { port, received } = await recorder()
  const drawn = [0.1, 0.3, 0.24, 0.25, 0.9]
  const { http, seen } = await mirroredRig([await liveServer()], [port], {
    share: 0.25,
    random: () => drawn.shift() ?? 0.99,
  })
  for (let i = 0; i < 5; i++) await (await http.get(`/${i}`)).text()
  await until(() => seen.ended.length === 2)
  expect(received.map(({ url }) => url)).toEqual(['/0', '/2'])
})

it('copies a call once, although it is tried again', async () => {
  const { port, received } = await recorder()
  let tries = 0
  const live = opened(
    await new TestServer((_request, response) => {
      tries += 1
      response.statusCode = tries < 3 ? 503 : 200
      response.end()
    }).listen(),
  )
  const { http, seen } = await mirroredRig([live.port], [port], { retry: { attempts: 3 } })
  expect((await http.get('/')).status).toBe(200)
  await until(() => seen.ended.length === 1)
  expect(tries).toBe(3)
  expect(received).toHaveLength(1)
  expect(received[0]!.headers['inmesh-previous-attempts']).toBeUndefined()
})

it('never copies a call that is marked already', async () => {
  const { port, received } = await recorder()
  const { http, seen } = await mirroredRig([await liveServer()], [port])
  await (await http.get('/marked', { headers: { 'x-inmesh-mirror': '1' } })).text()
  await (await http.get('/plain')).text()
  await until(() => seen.ended.length === 1)
  expect(received.map(({ url }) => url)).toEqual(['/plain'])
})

it('does not count with the call: policies see one attempt, the endpoint one request', async () => {
  const { port } = await recorder()
  const live = await liveServer()
  const { rig, http, seen, endpoints } = await mirroredRig([live], [port])
  await (await http.get('/')).text()
  await until(() => seen.ended.length === 1)
  expect(rig.attempts.admitted).toBe(1)
  expect(rig.calls.admitted).toBe(1)
  expect(rig.endedCalls).toHaveLength(1)
  expect(endpoints[0]).toMatchObject({ pending: 0, transport: undefined, state: 'healthy', estimateMs: 0 })
})

it('a call is answered while its mirror hangs, and the mirror ends at the timeout of the route', async () => {
  const target = await serve(async (connection) => {
    await connection.request()
  })
  const { http, seen } = await mirroredRig([await liveServer()], [target.port], { timeoutMs: 1_000 })
  expect(await (await http.get('/')).text()).toBe('live')
  expect(seen.ended).toEqual([])
  await until(() => seen.ended.length === 1)
  expect(seen.ended).toEqual(['deadline-exceeded'])
})

it('more than 64 in flight are dropped and counted, and no call waits', async () => {
  const target = await serve(async (connection) => {
    await connection.request()
  })
  const { http, seen, inFlight } = await mirroredRig([await liveServer()], [target.port], { timeoutMs: 60_000 })
  for (let i = 0; i < MOST_IN_FLIGHT + 10; i++) expect(await (await http.get('/')).text()).toBe('live')
  await until(() => seen.started === MOST_IN_FLIGHT)
  expect(inFlight.size).toBe(MOST_IN_FLIGHT)
  expect(seen.dropped).toEqual(Array.from({ length: 10 }, () => 'in-flight'))
  // A process that closes does not wait for them.
  inFlight.close()
  expect(seen.ended).toEqual(Array.from({ length: MOST_IN_FLIGHT }, () => 'closed'))
  expect(inFlight.size).toBe(0)
  expect(await (await http.get('/')).text()).toBe('live')
  expect(seen.dropped.at(-1)).toBe('closed')
})

it('mirrors to the endpoint of the calls take none of their connections', async () => {
  let hanging = 0
  const both = opened(
    await new TestServer((request, response) => {
      if (request.headers['x-inmesh-mirror'] === undefined) response.end('live')
      else hanging += 1
    }).listen(),
  )
  const options = { connections: { maxConnections: 2, maxWaiting: 0 }, timeoutMs: 30_000 }
  const { http, seen } = await mirroredRig([both.port], [both.port], options)
  for (let i = 0; i < 20; i++) expect(await (await http.get('/')).text()).toBe('live')
  await until(() => hanging === 2)
  expect(seen.ended.every((code) => code === 'queue-full')).toBe(true)
})

it.each([
  ['refuses', async () => await deadPort(), 'connect-failed'],
  [
    'resets',
    async () =>
      (
        await serve(async (connection) => {
          await connection.request()
          connection.reset()
        })
      ).port,
    'connection-lost',
  ],
  [
    'is no HTTP server',
    async () =>
      (
        await serve(async (connection) => {
          await connection.request()
          connection.write('ba\x00d\r\n\r\n')
        })
      ).port,
    'protocol-error',
  ],
  [
    'fails',
    async () =>
      (
        await serve(async (connection) => {
          for (;;) {
            await connection.request()
            connection.answer(500, 'no')
          }
        })
      ).port,
    'server-error',
  ],
] as const)('a mirror target that %s harms no call', async (_what, open, code) => {
  const port = await open()
  const { http, rig, seen, endpoints } = await mirroredRig([await liveServer()], [port])
  for (let i = 0; i < 5; i++) expect(await (await http.get('/')).text()).toBe('live')
  await until(() => seen.ended.length === 5)
  expect(seen.ended).toEqual([code, code, code, code, code])
  expect(rig.attempts.outcomes.map(({ verdict }) => verdict)).toEqual(Array(5).fill('success'))
  expect(endpoints[0]).toMatchObject({ state: 'healthy', unreachable: false, pending: 0 })
})

it('an answer that does not end is read up to a bound, then its connection is closed', async () => {
  let written = 0
  let closed = false
  const chunk = Buffer.alloc(65_536)
  const target = opened(
    await new TestServer((_request, response) => {
      response.once('close', () => {
        closed = true
      })
      const pump = (): void => {
        while (!closed) {
          written += chunk.length
          if (!response.write(chunk)) {
            response.once('drain', pump)
            return
          }
        }
      }
      pump()
    }).listen(),
  )
  const { http, seen } = await mirroredRig([await liveServer()], [target.port], { timeoutMs: 60_000 })
  expect(await (await http.get('/')).text()).toBe('live')
  await until(() => closed)
  expect(seen.ended).toEqual(['success'])
  // Beside the bound, what the kernel had taken.
  expect(written).toBeLessThan(64 * 1_048_576)
})

it('a target without endpoints is counted, and one that comes back is used', async () => {
  const { port, received } = await recorder()
  const made = await mirroredRig([await liveServer()], [])
  const { http, seen } = made
  await (await http.get('/1')).text()
  await until(() => seen.dropped.length === 1)
  expect(seen.dropped).toEqual(['no-endpoints'])
  made.endpoints = (await mirroredRig([], [port])).endpoints
  await (await http.get('/2')).text()
  await until(() => seen.ended.length === 1)
  expect(received.map(({ url }) => url)).toEqual(['/2'])
})

it('an endpoint that calls have ejected gets no mirrors while there is another', async () => {
  const [out, well] = [await recorder(), await recorder()]
  const { http, seen, endpoints } = await mirroredRig([await liveServer()], [out.port, well.port])
  endpoints[0]!.state = 'ejected'
  for (let i = 0; i < 6; i++) await (await http.get('/')).text()
  await until(() => seen.ended.length === 6)
  expect([out.received.length, well.received.length]).toEqual([0, 6])
})

it('a filter of the caller runs once, and what it changed is copied', async () => {
  const { port, received } = await recorder()
  let filtered = 0
  const { http, seen } = await mirroredRig([await liveServer()], [port], {
    filters: [
      (request, call, next) => {
        filtered += 1
        return next({ ...request, headers: { 'x-token': 'secret' } }, call)
      },
    ],
  })
  await (await http.get('/')).text()
  await until(() => seen.ended.length === 1)
  expect(filtered).toBe(1)
  expect(received[0]!.headers['x-token']).toBe('secret')
})

it('a call that fails before an attempt is not copied', async () => {
  const { port, received } = await recorder()
  const { rig, http, seen } = await mirroredRig([await liveServer()], [port])
  rig.calls.refuseWith = 'concurrency-limited'
  await expect(http.get('/')).rejects.toThrow()
  rig.calls.refuseWith = undefined
  await (await http.get('/after')).text()
  await until(() => seen.ended.length === 1)
  expect(received.map(({ url }) => url)).toEqual(['/after'])
  expect(seen.dropped).toEqual([])
})
