/** What servers report of their load, to whom, and in which form. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import * as grpc from '@grpc/grpc-js'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { LoadReport } from '../../src/core/load-report.ts'
import { MUX_DEFAULTS } from '../../src/mux/settings.ts'
import type { HttpServerOptions } from '../../src/server/http/options.ts'
import type { HttpServerDependencies } from '../../src/server/http/server.ts'
import { MuxClient } from '../rigs/mux-client.ts'
import { http2ShopClient, serveShop } from './grpc/rig.ts'
import { ask as askHttp2, open as openHttp2 } from './http/http2-rig.ts'
import { type Answer, ask, clientOf, serve, TRUSTING } from './rig.ts'

const US = clientOf('checkout')
const REPORT = /^\d{1,5};\d{1,10};\d{1,10}$/
const takesLoad = { ...MUX_DEFAULTS, maxStreams: 0, takesLoad: true }

type Handler = (request: IncomingMessage, response: ServerResponse) => unknown
interface Reported {
  readonly load: LoadReport | undefined
  readonly headers: Record<string, unknown>
  readonly status: number | undefined
}

interface Client {
  get(path?: string): Promise<Reported>
}

function parsed(text: unknown): LoadReport | undefined {
  if (text === undefined) return undefined
  expect(text).toMatch(REPORT)
  const [inFlight, latency, served] = (text as string).split(';').map(Number) as [number, number, number]
  return { inFlight, latencyMs: latency / 1_000, servedMs: served / 1_000 }
}

function without({ 'inmesh-load': load, ...headers }: Record<string, unknown>, status: number | undefined): Reported {
  return { load: parsed(load), headers, status }
}

/** The three doors of HTTP, as their clients see them. */
const DOORS: Readonly<Record<string, (port: number, as?: typeof US) => Promise<Client>>> = {
  'HTTP/1.1': async (port, as) => ({
    async get(path = '/') {
      const { headers, status }: Answer = await ask(port, { path, ...(as !== undefined && { as }) })
      return without(headers, status)
    },
  }),
  'HTTP/2': async (port, as) => {
    const session = openHttp2(port, as)
    return {
      async get(path = '/') {
        const { headers, status } = await askHttp2(session, { headers: { ':path': path } })
        return without(headers, status)
      },
    }
  },
  'inmesh/1': async (port, as) => {
    const client = await MuxClient.open(port, as && { ...as, ...TRUSTING }, takesLoad)
    onTestFinished(() => client.close())
    return {
      async get(path = '/') {
        const { stream, headers, status } = await client.ask({ path }).done
        return { load: stream.load, headers, status }
      },
    }
  },
}

async function served(
  handler: Handler,
  options: HttpServerOptions = {},
  dependencies: Partial<HttpServerDependencies> = {},
): Promise<number> {
  const { server } = await serve(
    handler,
    { mode: 'strict', ...options },
    { transport: 'auto', loopWaitMs: () => 0, ...dependencies },
  )
  return server.port
}

/** Requests to `/hold` wait, until all are released. */
function holding() {
  const waiting: (() => void)[] = []
  const handler: Handler = (request, response) => {
    if (request.url === '/hold') waiting.push(() => response.end('held'))
    else response.end('ok')
  }
  const release = (): void => {
    for (const one of waiting.splice(0)) one()
  }
  return { handler, waiting, release }
}

describe.each(Object.entries(DOORS))('a server of HTTP, over %s', (name, connect) => {
  it('reports its load to peers of the mesh, once it knows a latency', async () => {
    const port = await served((_request, response) => setTimeout(() => response.end('ok'), 20))
    const client = await connect(port, US)
    const first = await client.get()
    expect(first.load).toBeUndefined()
    await expect.poll(async () => (await client.get()).load).toBeDefined()
    await expect.poll(async () => (await client.get()).load?.inFlight).toBe(0)
    const { load } = await client.get()
    expect(load!.latencyMs).toBeGreaterThanOrEqual(15)
    expect(load!.servedMs).toBeGreaterThanOrEqual(15)
  })

  it('counts the requests of all callers in flight, without the one that it answers', async () => {
    const { handler, waiting, release } = holding()
    const port = await served(handler)
    const others = await connect(port, clientOf('orders'))
    const client = await connect(port, US)
    await client.get()
    const held = [others.get('/hold'), others.get('/hold'), others.get('/hold')]
    await expect.poll(() => waiting.length).toBe(3)
    await expect.poll(async () => (await client.get()).load?.inFlight).toBe(3)
    release()
    await Promise.all(held)
    await expect.poll(async () => (await client.get()).load?.inFlight).toBe(0)
  })

  it.runIf(name !== 'inmesh/1')('reports nothing to strangers', async () => {
    for (const mode of ['plaintext', 'permissive'] as const) {
      const port = await served((_request, response) => response.end('ok'), { mode })
      const client = await connect(port)
      for (let i = 0; i < 3; i++) expect((await client.get()).load).toBeUndefined()
    }
  })

  it('lets no application set or see the report', async () => {
    const seen: unknown[] = []
    const port = await served((request, response) => {
      response.setHeader('Inmesh-Load', '0;1;1')
      if (request.url === '/object') response.writeHead(200, { 'inmesh-load': '0;1;1', 'x-own': '1' })
      else if (request.url === '/list') response.writeHead(200, ['INMESH-LOAD', '0;1;1', 'x-own', '1'])
      else response.setHeader('x-own', '1')
      response.end('ok')
      seen.push(response.getHeader('inmesh-load'))
    })
    const client = await connect(port, US)
    await client.get()
    for (const path of ['/', '/object', '/list']) {
      await expect.poll(async () => (await client.get(path)).load?.latencyMs).toBeGreaterThan(0.001)
      const { load, headers } = await client.get(path)
      expect(load!.latencyMs).not.toBe(0.001)
      expect([headers['x-own'], headers['inmesh-load']]).toEqual(['1', undefined])
    }
    expect(seen.every((value) => value === undefined)).toBe(true)
  })

  it('takes no failure for a fast answer', async () => {
    const port = await served((request, response) => {
      response.statusCode = request.url === '/ok' ? 200 : Number(request.url!.slice(1))
      response.end()
    })
    const client = await connect(port, US)
    for (const path of ['/500', '/503', '/500']) expect((await client.get(path)).load).toBeUndefined()
    await client.get('/ok')
    await expect.poll(async () => (await client.get('/500')).load).toBeDefined()
  })

  it('adds how long requests wait for the event loop', async () => {
    const port = await served((_request, response) => response.end('ok'), {}, { loopWaitMs: () => 4_000 })
    const client = await connect(port, US)
    await client.get()
    await expect.poll(async () => (await client.get()).load?.latencyMs).toBeGreaterThanOrEqual(4_000)
    expect((await client.get()).load!.servedMs).toBeGreaterThanOrEqual(4_000)
  })
})

describe('a server of inmesh/1', () => {
  const reports = async (mode: 'strict' | 'permissive' | 'plaintext', announces: boolean, as?: typeof US) => {
    const port = await served((_request, response) => response.end('ok'), { mode })
    const settings = { ...takesLoad, takesLoad: announces }
    const client = await MuxClient.open(port, as && { ...as, ...TRUSTING }, settings)
    onTestFinished(() => client.close())
    for (let i = 0; i < 5; i++) {
      const { stream } = await client.ask().done
      if (stream.load !== undefined) return true
    }
    return false
  }

  it('reports to a client that takes reports, and leaves them out for others', async () => {
    expect(await reports('strict', true, US)).toBe(true)
    expect(await reports('strict', false, US)).toBe(false)
  })

  it('reports in plaintext where nobody has an identity, and not where strangers may call', async () => {
    expect(await reports('plaintext', true)).toBe(true)
    expect(await reports('permissive', true)).toBe(false)
  })
})

/** Cancels a request to `/long` whose handler runs, and `left` counts it. It stays in flight. */
async function cancelledLong(port: number, left: () => number): Promise<Client> {
  const client = await DOORS['HTTP/1.1']!(port, US)
  await client.get()
  const controller = new AbortController()
  const long = ask(port, { path: '/long', as: US, signal: controller.signal }).catch(() => undefined)
  await expect.poll(async () => (await client.get()).load?.inFlight).toBe(1)
  controller.abort()
  await long
  await expect.poll(left).toBe(1)
  expect((await client.get()).load!.inFlight).toBe(1)
  return client
}

describe('a cancelled request', () => {
  it('is in flight until its handler is done', async () => {
    const { promise, resolve } = Promise.withResolvers<void>()
    let left = 0
    const port = await served(async (request, response) => {
      if (request.url !== '/long') return response.end('ok')
      response.on('close', () => (left += 1))
      await promise
    })
    const client = await cancelledLong(port, () => left)
    resolve()
    await expect.poll(async () => (await client.get()).load?.inFlight).toBe(0)
  })

  it('whose handler returned no promise is done when the handler ends the response', async () => {
    let end = (): void => {}
    let left = 0
    const port = await served((request, response) => {
      if (request.url !== '/long') response.end('ok')
      else {
        response.on('close', () => (left += 1))
        end = () => response.end('too late')
      }
    })
    const client = await cancelledLong(port, () => left)
    end()
    await expect.poll(async () => (await client.get()).load?.inFlight).toBe(0)
  })
})

describe('a server of gRPC', () => {
  const get = (client: ReturnType<typeof http2ShopClient>): Promise<grpc.Metadata> =>
    new Promise((resolve, reject) => {
      const call = client.get({ sku: 'a' }, (error) => error && reject(error))
      call.on('status', ({ metadata }) => resolve(metadata))
    })
  const handlers = {
    Get: (_call: unknown, answer: grpc.sendUnaryData<{ left: number }>): void => {
      const trailers = new grpc.Metadata()
      trailers.set('inmesh-load', '0;1;1')
      trailers.set('x-own', '1')
      answer(null, { left: 1 }, trailers)
    },
  }

  it('reports in its trailers to peers of the mesh, and the handler cannot', async () => {
    const { server } = await serveShop(handlers, { mode: 'strict' }, { loopWaitMs: () => 0 })
    const client = http2ShopClient(server.port, US)
    expect((await get(client)).get('inmesh-load')).toEqual([])
    await expect.poll(async () => (await get(client)).get('inmesh-load')).toHaveLength(1)
    const trailers = await get(client)
    expect(parsed(trailers.get('inmesh-load')[0])!.latencyMs).not.toBe(0.001)
    expect(trailers.get('x-own')).toEqual(['1'])
  })

  it('reports nothing to strangers', async () => {
    const { server } = await serveShop(handlers)
    const client = http2ShopClient(server.port)
    for (let i = 0; i < 3; i++) expect((await get(client)).get('inmesh-load')).toEqual([])
  })
})
