/** What clients take from the reports of servers, over each door, and from forged ones. */
import { createServer as createHttp2Server } from 'node:http2'
import type { AddressInfo, Socket } from 'node:net'
import type * as grpc from '@grpc/grpc-js'
import { describe, expect, it, onTestFinished } from 'vitest'
import { LeastLoad } from '../../src/client/balancing/least-load.ts'
import type { ClientIdentity } from '../../src/client/client-identity.ts'
import { Attempt } from '../../src/core/attempt.ts'
import { systemClock } from '../../src/core/clock.ts'
import type { Endpoint } from '../../src/core/endpoint.ts'
import type { LoadReport } from '../../src/core/load-report.ts'
import { SUCCESS } from '../../src/core/outcome.ts'
import type { Policy } from '../../src/core/policy.ts'
import { HTTP1, HTTP2, MUX } from '../../src/core/transport.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import { callAt, endpoint as made } from '../resilience/conformance.ts'
import { newIdentity } from '../rigs/certificates.ts'
import { serveShop } from '../server/grpc/rig.ts'
import { authority, serve } from '../server/rig.ts'
import { GrpcRig } from './grpc/rig.ts'
import { opened } from './http/opened.ts'
import { endpoint, makeRig, TestServer } from './http/rig.ts'
import { clientIdentity } from './identity-rig.ts'

/** Keeps the report of each attempt. */
class Seen implements Policy {
  readonly name = 'seen'
  readonly reports: (LoadReport | undefined)[] = []
  readonly transports: unknown[] = []

  admit(): undefined {}

  settle({ report, transport }: Attempt): void {
    this.reports.push(report)
    this.transports.push(transport)
  }
}

function us(): ClientIdentity {
  return clientIdentity(newIdentity(authority, 'checkout')).identity
}

function isSensible({ inFlight, latencyMs, servedMs, arrivedAt }: LoadReport): void {
  expect(inFlight).toBe(0)
  expect(latencyMs).toBeGreaterThan(5)
  expect(servedMs).toBeGreaterThan(5)
  expect(arrivedAt).toBeLessThanOrEqual(systemClock.now())
}

describe.each(['http1', 'auto'] as const)('a call of HTTP to a server that offers %s', (transport) => {
  it('brings the report, which its caller does not see', async () => {
    const { server } = await serve(
      (_request, response) => setTimeout(() => response.end('ok'), 10),
      { mode: 'strict' },
      { transport },
    )
    const seen = new Seen()
    const rig = opened(
      await makeRig([endpoint(server.port, { tls: true })], { identity: us(), preference: 'auto', policies: [seen] }),
    )
    for (let i = 0; i < 3; i++) {
      const { headers } = await rig.http.get('/')
      expect([...headers].filter(([name]) => name.startsWith('inmesh-'))).toEqual([])
    }
    const response = await rig.fetch('http://inventory/')
    expect(response.headers.get('inmesh-load')).toBeNull()
    await response.text()
    expect(seen.transports.at(-1)).toBe(transport === 'auto' ? MUX : HTTP1)
    isSensible(seen.reports.at(-1)!)
  })
})

describe.each(['http1', 'auto'] as const)('a call of gRPC to a server that offers %s', (transport) => {
  it('brings the report, which its caller does not see', async () => {
    const handlers = {
      Get: (_call: unknown, answer: grpc.sendUnaryData<{ left: number }>): void => {
        setTimeout(() => answer(null, { left: 1 }), 10)
      },
    }
    const { server } = await serveShop(handlers, { mode: 'strict' }, { transport })
    const seen = new Seen()
    const at = endpoint(server.port, { tls: true, protocol: 'grpc' })
    const rig = opened(new GrpcRig([at], { identity: us(), preference: 'auto', policies: [seen] }))
    const metadata: Record<string, unknown>[] = []
    for (let i = 0; i < 4; i++) {
      await new Promise<void>((resolve, reject) => {
        const call = rig.client.get({ sku: 'a' }, (error) => (error ? reject(error) : resolve()))
        call.on('metadata', (given) => metadata.push(given.getMap()))
        call.on('status', (given) => metadata.push(given.metadata.getMap()))
      })
    }
    expect(metadata.filter((each) => 'inmesh-load' in each)).toEqual([])
    expect(seen.transports.at(-1)).toBe(transport === 'auto' ? MUX : HTTP2)
    isSensible(seen.reports.at(-1)!)
  })
})

const FORGED = [
  '',
  '1',
  '1;2',
  '1;2;3;4',
  ';;',
  '-1;20;20',
  'NaN;NaN;NaN',
  '1e3;20;20',
  '0x1;20;20',
  '1.5;20;20',
  '1; 20;20',
  'Infinity;1;1',
  '65536;20;20',
  '1;4294967296;20',
  '1;20;99999999999',
  '1;20;'.padEnd(8_000, '9'),
]

describe('a server that forges reports', () => {
  it.each(FORGED)('%j counts as one that reports nothing, over HTTP/1.1 and HTTP/2', async (text) => {
    const http1 = opened(
      await new TestServer((_request, response) => response.setHeader('inmesh-load', text).end('ok')).listen(),
    )
    const sockets = new Set<Socket>()
    const http2 = createHttp2Server((_request, response) => {
      response.setHeader('inmesh-load', text)
      response.end('ok')
    })
    http2.on('connection', (socket: Socket) => sockets.add(socket))
    await new Promise<void>((resolve) => http2.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => {
      for (const socket of sockets) socket.destroy()
      http2.close()
    })
    const byHttp2 = endpoint((http2.address() as AddressInfo).port)
    byHttp2.transports = [HTTP2]
    const seen = new Seen()
    const rig = opened(await makeRig([endpoint(http1.port), byHttp2], { policies: [seen] }))
    for (let i = 0; i < 2; i++) expect(await (await rig.http.get('/')).text()).toBe('ok')
    expect(new Set(seen.transports)).toEqual(new Set([HTTP1, HTTP2]))
    expect(seen.reports).toEqual([undefined, undefined])
  })

  it('in two headers counts as one that reports nothing', async () => {
    const server = opened(
      await new TestServer((_request, response) => {
        response.setHeader('inmesh-load', ['1;20;20', '2;20;20'])
        response.end('ok')
      }).listen(),
    )
    const seen = new Seen()
    const rig = opened(await makeRig([server.port], { policies: [seen] }))
    await (await rig.http.get('/')).text()
    expect(seen.reports).toEqual([undefined])
  })
})

describe('a report', () => {
  function setUp() {
    const clock = new FakeClock()
    const [slow, fast] = [made('slow'), made('fast')] as const
    const balancer = new LeastLoad(clock, undefined)
    const picker = balancer.picker([slow, fast])
    const settle = (at: Endpoint, startedAt: number, report: LoadReport): void => {
      const attempt = new Attempt(callAt(clock))
      attempt.endpoint = at
      attempt.startedAt = startedAt
      attempt.report = report
      balancer.settle(attempt, SUCCESS)
    }
    /** How many of 200 picks `slow` gets, when nothing has just answered. */
    const picksOfSlow = (): number => {
      clock.advance(500)
      return Array.from({ length: 200 }, () => picker.pick(callAt(clock))).filter((each) => each === slow).length
    }
    return { clock, slow, fast, settle, picksOfSlow }
  }

  it('that has been overtaken by a later one is not used', () => {
    const { clock, slow, fast, settle, picksOfSlow } = setUp()
    clock.advance(10_000)
    const early = { inFlight: 0, latencyMs: 20, servedMs: 20, arrivedAt: clock.now() }
    const startedAt = clock.now() - 20
    for (let i = 0; i < 30; i++) {
      clock.advance(20)
      settle(slow, clock.now() - 20, { inFlight: 60, latencyMs: 20, servedMs: 20, arrivedAt: clock.now() })
      settle(fast, clock.now() - 20, { inFlight: 0, latencyMs: 20, servedMs: 20, arrivedAt: clock.now() })
    }
    // The body of an early answer ends last.
    settle(slow, startedAt, early)
    expect(picksOfSlow()).toBeLessThan(20)
  })

  it('that claims to be idle and instant does not hide what we measure', () => {
    const { clock, slow, fast, settle, picksOfSlow } = setUp()
    for (let i = 0; i < 30; i++) {
      clock.advance(100)
      settle(slow, clock.now() - 100, { inFlight: 0, latencyMs: 0.001, servedMs: 0, arrivedAt: clock.now() })
      settle(fast, clock.now() - 20, { inFlight: 0, latencyMs: 20, servedMs: 19, arrivedAt: clock.now() })
    }
    expect(picksOfSlow()).toBeLessThan(20)
  })
})
