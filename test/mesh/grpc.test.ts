/**
 * gRPC in a whole mesh: beside HTTP, over three hops, across instances that fail, under policies
 * that change.
 */
import type * as grpc from '@grpc/grpc-js'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { currentCall, isMeshError, type Mesh } from '../../src/index.ts'
import { startTestMesh, type TestMesh } from '../../src/testing/index.ts'
import { until } from '../client/http/rig.ts'
import { begin, KINDS, type Kind, Shop, type ShopClient, type ShopHandlers, shopServer } from '../rigs/shop.ts'

let test: TestMesh

beforeEach(async () => {
  test = await startTestMesh()
})

afterEach(async () => {
  await test.close()
})

const told = (mesh: Mesh, name: string): Record<string, unknown>[] =>
  mesh.events().flatMap((event) => (event.name === name ? [event.payload] : []))

async function serve(service: string, handlers: ShopHandlers | grpc.Server, options = {}): Promise<Mesh> {
  const mesh = await test.join(service)
  await mesh.serveGrpc('addService' in handlers ? handlers : shopServer(handlers), options)
  return mesh
}

const named = (name: string): ShopHandlers => ({ Get: (_call, answer) => answer(null, { sku: name }) })

describe('a service that speaks both', () => {
  it('is called by each client at its own endpoints only', async () => {
    const both = await test.join('inventory')
    await both.serve((_req, res) => res.end('http'))
    await both.serveGrpc(shopServer(named('grpc')))
    await serve('inventory', named('grpc'))
    await test.serve('inventory', (_req, res) => res.end('http'))
    const checkout = await test.join('checkout')
    const [http, shop] = [checkout.http('inventory'), checkout.grpc(Shop, 'inventory')]
    for (let i = 0; i < 20; i++) {
      expect(await (await http.get('/')).text()).toBe('http')
      expect((await shop.promises.get({ sku: 'a' })).sku).toBe('grpc')
    }
    const metrics = checkout.metrics()
    expect(metrics).toMatch(/inmesh_client_requests_total\{[^}]*method="GET"[^}]*code="ok"[^}]*\} 20\n/)
    expect(metrics).toMatch(
      /inmesh_client_requests_total\{[^}]*method="\/shop.Inventory\/Get"[^}]*code="ok"[^}]*\} 20\n/,
    )
  })
})

interface Arrival {
  readonly service: string
  readonly kind: Kind
  readonly remainingMs: number
  readonly peer: string | undefined
  readonly tenant: string | undefined
  aborted: string | undefined
}

/**
 * first -> second -> third, each calling on without passing anything; the third works until it is
 * stopped, or answers at once.
 */
async function threeHops(
  work: 'long' | 'short',
): Promise<{ shop: ShopClient; arrivals: Arrival[]; inFlight: () => number }> {
  const arrivals: Arrival[] = []
  const arrive = (service: string, kind: Kind): void => {
    const { signal, remainingMs, peer, baggage } = currentCall()!
    const tenant = baggage.get('tenant')
    const arrival: Arrival = { service, kind, remainingMs, peer: peer?.service, tenant, aborted: undefined }
    signal.addEventListener('abort', () => {
      arrival.aborted = (signal.reason as { code: string }).code
    })
    arrivals.push(arrival)
  }
  const third: ShopHandlers = {
    Get: (call, answer) => {
      arrive('third', 'get')
      if (work === 'short' || call.request.sku === 'warm-up') answer(null, { sku: 'third' })
    },
    Upload: (call, answer) => {
      arrive('third', 'upload')
      call.resume()
      if (work === 'short') call.on('end', () => answer(null, { sku: 'third' }))
    },
    Watch: (call) => {
      arrive('third', 'watch')
      call.write({ sku: 'third' })
      if (work === 'short') call.end()
    },
    Chat: (call) => {
      arrive('third', 'chat')
      call.on('data', () => call.write({ sku: 'third' }))
      if (work === 'short') call.on('end', () => call.end())
    },
  }
  const servers = [await (await test.join('third')).serveGrpc(shopServer(third))]
  for (const [service, next] of [
    ['second', 'third'],
    ['first', 'second'],
  ] as const) {
    const mesh = await test.join(service)
    const onward = mesh.grpc(Shop, next)
    const relay = (
      call: grpc.ServerWritableStream<unknown, unknown> | grpc.ServerDuplexStream<unknown, unknown>,
      answers: grpc.ClientReadableStream<unknown>,
    ): void => {
      answers.on('data', (stock) => call.write(stock))
      answers.on('end', () => call.end())
      answers.on('error', (error) => call.emit('error', error))
    }
    const server = await mesh.serveGrpc(
      shopServer({
        Get: (call, answer) => {
          arrive(service, 'get')
          setTimeout(() => onward.get(call.request, answer as never), 10)
        },
        Upload: (call, answer) => {
          arrive(service, 'upload')
          const further = onward.upload(answer as never)
          call.on('data', (item) => further.write(item)).on('end', () => further.end())
        },
        Watch: (call) => {
          arrive(service, 'watch')
          relay(call, onward.watch(call.request))
        },
        Chat: (call) => {
          arrive(service, 'chat')
          const further = onward.chat()
          call.on('data', (item) => further.write(item)).on('end', () => further.end())
          relay(call, further)
        },
      }),
    )
    servers.push(server)
  }
  const client = await test.join('client')
  const shop = client.grpc(Shop, 'first')
  // The first call of each hop finds its service and connects; the tests are about the later ones.
  expect((await begin(shop, 'get', { items: [{ sku: 'warm-up' }] }).ended).code).toBe(0)
  arrivals.length = 0
  const inFlight = (): number => servers.reduce((sum, { stats }) => sum + stats.inFlight, 0)
  return { shop, arrivals, inFlight }
}

describe('three hops', () => {
  it.each(KINDS)('hear of the cancellation of a %s call, which nobody takes for a failure', async (kind) => {
    const { shop, arrivals } = await threeHops('long')
    const running = begin(shop, kind, { open: kind === 'chat' || kind === 'upload' })
    await until(() => arrivals.length === 3)
    expect(arrivals.map(({ aborted }) => aborted)).toEqual([undefined, undefined, undefined])
    running.cancel()
    await until(() => arrivals.every(({ aborted }) => aborted !== undefined))
    expect(arrivals.map(({ service, aborted }) => [service, aborted])).toEqual([
      ['first', 'cancelled'],
      ['second', 'cancelled'],
      ['third', 'cancelled'],
    ])
    expect((await running.ended).code).toBe(1)
    // No process retries.
    await new Promise((resolve) => setTimeout(resolve, 200))
    expect(arrivals).toHaveLength(3)
  })

  it.each(KINDS)('share the deadline of a %s call, and all end when it passes', async (kind) => {
    // Reads would be tried again elsewhere after a part of the time.
    await test.apply([{ service: 'mesh', retry: { attempts: 1 } }])
    const { shop, arrivals, inFlight } = await threeHops('long')
    const open = kind === 'chat' || kind === 'upload'
    const running = begin(shop, kind, { open, deadline: Date.now() + 5_000 })
    await until(() => arrivals.length === 3)
    const [first, second, third] = arrivals as [Arrival, Arrival, Arrival]
    expect(first.remainingMs).toBeLessThanOrEqual(5_000)
    expect(second.remainingMs).toBeLessThan(first.remainingMs)
    expect(third.remainingMs).toBeLessThan(second.remainingMs)
    expect([first.peer, second.peer, third.peer]).toEqual(['client', 'first', 'second'])
    expect((await running.ended).code).toBe(4)
    await until(() => third.aborted !== undefined)
    // A process that the next one had notified a moment before has answered already.
    for (const { aborted = 'answered' } of arrivals) {
      expect(['deadline-exceeded', 'cancelled', 'answered']).toContain(aborted)
    }
    await until(() => inFlight() === 0)
    expect(arrivals).toHaveLength(3)
  })

  it('answer, carry the baggage, and are passed on without a word for all four kinds', async () => {
    const { shop, arrivals } = await threeHops('short')
    const { Metadata } = await import('@grpc/grpc-js')
    const metadata = new Metadata()
    metadata.set('baggage', 'tenant=a')
    for (const kind of KINDS) {
      const { code, answers } = await begin(shop, kind, { metadata }).ended
      expect([kind, code, answers.map(({ sku }) => sku)]).toEqual([kind, 0, ['third']])
    }
    expect(arrivals).toHaveLength(12)
    expect(arrivals.filter(({ tenant }) => tenant === 'a')).toHaveLength(12)
  })
})

describe('instances that fail', () => {
  it('are left for others when the call may be repeated, and get none after a while', async () => {
    await test.apply([{ service: 'inventory', balancer: 'round-robin' }])
    const faults = [{ grpcStatus: 'UNAVAILABLE' as const }]
    const take: ShopHandlers = { Take: (_call, answer) => answer(null, { sku: 'taken' }) }
    await serve('inventory', { ...named('bad'), ...take }, { faults })
    for (const name of ['good', 'better']) await serve('inventory', { ...named(name), ...take })
    const checkout = await test.join('checkout')
    const shop = checkout.grpc(Shop, 'inventory')
    const names: (string | undefined)[] = []
    for (let i = 0; i < 40; i++) names.push((await shop.promises.get({ sku: 'a' })).sku)
    expect(new Set(names)).toEqual(new Set(['good', 'better']))
    expect(told(checkout, 'endpoint:ejected')).toEqual([
      expect.objectContaining({ peer: 'inventory', endpoint: expect.stringMatching(/^127\.0\.0\.1:\d+$/) }),
    ])
    const retries = Number(/inmesh_client_retries_total\{[^}]*\} (\d+)/.exec(checkout.metrics())?.[1])
    expect(retries).toBeGreaterThan(0)
    expect(retries).toBeLessThan(15)
  })

  it('fail a call that may not be repeated, once, with a MeshError that says so', async () => {
    let taken = 0
    await serve(
      'inventory',
      {
        Take: (_call, answer) => {
          taken += 1
          answer({ code: 14, details: 'out of order' })
        },
      },
      {},
    )
    const checkout = await test.join('checkout')
    const shop = checkout.grpc(Shop, 'inventory')
    const error = await shop.promises.take({ sku: 'a' }).catch((failure: unknown) => failure)
    expect(error).toMatchObject({ code: 14, details: expect.stringContaining('out of order') })
    const { cause } = error as { cause: unknown }
    expect(isMeshError(cause) && [cause.sent, cause.attempts.length, cause.method]).toEqual([
      true,
      1,
      '/shop.Inventory/Take',
    ])
    expect(taken).toBe(1)
  })

  it('open the circuit of their protocol only, which is told with it', async () => {
    await test.apply([
      {
        service: 'inventory',
        retry: { attempts: 1 },
        circuitBreaker: { minimumCalls: 5, errorThreshold: '50%', resetAfter: '30s' },
      },
    ])
    await serve('inventory', { Get: (_call, answer) => answer({ code: 13, details: 'broken' }) })
    await test.serve('inventory', (_req, res) => res.end('well'))
    const checkout = await test.join('checkout')
    const shop = checkout.grpc(Shop, 'inventory')
    for (let i = 0; i < 12; i++) await shop.promises.get({ sku: 'a' }).catch(() => undefined)
    expect(told(checkout, 'circuit:transition')).toEqual([
      expect.objectContaining({ peer: 'inventory', protocol: 'grpc', from: 'closed', to: 'open' }),
    ])
    const refused = await shop.promises.get({ sku: 'a' }).catch((failure: unknown) => failure)
    expect(refused).toMatchObject({ code: 14, cause: { code: 'circuit-open', sent: false } })
    expect(await (await checkout.http('inventory').get('/')).text()).toBe('well')
  })
})

describe('policies that change while all run', () => {
  it('say who may call which method', async () => {
    const inventory = await serve('inventory', {
      ...named('ok'),
      Take: (_call, answer) => answer(null, { sku: 'ok' }),
    })
    const checkout = await test.join('checkout')
    const shop = checkout.grpc(Shop, 'inventory')
    const codes = async (): Promise<number[]> => [
      (await begin(shop, 'get').ended).code,
      (await begin(shop, 'take').ended).code,
    ]
    expect(await codes()).toEqual([0, 0])
    await test.apply([{ service: 'inventory', allow: [{ from: 'checkout', grpc: ['shop.Inventory/Get'] }] }, DENY])
    expect(await codes()).toEqual([0, 7])
    expect(told(inventory, 'intention:denied')[0]).toMatchObject({
      peer: 'checkout',
      method: '/shop.Inventory/Take',
      reason: 'default',
    })
    const denied = await shop.promises.take({ sku: 'a' }).catch((failure: unknown) => failure)
    expect(denied).toMatchObject({ code: 7, cause: { code: 'permission-denied' } })
    await test.apply([{ service: 'inventory', allow: [{ from: 'checkout', grpc: ['shop.Inventory/*'] }] }])
    expect(await codes()).toEqual([0, 0])
    await test.apply([{ service: 'inventory', allow: [] }])
    expect(await codes()).toEqual([7, 7])
  })

  it('inject faults, bound the time, and say what may be repeated', async () => {
    let takes = 0
    let slow = 0
    await serve('inventory', {
      Get: (call, answer) => {
        if (call.request.sku === 'slow') slow += 1
        else answer(null, {})
      },
      Take: (_call, answer) => {
        takes += 1
        answer(takes % 2 === 1 ? { code: 14, details: 'busy' } : null, {})
      },
    })
    const checkout = await test.join('checkout')
    const shop = checkout.grpc(Shop, 'inventory')
    expect((await begin(shop, 'take').ended).code).toBe(14)
    expect(takes).toBe(1)
    takes = 0
    const retry = { idempotent: ['shop.Inventory/Take'] }
    await test.apply([{ service: 'inventory', retry }])
    expect((await begin(shop, 'take').ended).code).toBe(0)
    expect(takes).toBe(2)
    await test.apply([{ service: 'inventory', timeout: '3s', retry: { attempts: 1 } }])
    expect((await begin(shop, 'get', { items: [{ sku: 'slow' }] }).ended).code).toBe(4)
    expect(slow).toBe(1)
    await test.apply([{ service: 'inventory', retry: { attempts: 1 }, faults: [{ grpcStatus: 'DATA_LOSS' }] }])
    expect((await begin(shop, 'get').ended).code).toBe(15)
    await test.apply([{ service: 'inventory', faults: [] }])
    expect((await begin(shop, 'get').ended).code).toBe(0)
  })

  it('check the health of endpoints by the standard service', async () => {
    await test.apply([{ service: 'inventory', balancer: 'round-robin' }])
    const served = [0, 0, 0]
    const well = [true, true, true]
    for (const i of served.keys()) {
      const server = shopServer({
        Get: (_call, answer) => {
          served[i]! += 1
          answer(null, {})
        },
      })
      // The last one is asked by the service that every meshed server has.
      if (i < 2) {
        const same = ((bytes: Buffer) => bytes) as never
        const check = (_call: unknown, answer: grpc.sendUnaryData<Buffer>): void =>
          answer(null, Buffer.of(8, well[i] ? 1 : 2))
        server.register('/grpc.health.v1.Health/Check', check as never, same, same, 'unary')
      }
      await serve('inventory', server)
    }
    const checkout = await test.join('checkout')
    const shop = checkout.grpc(Shop, 'inventory')
    const call = async (times: number): Promise<number[]> => {
      const before = [...served]
      for (let i = 0; i < times; i++) expect((await begin(shop, 'get').ended).code).toBe(0)
      return served.map((count, i) => count - before[i]!)
    }
    expect(await call(30)).toEqual([10, 10, 10])
    well[1] = false
    const healthCheck = { interval: '100ms', unhealthyAfter: 2 }
    await test.apply([{ service: 'inventory', balancer: 'round-robin', healthCheck }])
    await until(() => told(checkout, 'endpoint:ejected').length > 0)
    expect(told(checkout, 'endpoint:ejected')).toEqual([
      expect.objectContaining({ reason: 'health-check', detail: 'state 2' }),
    ])
    expect(await call(30)).toEqual([15, 0, 15])
    well[1] = true
    await until(() => told(checkout, 'endpoint:restored').length > 0)
    expect((await call(30))[1]).toBe(10)
    // No other endpoint was ejected.
    expect(told(checkout, 'endpoint:ejected')).toHaveLength(1)
  })
})

const DENY = { service: 'mesh', defaultIntention: 'deny' }

describe('leaving', () => {
  it('loses no call, and a stream that ends in time', async () => {
    const handlers = (name: string): ShopHandlers => ({
      Get: (_call, answer) => setTimeout(() => answer(null, { sku: name }), 20),
      Watch: (call) => {
        call.write({ sku: name })
        setTimeout(() => call.end(), 1_000)
      },
    })
    const leaver = await serve('inventory', handlers('leaver'))
    await serve('inventory', handlers('stayer'))
    const checkout = await test.join('checkout')
    const shop = checkout.grpc(Shop, 'inventory')
    const codes: Promise<{ code: number }>[] = []
    const streams = [1, 2, 3, 4].map(() => begin(shop, 'watch'))
    let leaving: Promise<void> | undefined
    for (let i = 0; i < 100; i++) {
      codes.push(begin(shop, i % 2 === 0 ? 'get' : 'take').ended)
      if (i === 20) leaving = leaver.close()
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    await leaving
    for (const [i, { code }] of (await Promise.all(codes)).entries())
      expect([i, code]).toEqual([i, i % 2 === 0 ? 0 : 12])
    for (const { ended } of streams) expect((await ended).code).toBe(0)
  })
})
