/**
 * A stream of answers as an async iterable: how it may be left, while it gives an answer and while
 * it waits for one.
 */
import * as grpc from '@grpc/grpc-js'
import { describe, expect, it } from 'vitest'
import { until } from '../http/rig.ts'
import { grpcFailure, grpcRigOver, serveGrpc, stock } from './rig.ts'

/** Two answers, and then none for ever. */
async function twoOnly() {
  const server = await serveGrpc(async (call) => {
    await call.message()
    call.send(stock('a'))
    call.send(stock('b'))
    await call.stall()
  })
  return { server, rig: grpcRigOver([server.port]) }
}

const KINDS = ['watch', 'chat'] as const

describe.each(KINDS)('an iterator of %s', (kind) => {
  const request = kind === 'watch' ? { sku: 'a' } : [{ sku: 'a' }]

  it.each(['return', 'throw'] as const)('that waits for an answer ends at once by %s()', async (how) => {
    const { server, rig } = await twoOnly()
    const iterator = rig.client.promises[kind](request as never)
    await iterator.next()
    await iterator.next()
    const waiting = iterator.next()
    const reason = new Error('enough')
    if (how === 'return') expect(await iterator.return()).toEqual({ done: true, value: undefined })
    else await expect(iterator.throw(reason)).rejects.toBe(reason)
    expect(await waiting).toEqual({ done: true, value: undefined })
    expect(await iterator.next()).toEqual({ done: true, value: undefined })
    await until(() => server.calls[0]!.gone && rig.endpoint.pending === 0)
    expect(rig.attempts.outcomes.map(({ verdict }) => verdict)).toEqual(['cancelled'])
  })

  it('ends with break, with an error of the loop, and with `await using`', async () => {
    const { server, rig } = await twoOnly()
    const reason = new Error('of the loop')
    for await (const _ of rig.client.promises[kind](request as never)) break
    const loop = async (): Promise<void> => {
      for await (const _ of rig.client.promises[kind](request as never)) throw reason
    }
    await expect(loop()).rejects.toBe(reason)
    const disposed = rig.client.promises[kind](request as never)
    await disposed.next()
    await disposed[Symbol.asyncDispose]()
    await until(() => server.streams === 3 && server.calls.every(({ gone }) => gone) && rig.endpoint.pending === 0)
  })

  it('that was left before it began makes no call', async () => {
    const { server, rig } = await twoOnly()
    const iterator = rig.client.promises[kind](request as never)
    await iterator.return()
    expect(await iterator.next()).toEqual({ done: true, value: undefined })
    expect([server.streams, rig.calls.admitted]).toEqual([0, 0])
  })

  it('gives each answer to one of two loops, and an error in the middle to the one that waits', async () => {
    const server = await serveGrpc(async (call) => {
      await call.message()
      for (const sku of ['a', 'b', 'c', 'd']) call.send(stock(sku))
      call.finish(grpc.status.DATA_LOSS, 'the rest is gone')
    })
    const rig = grpcRigOver([server.port])
    const iterator = rig.client.promises[kind](request as never)
    const skus: string[] = []
    const two = await Promise.all([iterator.next(), iterator.next()])
    for (const { value } of two) skus.push(value!.sku)
    const error = await grpcFailure(
      (async () => {
        for await (const { sku } of iterator) skus.push(sku)
      })(),
    )
    expect([error.code, error.details]).toEqual([grpc.status.DATA_LOSS, 'the rest is gone'])
    expect(skus).toEqual(['a', 'b', 'c', 'd'].slice(0, skus.length))
    expect(await iterator.next()).toEqual({ done: true, value: undefined })
  })
})
