import { describe, expect, it } from 'vitest'
import { classify } from '../../../src/resilience/classification.ts'
import { TypicalLatency } from '../../../src/resilience/typical-latency.ts'
import type { GrpcScript, ScriptedGrpcCall } from '../../rigs/scripted-grpc-server.ts'
import { answerWell, type GrpcRig, type GrpcRigOptions, grpcRigOver, type Item, serveGrpc, stock } from './rig.ts'

const silent: GrpcScript = (call) => call.stall()

function usually(ms: number): TypicalLatency {
  const usual = new TypicalLatency()
  usual.learn(ms)
  return usual
}

async function rigOf(script: GrpcScript, options: GrpcRigOptions = {}): Promise<GrpcRig> {
  const { port } = await serveGrpc(script)
  return grpcRigOver([port], { retry: { attempts: 1 }, ...options })
}

async function codeOf(call: PromiseLike<unknown>): Promise<number> {
  return call.then(
    () => 0,
    (error: { code: number }) => error.code,
  )
}

function blamed({ attempts, calls }: GrpcRig): string[] {
  return [...attempts.outcomes, ...calls.outcomes].map(classify)
}

const EXCEEDED = 4

describe('a gRPC call that runs out of time', () => {
  it('at a bound of its own below what is usual is the caller’s; far above it, the peer’s', async () => {
    const rig = await rigOf(silent, { typicalLatency: usually(900) })
    expect(await codeOf(rig.client.promises.take({ sku: 'a' }, { timeout: 300 }))).toBe(EXCEEDED)
    expect(blamed(rig)).toEqual(['none', 'none'])
    rig.attempts.outcomes.length = rig.calls.outcomes.length = 0
    expect(await codeOf(rig.client.promises.take({ sku: 'a' }, { timeout: 2_100 }))).toBe(EXCEEDED)
    expect(blamed(rig)).toEqual(['hard', 'hard'])
  })

  it('is judged alike when the callee is the first to say so', async () => {
    const late: GrpcScript = async (call) => {
      await new Promise((resolve) => setTimeout(resolve, 195))
      call.finish(EXCEEDED, 'late')
    }
    const rig = await rigOf(late, { typicalLatency: usually(300) })
    expect(await codeOf(rig.client.promises.take({ sku: 'a' }, { timeout: 200 }))).toBe(EXCEEDED)
    expect(blamed(rig)).toEqual(['none', 'none'])
    rig.attempts.outcomes.length = rig.calls.outcomes.length = 0
    expect(await codeOf(rig.client.promises.take({ sku: 'a' }, { timeout: 4_000 }))).toBe(EXCEEDED)
    expect(blamed(rig)).toEqual(['hard', 'hard'])
  })

  it('while its own stream of requests gives nothing is the caller’s; after its last request, the peer’s', async () => {
    const rig = await rigOf(silent, { timeoutMs: 400 })
    const stalls = (async function* (): AsyncGenerator<Item> {
      yield { sku: 'a' }
      await new Promise<never>(() => undefined)
    })()
    expect(await codeOf(rig.client.promises.upload(stalls))).toBe(EXCEEDED)
    expect(blamed(rig)).toEqual(['none', 'none'])
    rig.attempts.outcomes.length = rig.calls.outcomes.length = 0
    expect(await codeOf(rig.client.promises.upload([{ sku: 'a' }, { sku: 'b' }]))).toBe(EXCEEDED)
    expect(blamed(rig)).toEqual(['hard', 'hard'])
  })

  it('while a method of shortStreams waits for its requests is the caller’s, too', async () => {
    const rig = await rigOf(silent, { typicalLatency: usually(1), client: { shortStreams: ['upload'] } })
    const never = (async function* (): AsyncGenerator<Item> {
      await new Promise<never>(() => undefined)
    })()
    expect(await codeOf(rig.client.promises.upload(never, { timeout: 300 }))).toBe(EXCEEDED)
    expect(blamed(rig)).toEqual(['none', 'none'])
  })

  it('before a stream that usually begins at once is the peer’s, also where all are streams', async () => {
    let silentNow = false
    const answers: GrpcScript = async (call) => {
      if (silentNow) return call.stall()
      call.send(stock('a'))
      await new Promise((resolve) => setTimeout(resolve, 20))
      call.finish()
    }
    const rig = await rigOf(answers, { typicalLatency: new TypicalLatency() })
    // To connect is no part of what is usual.
    await rig.client.promises.take({ sku: 'a' })
    for await (const _ of rig.client.promises.watch({ sku: 'a' }));
    silentNow = true
    rig.attempts.outcomes.length = rig.calls.outcomes.length = 0
    const reads = (async () => {
      for await (const _ of rig.client.promises.watch({ sku: 'a' }, { timeout: 1_000 }));
    })()
    expect(await codeOf(reads)).toBe(EXCEEDED)
    expect(blamed(rig)).toEqual(['hard', 'hard'])
  })

  it('after its stream has been answered is the caller’s', async () => {
    const begins: GrpcScript = (call) => {
      call.send(stock('a'))
      return call.stall()
    }
    const rig = await rigOf(begins, { typicalLatency: usually(1) })
    const answers: unknown[] = []
    const reads = (async () => {
      for await (const answer of rig.client.promises.watch({ sku: 'a' }, { timeout: 1_000 })) answers.push(answer)
    })()
    expect(await codeOf(reads)).toBe(EXCEEDED)
    expect(answers).toHaveLength(1)
    expect(blamed(rig)).toEqual(['none', 'none'])
  })

  it('longer than a stall of our own loop costs no call', async () => {
    const rig = await rigOf(async (call, headers, nth) => {
      await new Promise((resolve) => setTimeout(resolve, 30))
      await answerWell(call, headers, nth)
    })
    await rig.client.promises.take({ sku: 'a' })
    const calls = Array.from({ length: 20 }, () => rig.client.promises.take({ sku: 'a' }, { timeout: 500 }))
    const end = performance.now() + 1_200
    while (performance.now() < end);
    expect((await Promise.all(calls)).map(({ sku }) => sku)).toEqual(Array(20).fill('a'))
  })
})

describe('a gRPC peer that breaks a call off', () => {
  const waits = async function* (): AsyncGenerator<Item> {
    yield { sku: 'a' }
    await new Promise<never>(() => undefined)
  }
  const ways: [string, (call: ScriptedGrpcCall) => void][] = [
    ['by the end of its connection', (call) => void call.break()],
    ['by a reset', (call) => call.reset(8)],
  ]

  it.each(ways)('%s, after it has waited for the caller, is not blamed', async (_, breakOff) => {
    const rig = await rigOf(async (call) => {
      await call.message()
      setTimeout(breakOff, 1_000, call)
    })
    expect(await codeOf(rig.client.promises.upload(waits()))).not.toBe(0)
    expect(blamed(rig)).toEqual(['none', 'none'])
  })

  it.each(ways)('%s, in the midst of a quick upload, is', async (_, breakOff) => {
    const rig = await rigOf(async (call) => {
      await call.message()
      breakOff(call)
    })
    expect(await codeOf(rig.client.promises.upload(waits()))).not.toBe(0)
    expect(blamed(rig)).toEqual(['hard', 'hard'])
  })
})
