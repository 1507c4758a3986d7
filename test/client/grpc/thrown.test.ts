/**
 * What a caller's callback throws is an uncaught exception of the process, as in grpc-js, and harms
 * no other call.
 */
import * as grpc from '@grpc/grpc-js'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { deadPort } from '../../rigs/dead-port.ts'
import { until } from '../http/rig.ts'
import { answerWell, type GrpcRig, grpcEndpoint, grpcFailure, grpcRigOver, itemOf, serveGrpc, stock } from './rig.ts'

let uncaught: unknown[] = []
let ours: NodeJS.UncaughtExceptionListener[] = []
const listen = (error: unknown, origin: string): number =>
  uncaught.push(origin === 'uncaughtException' ? error : origin)

beforeEach(() => {
  uncaught = []
  ours = process.listeners('uncaughtException')
  process.removeAllListeners('uncaughtException')
  process.on('uncaughtException', listen)
})

afterEach(() => {
  process.removeAllListeners('uncaughtException')
  for (const each of ours) process.on('uncaughtException', each)
})

function boom(what: string): () => never {
  return () => {
    throw what
  }
}

/** Nothing of the call is left, and the next one is answered. */
async function goesOn(rig: GrpcRig): Promise<void> {
  await until(() => rig.cluster.endpoints.every((each) => each.pending === 0))
  expect((await rig.client.promises.take({ sku: 'next' })).sku).toBe('next')
}

const WAYS: Readonly<Record<string, (rig: GrpcRig, what: () => never) => unknown>> = {
  'the callback of an answer': (rig, what) => rig.client.take({ sku: 'a' }, what),
  'the callback after a retry': (rig, what) => rig.client.get({ sku: 'flaky' }, what),
  'the callback of a failure': (rig, what) => rig.client.take({ sku: 'fails' }, what),
  'the callback at the deadline': (rig, what) =>
    rig.client.take({ sku: 'never' }, new grpc.Metadata(), { deadline: Date.now() + 30 }, what),
  'the callback of a cancelled call': (rig, what) => setTimeout(() => rig.client.take({ sku: 'never' }, what).cancel()),
  'the callback of a stream of requests': (rig, what) => rig.client.upload(what).end({ sku: 'a' }),
  'a listener for metadata': (rig, what) => rig.client.watch({ sku: 'many' }).resume().on('metadata', what),
  'a listener for metadata of one answer': (rig, what) => rig.client.take({ sku: 'a' }, () => {}).on('metadata', what),
  'a listener for data': (rig, what) => rig.client.watch({ sku: 'many' }).once('data', what),
  'a listener for the end': (rig, what) => rig.client.watch({ sku: 'many' }).resume().on('end', what),
  'a listener for a status': (rig, what) => rig.client.watch({ sku: 'many' }).resume().on('status', what),
  'a listener for an error': (rig, what) => rig.client.watch({ sku: 'fails' }).resume().on('error', what),
  'the callback of a write': (rig, what) => {
    const call = rig.client.chat()
    call.resume().write({ sku: 'a' }, what)
    call.end()
  },
}

/** Hands on all that it is given. */
const passing: grpc.Interceptor = (options, next) =>
  new grpc.InterceptingCall(next(options), {
    start: (metadata, _listener, go) =>
      go(metadata, {
        onReceiveMetadata: (headers, pass) => pass(headers),
        onReceiveMessage: (message, pass) => pass(message),
        onReceiveStatus: (status, pass) => pass(status),
      }),
  })

const CLIENTS: Readonly<Record<string, grpc.Interceptor[]>> = {
  'without interceptors': [],
  'behind two interceptors': [passing, passing],
}
const TABLE = Object.keys(CLIENTS).flatMap((client) => Object.keys(WAYS).map((way) => [way, client] as const))

describe('what a callback throws', () => {
  it.each(TABLE)('is uncaught, once, and the mesh goes on: %s, of a client %s', async (name, client) => {
    const seen = new Set<string>()
    const server = await serveGrpc(async (call) => {
      const { sku } = itemOf(await call.message())
      if (sku === 'fails') call.finish(13, 'no')
      else if (sku === 'never') await call.stall()
      else if (sku === 'flaky' && !seen.has(sku)) call.finish(14, 'again')
      else if (sku === 'many') {
        for (const each of ['a', 'b', 'c']) call.send(stock(each))
        call.finish()
      } else call.answer(stock(sku))
      seen.add(sku)
    })
    const interceptors = CLIENTS[client]!
    const rig = grpcRigOver([server.port], { timeoutMs: 60_000, client: { interceptors } })
    await rig.client.promises.take({ sku: 'first' })
    WAYS[name]!(rig, boom(name))
    await until(() => uncaught.length > 0)
    await goesOn(rig)
    await new Promise((resolve) => setImmediate(resolve))
    expect(uncaught).toEqual([name])
  })

  it('does not keep others that wait for the same connection from their answer', async () => {
    const rig = grpcRigOver([await deadPort()], { timeoutMs: 60_000, retry: { attempts: 1 } })
    rig.client.take({ sku: 'a' }, boom('a'))
    rig.client.take({ sku: 'b' }, boom('b'))
    const third = await grpcFailure(rig.client.promises.take({ sku: 'c' }))
    expect(third.code).toBe(14)
    await until(() => uncaught.length === 2)
    expect(uncaught).toEqual(['a', 'b'])
    const server = await serveGrpc(answerWell)
    rig.cluster.remove(rig.endpoint)
    rig.cluster.add(grpcEndpoint(server.port))
    await goesOn(rig)
  })
})
