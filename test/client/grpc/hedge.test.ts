/**
 * A second gRPC attempt beside one that is late: the first answer wins, and the loser hears of it.
 */
import * as grpc from '@grpc/grpc-js'
import { describe, expect, it } from 'vitest'
import type { GrpcScript, ScriptedGrpcCall } from '../../rigs/scripted-grpc-server.ts'
import { until } from '../http/rig.ts'
import { GET, KINDS } from './kinds.ts'
import {
  answerWell,
  causeOf,
  type GrpcRig,
  type GrpcRigOptions,
  grpcFailure,
  grpcRigOver,
  itemOf,
  serveGrpc,
  stock,
} from './rig.ts'

/** Once the hedge is due; long enough for an attempt to be on its way. */
const HEDGE = { after: 30, maxExtraLoad: 1 }

/**
 * A rig whose connections stand, so that a late attempt is on its way when its hedge is due. Counts
 * begin after that.
 */
async function hedged(servers: readonly Late[], options?: GrpcRigOptions): Promise<GrpcRig> {
  const rig = grpcRigOver(
    servers.map(({ port }) => port),
    { hedge: HEDGE, ...options },
  )
  for (const _ of servers) await rig.client.promises.take({ sku: 'warm' }, { retry: false })
  for (const witness of [rig.attempts, rig.calls]) {
    witness.admitted = 0
    witness.outcomes.length = 0
  }
  rig.endedCalls.length = 0
  return rig
}

interface Late {
  readonly port: number
  /** Without those that made the connection. */
  readonly calls: ScriptedGrpcCall[]
}

async function serve(script: GrpcScript): Promise<Late> {
  const calls: ScriptedGrpcCall[] = []
  const { port } = await serveGrpc((call, headers, nth) => {
    if (nth === 0) return answerWell(call, headers, nth)
    calls.push(call)
    return script(call, headers, calls.length - 1)
  })
  return { port, calls }
}

const stall: GrpcScript = async (call) => {
  await call.message()
  await call.stall()
}

async function expectBalance(rig: GrpcRig): Promise<void> {
  await until(() => rig.cluster.endpoints.every(({ pending }) => pending === 0))
  expect(rig.attempts.outcomes.length).toBe(rig.attempts.admitted)
  expect(rig.calls.outcomes.length).toBe(rig.calls.admitted)
  expect(rig.endedCalls.length).toBe(rig.calls.admitted)
}

describe('a hedge', () => {
  it('answers for an attempt that is late, which is cancelled at its server and blamed on nobody', async () => {
    const [slow, fast] = [await serve(stall), await serve(answerWell)]
    const rig = await hedged([slow, fast])
    expect((await rig.client.promises.get({ sku: 'a' })).sku).toBe('a')
    expect(rig.attempts.outcomes.map(({ verdict }) => verdict)).toEqual(['success', 'cancelled'])
    await until(() => slow.calls[0]!.gone)
    expect(slow.calls[0]!.stream.rstCode).toBe(8)
    expect(fast.calls[0]!.headers['grpc-previous-rpc-attempts']).toBe('1')
    await expectBalance(rig)
  })

  it('and the first attempt may both answer: the caller gets one of them, once', async () => {
    for (let round = 0; round < 5; round++) {
      let go = (): void => {}
      const both = new Promise<void>((resolve) => {
        go = resolve
      })
      const script: GrpcScript = async (call) => {
        const { sku } = itemOf(await call.message())
        await both
        call.answer(stock(sku))
      }
      const [one, two] = [await serve(script), await serve(script)]
      const rig = await hedged([one, two])
      let answers = 0
      const answered = new Promise<unknown>((resolve) => {
        rig.client.get({ sku: 'a' }, (error, value) => {
          answers += 1
          resolve(error ?? value?.sku)
        })
      })
      await until(() => one.calls.length + two.calls.length === 2)
      go()
      expect(await answered).toBe('a')
      await until(() => one.calls[0]!.gone && two.calls[0]!.gone)
      expect(answers).toBe(1)
      expect(rig.attempts.outcomes.map(({ verdict }) => verdict).sort()).toEqual(['cancelled', 'success'])
      await expectBalance(rig)
    }
  })

  it('that fails waits for the first attempt, and both failures are told', async () => {
    let go = (): void => {}
    const late = new Promise<void>((resolve) => {
      go = resolve
    })
    const slow = await serve(async (call, headers, nth) => {
      await late
      if (nth === 0) await answerWell(call, headers, nth)
      else call.finish(grpc.status.UNKNOWN, 'late')
    })
    const bad = await serve((call) => call.finish(grpc.status.UNKNOWN, 'no'))
    const rig = await hedged([slow, bad])
    const answer = rig.client.promises.get({ sku: 'a' })
    await until(() => rig.attempts.outcomes.length === 1)
    go()
    expect((await answer).sku).toBe('a')
    const error = await grpcFailure(rig.client.promises.get({ sku: 'a' }))
    expect(causeOf(error).attempts.length).toBe(rig.attempts.outcomes.length - 2)
    await expectBalance(rig)
  })

  it('is paid from the budget of retries: without one, there is none', async () => {
    const server = await serve(async (call, headers, nth) => {
      await new Promise((resolve) => setTimeout(resolve, 90))
      await answerWell(call, headers, nth)
    })
    const other = await serve(answerWell)
    const rig = await hedged([server, other], { paidRetries: 0, retry: { budget: { ratio: 0.1 } } })
    await rig.client.promises.get({ sku: 'a' })
    expect([rig.attempts.admitted, other.calls.length]).toEqual([1, 0])
    const paying = await hedged([server, other])
    await paying.client.promises.get({ sku: 'a' })
    expect(paying.attempts.admitted).toBe(2)
  })

  it('is of no call that must not be executed twice, and of no stream', async () => {
    const server = await serveGrpc(async (call, headers, nth) => {
      await new Promise((resolve) => setTimeout(resolve, 90))
      await answerWell(call, headers, nth)
    })
    const rig = grpcRigOver([server.port, server.port], { hedge: HEDGE })
    for (const kind of KINDS) expect((await kind.run(rig.client)).error).toBeUndefined()
    for (const kind of KINDS.slice(1)) expect((await kind.run(rig.client, { idempotent: true })).error).toBeUndefined()
    expect([rig.attempts.admitted, server.streams]).toEqual([7, 7])
    await expectBalance(rig)
  })

  it('of a short stream of requests sends all of them once more', async () => {
    const received: string[][] = []
    const take = async (call: Parameters<GrpcScript>[0]): Promise<void> => {
      received.push((await call.messages()).map((bytes) => itemOf(bytes).sku))
    }
    const slow = await serve(async (call) => {
      await take(call)
      await call.stall()
    })
    const fast = await serve(async (call) => {
      await take(call)
      call.answer(stock('all'))
    })
    const rig = await hedged([slow, fast], { client: { shortStreams: ['upload'], idempotent: ['upload'] } })
    const { sku } = await rig.client.promises.upload([{ sku: '1' }, { sku: '2' }, { sku: '3' }])
    expect([sku, received]).toEqual([
      'all',
      [
        ['1', '2', '3'],
        ['1', '2', '3'],
      ],
    ])
    await until(() => slow.calls[0]!.gone)
    await expectBalance(rig)
  })

  it('ends with the call that is cancelled, at both servers', async () => {
    const [one, two] = [await serve(stall), await serve(stall)]
    const rig = await hedged([one, two])
    const controller = new AbortController()
    const ended = GET.run(rig.client, { signal: controller.signal })
    await until(() => one.calls.length + two.calls.length === 2)
    controller.abort()
    expect((await ended).error?.code).toBe(grpc.status.CANCELLED)
    await until(() => one.calls[0]!.gone && two.calls[0]!.gone)
    expect(rig.attempts.outcomes.map(({ verdict }) => verdict)).toEqual(['cancelled', 'cancelled'])
    await expectBalance(rig)
  })
})
