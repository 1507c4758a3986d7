/** A service called over either protocol passes the whole context of the call on over either. */
import * as grpc from '@grpc/grpc-js'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { currentCall, detached, type Mesh } from '../../src/index.ts'
import { startTestMesh, type TestMesh } from '../../src/testing/index.ts'
import { Shop, shopServer } from '../rigs/shop.ts'

const TRACE = '0af7651916cd43dd8448eb211c80319c'
const GIVEN = {
  traceparent: `00-${TRACE}-b7ad6b7169203331-01`,
  tracestate: 'vendor=a',
  baggage: 'tenant=acme,user=%C3%BC',
}

interface Arrival {
  readonly protocol: Protocol
  readonly traceId: string | undefined
  readonly sampled: boolean | undefined
  readonly state: string | undefined
  readonly baggage: readonly (readonly [string, string])[]
  readonly previousAttempts: number
  readonly remainingMs: number
  readonly mirror: boolean
  readonly routeOverrides: string | undefined
}

const PROTOCOLS = ['http', 'grpc'] as const
type Protocol = (typeof PROTOCOLS)[number]

let test: TestMesh
let edge: Mesh
/** What `last` has received since the test began. */
let arrivals: Arrival[] = []

function arrive(protocol: Protocol): void {
  const { trace, baggage, previousAttempts, remainingMs, mirror, routeOverrides } = currentCall()!
  const { traceId, sampled, state } = trace ?? {}
  const common = { traceId, sampled, state, baggage: [...baggage], previousAttempts, remainingMs }
  arrivals.push({ protocol, ...common, mirror, routeOverrides })
}

/** Serves both protocols; its first answer in each test is a failure worth another attempt. */
async function serveLast(): Promise<void> {
  const last = await test.join('last')
  await last.serve((_request, response) => {
    arrive('http')
    response.statusCode = arrivals.length === 1 ? 503 : 200
    response.end()
  })
  await last.serveGrpc(
    shopServer({
      Get: (_call, answer) => {
        arrive('grpc')
        if (arrivals.length > 1) answer(null, {})
        else answer({ code: grpc.status.UNAVAILABLE, details: 'busy' } as grpc.ServiceError)
      },
    }),
  )
}

/** Serves both protocols; the request names the one to call `last` over. */
async function serveMiddle(): Promise<void> {
  const middle = await test.join('middle')
  const http = middle.http('last')
  const shop = middle.grpc(Shop, 'last', { idempotent: true })
  const callLast = async (over: string): Promise<void> => {
    if (over === 'grpc') await shop.promises.get({ sku: 'a' })
    else expect((await http.get('/')).status).toBe(200)
  }
  await middle.serve(async (request, response) => {
    await callLast(request.url!.slice(1))
    response.end()
  })
  await middle.serveGrpc(
    shopServer({ Get: (call, answer) => void callLast(call.request.sku).then(() => answer(null, {}), answer) }),
  )
}

async function callMiddle(over: Protocol, next: Protocol, headers: Record<string, string> = GIVEN): Promise<void> {
  if (over === 'http') {
    expect((await edge.http('middle').get(`/${next}`, { headers, timeout: '8s' })).status).toBe(200)
    return
  }
  const metadata = new grpc.Metadata()
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value)
  await edge.grpc(Shop, 'middle').promises.get({ sku: next }, { metadata, timeout: '8s' })
}

beforeAll(async () => {
  test = await startTestMesh()
  await serveLast()
  await serveMiddle()
  edge = await test.join('edge')
})

afterAll(() => test.close())

it.each(PROTOCOLS.flatMap((over) => PROTOCOLS.map((next) => [over, next] as const)))(
  'a call that came over %s carries trace, baggage, deadline and earlier attempts on over %s',
  async (over, next) => {
    arrivals = []
    await callMiddle(over, next)
    const common = {
      protocol: next,
      traceId: TRACE,
      sampled: true,
      state: 'vendor=a',
      mirror: false,
      baggage: [
        ['tenant', 'acme'],
        ['user', 'ü'],
      ],
    }
    expect(arrivals).toMatchObject([
      { ...common, previousAttempts: 0 },
      { ...common, previousAttempts: 1 },
    ])
    // Both the client and the server allow more by default.
    for (const { remainingMs } of arrivals) expect(remainingMs).toBeLessThanOrEqual(8_000)
  },
)

it.each(PROTOCOLS.flatMap((over) => PROTOCOLS.map((next) => [over, next] as const)))(
  'the mark of a mirror that came over %s is inherited by the calls that it causes over %s',
  async (over, next) => {
    arrivals = []
    await callMiddle(over, next, { ...GIVEN, 'x-inmesh-mirror': '1' })
    expect(arrivals).toMatchObject([{ mirror: true }, { mirror: true }])
    arrivals = []
    await callMiddle(over, next, { ...GIVEN, 'x-inmesh-mirror': 'yes' })
    expect(arrivals[0]).toMatchObject({ mirror: false })
  },
)

it.each(PROTOCOLS.flatMap((over) => PROTOCOLS.map((next) => [over, next] as const)))(
  'overrides of a request that came over %s are inherited by the calls that it causes over %s',
  async (over, next) => {
    arrivals = []
    const text = 'stock=green, prices=service:prices-pr-42'
    await callMiddle(over, next, { ...GIVEN, 'X-Inmesh-Route': text })
    expect(arrivals).toMatchObject([{ routeOverrides: text }, { routeOverrides: text }])
  },
)

it('malformed overrides are an error that names the header, and nothing is sent', async () => {
  arrivals = []
  const headers = { 'x-inmesh-route': 'stock->green' }
  await expect(edge.http('middle').get('/http', { headers })).rejects.toThrow(
    'headers.x-inmesh-route: expected entries',
  )
  await expect(edge.fetch('http://middle/http', { headers })).rejects.toThrow('headers.x-inmesh-route')
  await expect(callMiddle('grpc', 'http', headers)).rejects.toMatchObject({
    details: expect.stringContaining('headers.x-inmesh-route: expected entries'),
  })
  expect(arrivals).toEqual([])
})

it('a handler that passes on all headers that it received sends the mark once', async () => {
  const received: unknown[] = []
  const far = await test.join('far')
  await far.serve((request, response) => {
    received.push(request.headersDistinct['x-inmesh-mirror'])
    response.end()
  })
  const relay = await test.join('relay')
  await relay.serve(async (request, response) => {
    const headers = { 'x-inmesh-mirror': request.headers['x-inmesh-mirror'] as string }
    await relay.http('far').get('/', { headers })
    await relay.fetch('http://far/', { headers })
    await detached(() => relay.http('far').get('/'))
    response.end()
  })
  await edge.http('relay').get('/', { headers: { 'x-inmesh-mirror': '1' } })
  expect(received).toEqual([['1'], ['1'], ['1']])
})
