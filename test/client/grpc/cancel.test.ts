/** A signal ends a gRPC call of any kind wherever it is, and leaves nothing behind. */
import { getEventListeners } from 'node:events'
import * as grpc from '@grpc/grpc-js'
import { describe, expect, it } from 'vitest'
import { until } from '../http/rig.ts'
import { GET, KINDS, type Kind } from './kinds.ts'
import {
  answerWell,
  causeOf,
  type GrpcRig,
  grpcRigOver,
  type Item,
  muteServer,
  type Stock,
  serveGrpc,
  stock,
} from './rig.ts'

interface Phase {
  readonly name: string
  /** A rig, and a wait that ends when a call of it is there. */
  open(): Promise<{ readonly rig: GrpcRig; readonly there: () => boolean; readonly gone?: () => boolean }>
  readonly sent: boolean
  readonly settled: readonly string[]
}

const PHASES: readonly Phase[] = [
  {
    name: 'while it waits for an endpoint',
    async open() {
      const rig = grpcRigOver([])
      return { rig, there: () => rig.cluster.waiters === 1, gone: () => rig.cluster.waiters === 0 }
    },
    sent: false,
    settled: [],
  },
  {
    name: 'while it waits for a connection',
    async open() {
      const rig = grpcRigOver([(await muteServer()).port], { settings: { connectTimeoutMs: 30_000 } })
      const pool = rig.transport.poolOf(rig.endpoint)
      return { rig, there: () => pool.waiting === 1, gone: () => pool.waiting === 0 }
    },
    sent: false,
    settled: ['cancelled'],
  },
  {
    name: 'while it runs',
    async open() {
      const server = await serveGrpc((call) => call.stall())
      return {
        rig: grpcRigOver([server.port]),
        there: () => server.streams === 1,
        gone: () => server.calls[0]!.stream.rstCode === 8,
      }
    },
    sent: true,
    settled: ['cancelled'],
  },
  {
    name: 'while it has been answered in part',
    async open() {
      let answered = false
      const server = await serveGrpc(async (call) => {
        call.send(stock('a'))
        await new Promise<void>((resolve) => call.stream.session!.ping(() => resolve()))
        answered = true
        await call.stall()
      })
      return {
        rig: grpcRigOver([server.port]),
        there: () => answered,
        gone: () => server.calls[0]!.stream.rstCode === 8,
      }
    },
    sent: true,
    settled: ['cancelled'],
  },
  {
    name: 'during a backoff',
    async open() {
      const server = await serveGrpc((call) => call.finish(14, 'busy', { 'grpc-retry-pushback-ms': '30000' }))
      const rig = grpcRigOver([server.port], { timeoutMs: 60_000 })
      return { rig, there: () => rig.attempts.outcomes.length === 1, gone: () => server.streams === 1 }
    },
    sent: true,
    settled: ['failure'],
  },
]

const WAYS: readonly [string, (kind: Kind, rig: GrpcRig) => { ended: Promise<{ error: unknown }>; stop(): void }][] = [
  [
    'its signal',
    (kind, rig) => {
      const controller = new AbortController()
      const { signal } = controller
      const ended = kind.run(rig.client, { signal, idempotent: true, timeout: '1m' }).then((end) => {
        expect(getEventListeners(signal, 'abort')).toEqual([])
        return end
      })
      return { ended, stop: () => controller.abort(new Error('enough')) }
    },
  ],
  [
    'its own cancel',
    (kind, rig) => {
      const { ended, cancel } = kind.begin(rig.another({ idempotent: true }), { deadline: Date.now() + 60_000 })
      return { ended, stop: cancel }
    },
  ],
]

describe.each(WAYS)('a call that ends by %s', (way, begin) => {
  it.each(PHASES)('$name', async ({ open, sent, settled }) => {
    for (const kind of [...KINDS, GET]) {
      const { rig, there, gone } = await open()
      const { ended, stop } = begin(kind, rig)
      await until(there)
      stop()
      const error = (await ended).error as grpc.ServiceError
      const cause = causeOf(error)
      expect([kind.name, error.code, cause.code, cause.sent]).toEqual([
        kind.name,
        grpc.status.CANCELLED,
        'cancelled',
        sent,
      ])
      if (way === 'its signal') expect((cause.cause as Error).message).toBe('enough')
      await until(() => gone?.() !== false)
      expect(rig.attempts.outcomes.map(({ verdict }) => verdict)).toEqual(settled)
      expect([rig.attempts.admitted, rig.calls.outcomes.length, rig.endedCalls.length]).toEqual([
        settled.length,
        rig.calls.admitted,
        1,
      ])
      expect(rig.cluster.endpoints.map(({ pending }) => pending)).toEqual(rig.cluster.endpoints.map(() => 0))
      rig.close()
      await until(() => rig.transport.connections === 0)
    }
  })
})

it('4,000 calls on one signal leave no listener, no timer and no stream behind', async () => {
  const server = await serveGrpc(answerWell)
  const rig = grpcRigOver([server.port], { timeoutMs: 60_000 })
  await rig.client.promises.get({ sku: 'a' })
  const { signal } = new AbortController()
  const timers = (): number => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length
  const before = timers()
  for (let round = 0; round < 20; round++) {
    const kinds = Array.from({ length: 40 }, () => [...KINDS, GET]).flat()
    for (const { error } of await Promise.all(kinds.map((kind) => kind.run(rig.client, { signal })))) {
      expect(error).toBeUndefined()
    }
  }
  expect(getEventListeners(signal, 'abort')).toEqual([])
  expect([rig.endpoint.pending, rig.attempts.outcomes.length, server.connections]).toEqual([0, 4_001, 1])
  await until(() => server.calls.every(({ gone }) => gone) && timers() <= before)
})

describe('a stream that is destroyed', () => {
  const STREAMS: Readonly<
    Record<string, (rig: GrpcRig) => grpc.ClientReadableStream<Stock> | grpc.ClientWritableStream<Item>>
  > = {
    'of answers': ({ client }) => client.watch({ sku: 'a' }),
    'of requests': ({ client }) => {
      const call = client.upload(() => {})
      call.write({ sku: 'a' })
      return call
    },
    'both ways': ({ client }) => {
      const call = client.chat()
      call.write({ sku: 'a' })
      return call
    },
  }

  it.each(Object.entries(STREAMS))('%s ends for the peer', async (_name, begin) => {
    const server = await serveGrpc((call) => call.stall())
    const rig = grpcRigOver([server.port])
    for (const n of [1, 2]) {
      const call = begin(rig)
      await until(() => server.streams === n)
      call.destroy()
      await until(() => server.calls[n - 1]!.stream.rstCode === 8)
    }
    expect(rig.attempts.outcomes.map(({ verdict }) => verdict)).toEqual(['cancelled', 'cancelled'])
    expect(rig.endpoint.pending).toBe(0)
  })

  it('by leaving a loop over it ends for the peer', async () => {
    const server = await serveGrpc(async (call) => {
      call.send(stock('a'))
      await call.stall()
    })
    const rig = grpcRigOver([server.port])
    for await (const { sku } of rig.client.watch({ sku: 'a' })) {
      expect(sku).toBe('a')
      break
    }
    await until(() => server.calls[0]!.stream.rstCode === 8)
  })

  it('of requests that have all been written waits for its answer', async () => {
    const server = await serveGrpc(answerWell)
    const rig = grpcRigOver([server.port])
    let closed = false
    const answer = await new Promise<Stock | undefined>((resolve, reject) => {
      const call = rig.client.upload((error, value) => (error === null ? resolve(value) : reject(error)))
      call.on('close', () => (closed = true))
      call.end({ sku: 'a' })
    })
    expect([answer?.sku, closed]).toEqual(['a', true])
  })
})
