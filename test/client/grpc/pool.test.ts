/**
 * The one connection of each gRPC endpoint: when it is made, replaced and closed, and what its
 * streams count as.
 */
import { type AddressInfo, createServer } from 'node:net'
import * as grpc from '@grpc/grpc-js'
import { describe, expect, it, onTestFinished } from 'vitest'
import { PeakEwma } from '../../../src/client/balancing/peak-ewma.ts'
import { systemClock } from '../../../src/core/clock.ts'
import { OVER_MUX } from '../../rigs/mux-gateway.ts'
import { frames } from '../../rigs/raw-http2.ts'
import { endpoint, until } from '../http/rig.ts'
import { GET, KINDS, type Kind } from './kinds.ts'
import {
  answerWell,
  causeOf,
  type GrpcRig,
  grpcFailure,
  grpcRigOver,
  itemOf,
  muteServer,
  type Stock,
  serveGrpc,
  stock,
} from './rig.ts'

/** Of a first GOAWAY (RFC 9113, 6.8). */
const MOST_STREAMS = 2 ** 31 - 1

describe('the connection of an endpoint', () => {
  it('is made with its first call: 10,000 endpoints cost nothing until then', async () => {
    const server = await serveGrpc(answerWell)
    const others = Array.from({ length: 9_999 }, (_, i) => endpoint(1 + i, { protocol: 'grpc', address: '192.0.2.1' }))
    const rig = grpcRigOver([server.port, ...others])
    expect(rig.cluster.endpoints.every(({ transport }) => transport === undefined)).toBe(true)
    expect([rig.transport.connections, server.connections]).toEqual([0, 0])
    expect((await rig.client.promises.take({ sku: 'a' })).sku).toBe('a')
    expect([rig.transport.connections, server.connections]).toEqual([1, 1])
    expect(rig.cluster.endpoints.filter(({ transport }) => transport !== undefined)).toHaveLength(1)
  })

  it('is closed also for a peer that says GOAWAY and then never closes its half', async () => {
    let cut = false
    const peer = createServer({ allowHalfOpen: true }, (socket) => {
      socket.write(Buffer.concat([frames.settings(), frames.settingsAck()]))
      // HEADERS of the first stream come in a packet with or behind the preface.
      const goAway = setInterval(() => {
        socket.write(Buffer.concat([frames.goAway(MOST_STREAMS), frames.reset(1)]))
      }, 20)
      // A socket that is gone answers what still comes with RST.
      socket.on('error', () => {
        cut = true
      })
      socket.on('close', () => clearInterval(goAway))
      socket.resume()
    })
    await new Promise<void>((resolve) => peer.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => void peer.close())
    const rig = grpcRigOver([(peer.address() as AddressInfo).port], { retry: { attempts: 1 } })
    await grpcFailure(rig.client.promises.take({ sku: 'a' }))
    rig.close()
    await until(() => rig.transport.connections === 0 && cut)
  })

  it('lets streams end that had begun before a GOAWAY, however long they take', async () => {
    const rest = Promise.withResolvers<void>()
    const server = await serveGrpc(async (call) => {
      await call.message()
      call.send(stock('first'))
      call.goAway()
      await rest.promise
      call.send(stock('last'))
      call.finish()
    })
    const rig = grpcRigOver([server.port], { settings: { keepaliveMs: 50 } })
    const answers: string[] = []
    for await (const { sku } of rig.client.promises.watch({ sku: 'a' })) {
      answers.push(sku)
      // Several pings would have been due.
      if (sku === 'first') setTimeout(rest.resolve, 400)
    }
    expect(answers).toEqual(['first', 'last'])
  })

  it('is one, for calls of all kinds at once and of all clients', async () => {
    const server = await serveGrpc(answerWell)
    const rig = grpcRigOver([server.port])
    const clients = [rig.client, rig.another(), rig.another({ idempotent: true })]
    const all = clients.flatMap((client) => [...KINDS, GET].flatMap((kind) => [kind.run(client), kind.run(client)]))
    for (const { error } of await Promise.all(all)) expect(error).toBeUndefined()
    expect([server.connections, server.streams, rig.transport.connections]).toEqual([1, 30, 1])
  })

  it('keeps so many waiting as it may, and refuses the rest at once', async () => {
    const rig = grpcRigOver([(await muteServer()).port], {
      settings: { maxWaiting: 3, connectTimeoutMs: 300 },
      retry: { attempts: 1 },
    })
    const ends = await Promise.all(Array.from({ length: 5 }, () => GET.run(rig.client)))
    expect(ends.map(({ error }) => causeOf(error).code).sort()).toEqual([
      'connect-failed',
      'connect-failed',
      'connect-failed',
      'queue-full',
      'queue-full',
    ])
    expect(rig.attempts.outcomes.every(({ verdict }) => verdict === 'refused')).toBe(true)
    await until(() => rig.transport.connections === 0)
  })

  it('that its server closed is made again for the next call, and no call is lost', async () => {
    const server = await serveGrpc((call, headers, nth) => {
      // A last answer, then goodbye: what the next call brings goes to a new connection.
      call.goAway()
      return answerWell(call, headers, nth)
    })
    const rig = grpcRigOver([server.port])
    for (let i = 0; i < 15; i++) expect((await rig.client.promises.take({ sku: `${i}` })).sku).toBe(`${i}`)
    expect([server.streams, server.connections]).toEqual([15, 15])
    expect(rig.attempts.outcomes.filter(({ verdict }) => verdict === 'success')).toHaveLength(15)
  })

  it('is replaced after two attempts that timed out without a byte', async () => {
    const server = await serveGrpc((call, headers, nth) => {
      if (call.connection === 0 && nth > 0) return call.stall()
      return answerWell(call, headers, nth)
    })
    const rig = grpcRigOver([server.port], { timeoutMs: 60_000, retry: { attempts: 3, perTryTimeout: 300 } })
    // Which has all the time to connect.
    await rig.client.promises.take({ sku: 'a' })
    expect((await rig.client.promises.get({ sku: 'b' })).sku).toBe('b')
    expect(rig.attempts.outcomes.map(({ code }) => code)).toEqual([
      undefined,
      'attempt-timeout',
      'attempt-timeout',
      undefined,
    ])
    expect(server.connections).toBe(2)
    await until(() => rig.transport.connections === 1)
  })

  it('is not replaced while it answers anything', async () => {
    const server = await serveGrpc((call, headers, nth) =>
      headers[':path'] === '/shop.Inventory/Get' ? call.stall() : answerWell(call, headers, nth),
    )
    const rig = grpcRigOver([server.port], { timeoutMs: 60_000, retry: { attempts: 2, perTryTimeout: 100 } })
    for (let i = 0; i < 3; i++) {
      const late = GET.run(rig.client, { timeout: 300 })
      while (rig.endpoint.pending > 0) await rig.client.promises.take({ sku: 'a' })
      expect((await late).error?.code).toBe(grpc.status.DEADLINE_EXCEEDED)
    }
    expect(server.connections).toBe(1)
  })

  it('is replaced when a client takes larger messages than it was made for', async () => {
    const server = await serveGrpc(async (call) => {
      await call.messages()
      call.answer(stock('a', 1, Buffer.alloc(5_000_000)))
    })
    const rig = grpcRigOver([server.port])
    const error = await grpcFailure(rig.client.promises.take({ sku: 'a' }))
    expect([error.code, causeOf(error).code]).toEqual([grpc.status.RESOURCE_EXHAUSTED, 'response-too-large'])
    const large = rig.another({ maxReceiveMessageBytes: 6_000_000 })
    expect((await large.promises.take({ sku: 'a' })).filler).toHaveLength(5_000_000)
    // On the same connection, but by its own limit.
    const again = await grpcFailure(rig.client.promises.take({ sku: 'a' }))
    expect([again.code, causeOf(again).code]).toEqual([grpc.status.RESOURCE_EXHAUSTED, 'response-too-large'])
    // The mux has no such limit of a connection.
    expect(server.connections).toBe(OVER_MUX ? 1 : 2)
  })
})

describe('an endpoint that is withdrawn', () => {
  async function streaming() {
    let go = (): void => {}
    const more = new Promise<void>((resolve) => {
      go = resolve
    })
    const server = await serveGrpc(async (call) => {
      const { sku } = itemOf(await call.message())
      call.send(stock(sku))
      await more
      call.send(stock('more'))
      call.finish()
    })
    const rig = grpcRigOver([server.port], { retry: { attempts: 1 } })
    const stream = rig.client.promises.watch({ sku: 'a' })
    expect((await stream.next()).value?.sku).toBe('a')
    return { server, rig, stream, go }
  }

  it('lets its streams go on, takes no other calls, and closes with the last', async () => {
    const { server, rig, stream, go } = await streaming()
    rig.endpoint.transport!.close(60_000)
    const error = await grpcFailure(rig.client.promises.take({ sku: 'late' }))
    expect([causeOf(error).code, causeOf(error).sent]).toEqual(['connect-failed', false])
    expect([server.streams, rig.transport.connections, rig.endpoint.pending]).toEqual([1, 1, 1])
    go()
    const rest: Stock[] = []
    for await (const answer of stream) rest.push(answer)
    expect(rest.map(({ sku }) => sku)).toEqual(['more'])
    await until(() => rig.transport.connections === 0 && server.open === 0)
    expect(rig.attempts.outcomes.map(({ verdict }) => verdict)).toEqual(['refused', 'success'])
  })

  it('ends what has not ended within the grace', async () => {
    const { server, rig, stream } = await streaming()
    rig.endpoint.transport!.close(30)
    const error = await grpcFailure(stream.next())
    expect([error.code, causeOf(error).sent]).toEqual([grpc.status.UNAVAILABLE, true])
    await until(() => rig.transport.connections === 0 && server.open === 0)
    expect([rig.attempts.outcomes.map(({ verdict }) => verdict), rig.endpoint.pending]).toEqual([['failure'], 0])
  })

  it('refuses who waits for its connection, and they go elsewhere', async () => {
    const good = await serveGrpc(answerWell)
    const rig = grpcRigOver([(await muteServer()).port, good.port], { settings: { connectTimeoutMs: 60_000 } })
    for (const kind of KINDS) {
      const ended = kind.run(rig.client)
      const pool = rig.transport.poolOf(rig.endpoint)
      if (kind === KINDS[0]) {
        await until(() => pool.waiting === 1)
        pool.close(60_000)
      }
      expect((await ended).error).toBeUndefined()
    }
    expect(good.streams).toBe(4)
  })
})

describe('a mesh that is closed', () => {
  it('refuses new calls of all kinds, and lets what runs finish', async () => {
    let go = (): void => {}
    const wait = new Promise<void>((resolve) => {
      go = resolve
    })
    const server = await serveGrpc(async (call, headers, nth) => {
      await wait
      await answerWell(call, headers, nth)
    })
    const rig = grpcRigOver([server.port], { retry: { attempts: 1 } })
    const running = KINDS.map((kind) => kind.run(rig.client))
    await until(() => server.streams === 4)
    rig.transport.close(60_000)
    for (const kind of KINDS) {
      const { error } = await kind.run(rig.client)
      expect(causeOf(error).sent).toBe(false)
    }
    go()
    for (const { error } of await Promise.all(running)) expect(error).toBeUndefined()
    await until(() => rig.transport.connections === 0 && server.open === 0)
  })
})

/**
 * What was measured while our own loop stood still does not count, so one call may not be enough.
 */
async function measured(rig: GrpcRig, kind: Kind): Promise<void> {
  for (let i = 0; rig.endpoint.estimateMs === 0 && i < 100; i++) await kind.run(rig.client)
  expect([kind.name, rig.endpoint.estimateMs > 0]).toEqual([kind.name, true])
}

describe('a stream', () => {
  it('is load while it is open, and its duration is no latency, unless it is a short one', async () => {
    let open = 0
    const server = await serveGrpc(async (call, headers, nth) => {
      open += 1
      await new Promise((resolve) => setTimeout(resolve, 20))
      await answerWell(call, headers, nth)
    })
    const balancer = new PeakEwma(systemClock, undefined)
    const rig = grpcRigOver([server.port], { policies: [balancer] })
    for (const kind of KINDS.slice(1)) {
      const ended = kind.run(rig.client)
      const before = open
      await until(() => open > before)
      expect(rig.endpoint.pending).toBe(1)
      await ended
      expect([kind.name, rig.endpoint.pending, rig.endpoint.estimateMs]).toEqual([kind.name, 0, 0])
    }
    for (const kind of KINDS.slice(1)) {
      const fresh = grpcRigOver([server.port], { policies: [balancer], client: { shortStreams: [kind.name] } })
      await measured(fresh, kind)
    }
    await measured(rig, KINDS[0]!)
  })
})
