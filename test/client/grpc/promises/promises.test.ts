/**
 * The methods of a client as promises and async iterables: sources that fail or never end, loops
 * that are left, calls that never begin.
 */
import * as grpc from '@grpc/grpc-js'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { deadPort } from '../../../rigs/dead-port.ts'
import { until } from '../../http/rig.ts'
import { answerWell, causeOf, grpcFailure, grpcRigOver, type Item, itemOf, serveGrpc, stock } from '../rig.ts'

const unhandled: unknown[] = []
const note = (reason: unknown): void => void unhandled.push(reason)

beforeEach(() => {
  unhandled.length = 0
  process.on('unhandledRejection', note)
})

afterEach(async () => {
  await new Promise((resolve) => setImmediate(resolve))
  process.off('unhandledRejection', note)
  expect(unhandled).toEqual([])
})

/** Counts what was taken of it, and whether its reader returned it. */
function source(count = Number.POSITIVE_INFINITY) {
  const state = { taken: 0, ended: false }
  async function* items(): AsyncGenerator<Item> {
    try {
      for (; state.taken < count; state.taken++) yield { sku: `${state.taken}` }
    } finally {
      state.ended = true
    }
  }
  return { state, items: items() }
}

describe('a stream of requests', () => {
  it('that throws cancels its call, and what it threw is what the caller gets', async () => {
    const server = await serveGrpc(async (call) => void (await call.messages()))
    const rig = grpcRigOver([server.port])
    const broken = new Error('no more of it')
    async function* failing(): AsyncGenerator<Item> {
      yield { sku: 'a' }
      await until(() => server.streams > 0)
      throw broken
    }
    await expect(rig.client.promises.upload(failing())).rejects.toBe(broken)
    await until(() => server.calls[0]!.gone)
    await expect(rig.client.promises.chat(failing()).next()).rejects.toBe(broken)
    await until(() => server.calls.every(({ gone }) => gone) && rig.endpoint.pending === 0)
    expect(rig.attempts.outcomes.map(({ verdict }) => verdict)).toEqual(['cancelled', 'cancelled'])
  })

  it('that is endless ends with the answer, and with the failure', async () => {
    const server = await serveGrpc(async (call, _headers, nth) => {
      await call.message()
      if (nth % 2 === 0) call.answer(stock('enough'))
      else call.finish(grpc.status.RESOURCE_EXHAUSTED, 'enough')
    })
    const rig = grpcRigOver([server.port])
    const one = source()
    expect((await rig.client.promises.upload(one.items)).sku).toBe('enough')
    const two = source()
    expect((await grpcFailure(rig.client.promises.upload(two.items))).details).toBe('enough')
    const three = source()
    for await (const { sku } of rig.client.promises.chat(three.items)) expect(sku).toBe('enough')
    const four = source()
    expect((await grpcFailure(rig.client.promises.chat(four.items).next())).details).toBe('enough')
    await until(() => [one, two, three, four].every(({ state }) => state.ended))
    await until(() => rig.endpoint.pending === 0)
  })

  it('of which nothing may be sent is not read on', async () => {
    const rig = grpcRigOver([await deadPort()], { retry: { attempts: 1 } })
    const { state, items } = source()
    const error = await grpcFailure(rig.client.promises.upload(items))
    expect([causeOf(error).code, causeOf(error).sent]).toEqual(['connect-failed', false])
    expect(causeOf(error).message).toMatch(/ ms: no connection could be made: connect ECONNREFUSED 127\.0\.0\.1:\d+$/)
    await until(() => state.ended)
  })
})

describe('a stream of answers', () => {
  it('begins with the first that is asked for, and not before', async () => {
    const server = await serveGrpc(answerWell)
    const rig = grpcRigOver([server.port])
    const { state, items } = source(2)
    const chat = rig.client.promises.chat(items)
    const watch = rig.client.promises.watch({ sku: 'a' })
    await new Promise((resolve) => setImmediate(resolve))
    expect([rig.calls.admitted, state.taken]).toEqual([0, 0])
    expect((await chat.next()).value?.sku).toBe('0')
    expect((await watch.next()).value?.sku).toBe('a')
    expect([(await chat.next()).done, (await watch.next()).done]).toEqual([true, true])
  })

  it('ends its requests when its loop is left', async () => {
    const server = await serveGrpc(async (call) => {
      for (let message = await call.message(); message !== undefined; message = await call.message()) {
        call.send(stock(itemOf(message).sku))
      }
    })
    const rig = grpcRigOver([server.port])
    const { state, items } = source()
    for await (const { sku } of rig.client.promises.chat(items)) if (sku === '3') break
    await until(() => state.ended && server.calls[0]!.gone && rig.endpoint.pending === 0)
    expect(rig.attempts.outcomes.map(({ verdict }) => verdict)).toEqual(['cancelled'])
  })
})
