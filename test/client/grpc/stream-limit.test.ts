/**
 * Calls beyond the streams that a peer takes at once wait on our side, where it is certain that
 * they were not sent.
 */
import { describe, expect, it } from 'vitest'
import { grpcHealth } from '../../../src/client/grpc/health.ts'
import { OVER_MUX } from '../../rigs/mux-gateway.ts'
import type { ScriptedGrpcCall, ScriptedGrpcServer } from '../../rigs/scripted-grpc-server.ts'
import { until } from '../http/rig.ts'
import { KINDS } from './kinds.ts'
import { answerWell, causeOf, type GrpcRig, grpcEndpoint, grpcFailure, grpcRigOver, serveGrpc } from './rig.ts'

interface Full {
  readonly server: ScriptedGrpcServer
  readonly rig: GrpcRig
  /** Those that hold the streams. */
  readonly holding: Promise<unknown>[]
}

const stall = (call: ScriptedGrpcCall): Promise<void> => call.stall()

/** A server that takes `limit` streams, all of them held by calls that it does not answer. */
async function full(limit: number, script: (call: ScriptedGrpcCall, nth: number) => unknown = stall): Promise<Full> {
  const server = await serveGrpc(
    async (call, headers, nth) => {
      if (nth < limit) await script(call, nth)
      else await answerWell(call, headers, nth)
    },
    { settings: { maxConcurrentStreams: limit } },
  )
  const rig = grpcRigOver([server.port], { timeoutMs: 60_000, settings: { maxWaiting: 8 } })
  const holding = Array.from({ length: limit }, () => grpcFailure(rig.client.promises.take({ sku: 'held' })))
  await until(() => server.streams === limit)
  return { server, rig, holding }
}

const waiting = (rig: GrpcRig): number => rig.transport.poolOf(rig.endpoint).waiting

describe('a call beyond the streams that the peer takes', () => {
  it.each(KINDS.map((kind) => [kind.name, kind] as const))(
    '%s waits, and runs when a stream is free',
    async (_name, kind) => {
      const { server, rig } = await full(2)
      const late = kind.run(rig.client)
      await until(() => waiting(rig) === 1)
      expect(server.streams).toBe(2)
      server.calls[0]!.finish(5)
      expect((await late).error).toBeUndefined()
      expect(server.streams).toBe(3)
    },
  )

  it('runs in the order of its coming', async () => {
    const { server, rig } = await full(1)
    const ended: string[] = []
    const late = ['a', 'b', 'c'].map((sku) =>
      rig.client.promises.take({ sku }).then((answer) => ended.push(answer.sku)),
    )
    await until(() => waiting(rig) === 3)
    server.calls[0]!.finish(5)
    await Promise.all(late)
    expect(ended).toEqual(['a', 'b', 'c'])
  })

  it('is cancelled there at once, or ends with its deadline, and was not sent', async () => {
    const { server, rig } = await full(1)
    const abort = new AbortController()
    const cancelled = grpcFailure(rig.client.promises.take({ sku: 'a' }, { signal: abort.signal }))
    await until(() => waiting(rig) === 1)
    abort.abort()
    expect(await cancelled).toMatchObject({ code: 1, cause: { sent: false } })
    const late = grpcFailure(rig.client.promises.take({ sku: 'b' }, { timeout: 50 }))
    expect(await late).toMatchObject({ code: 4, cause: { sent: false } })
    expect(waiting(rig)).toBe(0)
    expect(server.streams).toBe(1)
  })

  it('is refused if too many wait, and was not sent', async () => {
    const { rig } = await full(1)
    const late = Array.from({ length: 9 }, () => grpcFailure(rig.client.promises.take({ sku: 'a' })))
    const refused = await Promise.race(late)
    expect([refused.code, causeOf(refused).code, causeOf(refused).sent]).toEqual([8, 'queue-full', false])
    expect(waiting(rig)).toBe(8)
  })

  it.each([
    ['breaks', (call: ScriptedGrpcCall) => call.break(), 'connection-lost'],
    ['is asked to leave', (call: ScriptedGrpcCall) => call.goAway(), undefined],
  ] as const)('goes to another endpoint when the connection %s', async (_name, end, held) => {
    const { server, rig, holding } = await full(1)
    const other = await serveGrpc(answerWell)
    const late = [0, 1, 2].map((n) => rig.client.promises.take({ sku: `${n}` }))
    await until(() => waiting(rig) === 3)
    rig.cluster.add(grpcEndpoint(other.port))
    await end(server.calls[0]!)
    expect((await Promise.all(late)).map(({ sku }) => sku)).toEqual(['0', '1', '2'])
    expect(server.streams).toBe(1)
    expect(other.streams).toBe(3)
    if (held !== undefined) expect(causeOf(await holding[0])).toMatchObject({ code: held, sent: true })
  })

  it.skipIf(OVER_MUX)('runs when the peer takes more streams than it did', async () => {
    const { server, rig } = await full(1)
    const late = rig.client.promises.take({ sku: 'a' })
    await until(() => waiting(rig) === 1)
    server.calls[0]!.stream.session!.settings({ maxConcurrentStreams: 2 })
    expect((await late).sku).toBe('a')
  })

  it.skipIf(OVER_MUX)('waits while the peer takes fewer than it did', async () => {
    const { server, rig } = await full(2)
    server.calls[0]!.stream.session!.settings({ maxConcurrentStreams: 1 })
    await new Promise<void>((resolve) => server.calls[0]!.stream.session!.ping(() => resolve()))
    const late = rig.client.promises.take({ sku: 'a' })
    await until(() => waiting(rig) === 1)
    server.calls[0]!.finish(5)
    server.calls[1]!.finish(5)
    expect((await late).sku).toBe('a')
  })

  it('finds room for each stream that we reset, and the connection stands however often it happens', async () => {
    const LIMIT = 10
    const server = await serveGrpc(
      (call, headers, nth) => (headers.hang === '1' ? stall(call) : answerWell(call, headers, nth)),
      {
        settings: { maxConcurrentStreams: LIMIT },
      },
    )
    const rig = grpcRigOver([server.port], { timeoutMs: 60_000, retry: { attempts: 1 } })
    const { Metadata } = rig.transport.grpc
    const metadata = new Metadata()
    metadata.set('hang', '1')
    for (let round = 1; round <= 15; round++) {
      const before = server.streams
      const abort = new AbortController()
      const hanging = Array.from({ length: LIMIT }, () =>
        grpcFailure(rig.client.promises.take({ sku: 'a' }, { metadata, signal: abort.signal })),
      )
      await until(() => server.streams === before + LIMIT)
      const late = Array.from({ length: LIMIT }, () => rig.client.promises.take({ sku: 'b' }))
      abort.abort()
      expect(await Promise.all(late)).toHaveLength(LIMIT)
      await Promise.all(hanging)
    }
    expect(server.connections).toBe(1)
  })
})

describe('a health check of an endpoint whose streams are all in use', () => {
  const probe = (rig: GrpcRig, timeoutMs: number): Promise<boolean | undefined> =>
    new Promise((resolve) => grpcHealth(rig.transport)(rig.endpoint, timeoutMs, (healthy) => resolve(healthy)))

  it('says nothing against it when its time is over', async () => {
    const { rig } = await full(1)
    expect(await probe(rig, 30)).toBeUndefined()
  })

  it('goes before the calls that wait', async () => {
    const paths: string[] = []
    const server = await serveGrpc(
      async (call, headers, nth) => {
        paths.push(String(headers[':path']))
        if (nth === 0) await call.stall()
        else await answerWell(call, headers, nth)
      },
      { settings: { maxConcurrentStreams: 1 } },
    )
    const rig = grpcRigOver([server.port], { timeoutMs: 60_000 })
    void grpcFailure(rig.client.promises.take({ sku: 'held' }))
    await until(() => server.streams === 1)
    const late = rig.client.promises.take({ sku: 'a' })
    const checked = probe(rig, 20_000)
    await until(() => waiting(rig) === 2)
    server.calls[0]!.finish(5)
    await checked
    await late
    expect(paths).toEqual(['/shop.Inventory/Take', '/grpc.health.v1.Health/Check', '/shop.Inventory/Take'])
  })
})
