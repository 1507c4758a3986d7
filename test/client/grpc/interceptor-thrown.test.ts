/**
 * What an interceptor throws, or its promises reject with, ends its one call, once, and harms
 * nothing else.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import * as grpc from '@grpc/grpc-js'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { until } from '../http/rig.ts'
import { KINDS, type Kind } from './kinds.ts'
import { answerWell, causeOf, type GrpcRig, grpcRigOver, itemOf, serveGrpc, stock } from './rig.ts'

const boom = new Error('boom')
let escaped: unknown[] = []
let warnings: string[] = []
const ORIGINS = ['uncaughtException', 'unhandledRejection'] as const
const kept = new Map<string, NodeJS.UncaughtExceptionListener[]>()
const escaping = (error: unknown): number => escaped.push(error)
const warn = ({ name, message }: Error): number => (name === 'InmeshWarning' ? warnings.push(message) : 0)

beforeEach(() => {
  escaped = []
  warnings = []
  for (const origin of ORIGINS) {
    kept.set(origin, process.listeners(origin as 'uncaughtException'))
    process.removeAllListeners(origin)
    process.on(origin, escaping)
  }
  process.on('warning', warn)
})

afterEach(() => {
  for (const [origin, listeners] of kept) {
    process.removeAllListeners(origin)
    for (const each of listeners) process.on(origin, each)
  }
  process.removeListener('warning', warn)
})

type Fails = () => never | Promise<never>
const throwing = (): never => {
  throw boom
}
const rejecting: Fails = async () => {
  await Promise.resolve()
  throw boom
}

/** An interceptor made of `requester`, and of `listener` for what comes back. */
function made(requester: grpc.Requester, listener?: grpc.Listener): grpc.Interceptor {
  const start: grpc.Requester['start'] = (metadata, _listener, go) => go(metadata, listener!)
  return (options, next) =>
    new grpc.InterceptingCall(next(options), { ...(listener !== undefined && { start }), ...requester })
}

const PLACES: Readonly<Record<string, (fails: Fails) => grpc.Interceptor>> = {
  start: (fails) => made({ start: fails }),
  'start, after it has gone on': (fails) =>
    made({
      start(metadata, listener, go) {
        go(metadata, listener)
        return fails()
      },
    }),
  sendMessage: (fails) => made({ sendMessage: fails }),
  halfClose: (fails) => made({ halfClose: fails }),
  onReceiveMetadata: (fails) => made({}, { onReceiveMetadata: fails }),
  onReceiveMessage: (fails) => made({}, { onReceiveMessage: fails }),
  onReceiveStatus: (fails) => made({}, { onReceiveStatus: fails }),
}
const HOW = { throws: throwing, 'rejects with': rejecting }
const passing = made({}, {})

async function failsWithIt(kind: Kind, begin: (rig: GrpcRig) => ReturnType<Kind['run']>, rig: GrpcRig): Promise<void> {
  const { error } = await begin(rig)
  expect([kind.name, error?.code]).toEqual([kind.name, grpc.status.INTERNAL])
  expect(error?.details).toMatch(/^an interceptor of \/shop\.Inventory\/\w+ to '[^']+' failed: boom$/)
  expect(causeOf(error).code).toBe('cancelled')
  expect(causeOf(error).cause).toBe(boom)
  await until(() => rig.cluster.endpoints.every((each) => each.pending === 0))
}

describe.each(Object.keys(PLACES))('an interceptor that fails in %s', (place) => {
  it.each(Object.keys(HOW) as (keyof typeof HOW)[])('ends its call with what it %s', async (how) => {
    const server = await serveGrpc(answerWell)
    const rig = grpcRigOver([server.port], { timeoutMs: 60_000 })
    const failing = PLACES[place]!(HOW[how])
    for (const kind of KINDS) {
      for (const interceptors of [[failing], [passing, failing], [failing, passing]]) {
        const client = rig.another({ interceptors })
        await failsWithIt(kind, () => kind.run(client), rig)
        await failsWithIt(kind, () => kind.begin(client).ended, rig)
      }
      await failsWithIt(kind, () => kind.begin(rig.client, { interceptors: [failing] }).ended, rig)
      const options = { interceptor_providers: [() => failing] }
      await failsWithIt(kind, () => kind.begin(rig.client, options).ended, rig)
    }
    // The peer has heard of each that reached it.
    await until(() => server.calls.every(({ gone }) => gone))
    expect((await rig.client.promises.take({ sku: 'next' })).sku).toBe('next')
    expect(escaped).toEqual([])
  })
})

describe('an interceptor that fails', () => {
  it('before it has made a call ends the call, and so does one that returns none', async () => {
    const server = await serveGrpc(answerWell)
    const rig = grpcRigOver([server.port])
    const early: grpc.Interceptor = () => throwing()
    const late: grpc.Interceptor = (options, next) => {
      next(options)
      return throwing()
    }
    for (const kind of KINDS) {
      for (const interceptor of [early, late]) {
        await failsWithIt(kind, () => kind.begin(rig.client, { interceptors: [interceptor] }).ended, rig)
      }
      const none = (() => undefined) as unknown as grpc.Interceptor
      const { error } = await kind.begin(rig.client, { interceptors: [none] }).ended
      expect(error?.details).toContain('it returned no InterceptingCall')
    }
    expect(server.streams).toBe(0)
    expect(escaped).toEqual([])
  })

  it('says whether the peer may have acted', async () => {
    const server = await serveGrpc(answerWell)
    const rig = grpcRigOver([server.port])
    const sent = async (interceptor: grpc.Interceptor): Promise<boolean> => {
      const { error } = await KINDS[0]!.run(rig.another({ interceptors: [interceptor] }))
      return causeOf(error).sent
    }
    expect(await sent(PLACES.onReceiveStatus!(throwing))).toBe(true)
    expect(await sent(PLACES.start!(throwing))).toBe(false)
  })

  it('harms no call made in the same turn', async () => {
    const server = await serveGrpc(answerWell)
    const rig = grpcRigOver([server.port])
    await rig.client.promises.take({ sku: 'warm' })
    const interceptors = [PLACES.onReceiveMessage!(throwing)]
    const calls = Array.from(
      { length: 20 },
      (_, i) => KINDS[0]!.begin(rig.client, i % 2 === 0 ? { interceptors } : {}).ended,
    )
    const codes = (await Promise.all(calls)).map(({ error }) => error?.code)
    expect(codes).toEqual(calls.map((_, i) => (i % 2 === 0 ? grpc.status.INTERNAL : undefined)))
    expect(escaped).toEqual([])
  })

  it('after it has handed on the status is a warning, and the call has its answer', async () => {
    const server = await serveGrpc(answerWell)
    const rig = grpcRigOver([server.port])
    const late = made(
      {},
      {
        onReceiveStatus(status, pass) {
          pass(status)
          throw boom
        },
      },
    )
    const { error, answers } = await KINDS[0]!.begin(rig.client, { interceptors: [late] }).ended
    expect([error, answers.length]).toEqual([undefined, 1])
    await until(() => warnings.length === 1)
    expect(warnings[0]).toMatch(
      /^an interceptor of \/shop\.Inventory\/Take to .* failed: boom, after its call had ended$/,
    )
    expect(escaped).toEqual([])
  })

  it('leaves no writer waiting, and calls back in the context of the call and of the write', async () => {
    const server = await serveGrpc(answerWell)
    const rig = grpcRigOver([server.port])
    const storage = new AsyncLocalStorage<string>()
    const seen: unknown[] = []
    // It keeps the first message until its start has failed.
    const interceptors = [made({ start: rejecting })]
    await new Promise<void>((resolve) => {
      const call = storage.run('call', () =>
        rig.client.upload(new grpc.Metadata(), { interceptors }, (error) => {
          seen.push(['callback', storage.getStore(), error?.code])
        }),
      )
      storage.run('write', () =>
        call.write({ sku: 'a' }, () => {
          seen.push(['written', storage.getStore()])
          resolve()
        }),
      )
    })
    expect(seen).toEqual([
      ['callback', 'call', grpc.status.INTERNAL],
      ['written', 'write'],
    ])
  })

  it('while it is cancelled ends the call all the same', async () => {
    const server = await serveGrpc((call) => call.stall())
    const rig = grpcRigOver([server.port])
    for (const kind of KINDS) {
      const call = kind.begin(rig.client, { interceptors: [made({ cancel: throwing })] })
      await until(() => server.calls.at(-1)?.gone === false)
      call.cancel()
      expect(causeOf((await call.ended).error).cause).toBe(boom)
      await until(() => rig.endpoint.pending === 0)
    }
    expect(escaped).toEqual([])
  })

  it('with what cannot be shown, or hands on no status, ends its call as well', async () => {
    const server = await serveGrpc(answerWell)
    const rig = grpcRigOver([server.port])
    const { proxy, revoke } = Proxy.revocable({}, {})
    revoke()
    const odd = [
      ...[proxy, null, undefined, 'text'].flatMap((thrown) => [
        made({
          start() {
            throw thrown
          },
        }),
        made({
          async start() {
            await Promise.resolve()
            throw thrown
          },
        }),
      ]),
      made({}, { onReceiveStatus: (_status, pass) => pass(undefined as never) }),
      made({}, { onReceiveStatus: (_status, pass) => pass({} as never) }),
    ]
    for (const kind of KINDS) {
      for (const interceptor of odd) {
        const { error } = await kind.begin(rig.client, { interceptors: [interceptor] }).ended
        expect([error?.code, causeOf(error).code]).toEqual([grpc.status.INTERNAL, 'cancelled'])
      }
    }
    await until(() => rig.endpoint.pending === 0)
    expect(escaped).toEqual([])
  })

  it('hears no more of its call', async () => {
    const server = await serveGrpc(async (call) => {
      const { sku } = itemOf(await call.message())
      for (let i = 0; i < 3; i++) call.send(stock(sku))
      call.finish()
    })
    const rig = grpcRigOver([server.port])
    let heard = 0
    const failing = made(
      {},
      {
        onReceiveMessage() {
          heard += 1
          throw boom
        },
        onReceiveStatus() {
          heard += 1
        },
      },
    )
    const watch = KINDS.find(({ name }) => name === 'watch')!
    await failsWithIt(watch, () => watch.begin(rig.client, { interceptors: [failing] }).ended, rig)
    expect(heard).toBe(1)
  })
})
