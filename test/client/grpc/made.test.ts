/** A call is what it was when it was made, and one that was given up in that turn never runs. */
import * as grpc from '@grpc/grpc-js'
import { describe, expect, it } from 'vitest'
import type { Duration } from '../../../src/options/duration.ts'
import { until } from '../http/rig.ts'
import { KINDS, type Kind } from './kinds.ts'
import {
  answerWell,
  causeOf,
  type GrpcRig,
  grpcEndpoint,
  grpcFailure,
  grpcRigOver,
  itemOf,
  SHOP,
  serveGrpc,
  stock,
} from './rig.ts'

const ALL: readonly (readonly [string, Kind])[] = KINDS.map((kind) => [kind.name, kind] as const)

describe('the metadata of a call', () => {
  /** Calls whose metadata is one object, changed after each; what each attempt of them carried. */
  async function carried(rig: GrpcRig, come: () => void = () => {}, options: grpc.CallOptions = {}): Promise<void> {
    const metadata = new grpc.Metadata()
    const running = KINDS.map((kind) => {
      metadata.set('kind', kind.name)
      return kind.begin(rig.client, options, metadata).ended
    })
    metadata.set('kind', 'changed')
    metadata.add('more', 'added')
    come()
    for (const { error } of await Promise.all(running)) expect(error).toBeUndefined()
  }

  const kindOf: Readonly<Record<string, string>> = { Take: 'take', Upload: 'upload', Watch: 'watch', Chat: 'chat' }

  function expectOwn(calls: readonly { readonly headers: Readonly<Record<string, unknown>> }[], atLeast: number): void {
    expect(calls.length).toBeGreaterThanOrEqual(atLeast)
    for (const { headers } of calls) {
      const method = String(headers[':path']).split('/').at(-1)!
      expect([headers.kind, headers.more]).toEqual([kindOf[method], undefined])
    }
  }

  it('is that of when it was made, with and without an endpoint and a connection', async () => {
    const server = await serveGrpc(answerWell)
    await carried(grpcRigOver([server.port]))
    const warm = grpcRigOver([server.port])
    await KINDS[0]!.begin(warm.client, {}, metadataOf('kind', 'take')).ended
    await carried(warm)
    const late = grpcRigOver([])
    await carried(late, () => late.cluster.add(grpcEndpoint(server.port)))
    expectOwn(server.calls, 13)
  })

  it('is the same in every attempt, and with call credentials', async () => {
    const server = await serveGrpc(async (call, headers, nth) => {
      if (nth < 4) call.refuse()
      else await answerWell(call, headers, nth)
    })
    const credentials = grpc.credentials.createFromMetadataGenerator((_options, done) =>
      setTimeout(done, 5, null, metadataOf('authorization', 'token')),
    )
    await carried(grpcRigOver([server.port], { retry: { attempts: 4 } }), undefined, { credentials })
    expectOwn(server.calls, 8)
    expect(new Set(server.calls.map(({ headers }) => headers.authorization))).toEqual(new Set(['token']))
  })
})

describe('a stream of answers', () => {
  it('that is read later has the options and the metadata of when it was asked for', async () => {
    const server = await serveGrpc(answerWell)
    const rig = grpcRigOver([server.port])
    const metadata = metadataOf('kind', 'asked')
    const options: { metadata: grpc.Metadata; timeout: Duration } = { metadata, timeout: '20s' }
    const streams = [
      rig.client.promises.watch({ sku: 'a' }, options),
      rig.client.promises.chat([{ sku: 'a' }], options),
    ]
    metadata.set('kind', 'changed')
    options.timeout = 1
    for (const stream of streams) for await (const { sku } of stream) expect(sku).toBe('a')
    expect(server.calls.map(({ headers }) => headers.kind)).toEqual(['asked', 'asked'])
  })

  it('whose options are wrong fails when it is read', async () => {
    const rig = grpcRigOver([])
    const stream = rig.client.promises.watch({ sku: 'a' }, { timeout: -1, metadata: {} })
    await expect(stream.next()).rejects.toThrow(/promises\.watch/)
  })
})

describe('a buffer that is written', () => {
  const same = (bytes: Buffer): Buffer => bytes

  it('may be filled anew at once: every attempt sends what it held', async () => {
    const seen: string[] = []
    const server = await serveGrpc(async (call) => {
      seen.push(itemOf(await call.message()).sku)
      if (seen.length % 2 === 1) call.finish(14, 'again')
      else call.answer(stock('a'))
    })
    const rig = grpcRigOver([server.port, server.port])
    const item = SHOP.service.Get.requestSerialize({ sku: 'hello' })
    const unary = new Promise((resolve) => {
      const bytes = Buffer.from(item)
      rig.client.makeUnaryRequest('/shop.Inventory/Get', same, same, bytes, resolve)
      bytes.fill(0)
    })
    expect([await unary, seen]).toEqual([null, ['hello', 'hello']])
  })
})

describe('a list of requests', () => {
  it('is that of when the call was made', async () => {
    const seen: string[] = []
    const server = await serveGrpc(async (call) => {
      seen.push((await call.messages()).map((bytes) => itemOf(bytes).sku).join())
      call.answer(stock('a'))
    })
    const rig = grpcRigOver([server.port])
    const items = [{ sku: 'a' }, { sku: 'b' }]
    const sent = rig.client.promises.upload(items)
    items.length = 0
    await sent
    expect(seen).toEqual(['a,b'])
  })
})

describe('a call that is cancelled in the turn that made it', () => {
  it.each(ALL)('%s is not sent, and leaves nothing in flight', async (_name, kind) => {
    const server = await serveGrpc((call, headers, nth) =>
      headers.hang === undefined ? answerWell(call, headers, nth) : call.stall(),
    )
    const rig = grpcRigOver([server.port])
    await rig.client.promises.take({ sku: 'warm' })
    const call = kind.begin(rig.client, {}, metadataOf('hang', '1'))
    call.cancel()
    const { error } = await call.ended
    expect([error?.code, causeOf(error).sent]).toEqual([1, false])
    expect(rig.endpoint.pending).toBe(0)
    await rig.client.promises.take({ sku: 'behind it' })
    expect(server.streams).toBe(2)
  })

  it.each(ALL)('%s is not sent, or reset, when one of the next microtasks cancels it', async (_name, kind) => {
    const server = await serveGrpc((call, headers, nth) =>
      headers.hang === undefined ? answerWell(call, headers, nth) : call.stall(),
    )
    const rig = grpcRigOver([server.port])
    await rig.client.promises.take({ sku: 'warm' })
    for (let turns = 0; turns < 12; turns++) {
      const call = kind.begin(rig.client, {}, metadataOf('hang', '1'))
      for (let i = 0; i < turns; i++) await undefined
      call.cancel()
      expect((await call.ended).error?.code).toBe(1)
    }
    await rig.client.promises.take({ sku: 'behind them' })
    await until(() => server.calls.every((call) => call.gone))
  })
})

describe('a call without a message', () => {
  it('of a method that takes a stream half-closes', async () => {
    const heard: number[] = []
    const server = await serveGrpc(async (call) => {
      heard.push((await call.messages()).length)
      call.finish(5)
    })
    const rig = grpcRigOver([server.port])
    expect((await grpcFailure(rig.client.promises.upload([]))).code).toBe(5)
    rig.client
      .chat()
      .on('error', () => {})
      .resume()
      .end()
    await until(() => heard.length === 2)
    expect(heard).toEqual([0, 0])
  })

  it('of a method that takes one is refused at once', async () => {
    const server = await serveGrpc((call) => call.stall())
    const rig = grpcRigOver([server.port])
    const silent: grpc.Interceptor = (options, next) => new grpc.InterceptingCall(next(options), { sendMessage() {} })
    const pushy: grpc.Interceptor = (options, next) => {
      const call = next(options)
      return new grpc.InterceptingCall(call, { sendMessage: () => call.halfClose() })
    }
    for (const interceptors of [[pushy, silent], [pushy]]) {
      const error = await new Promise<grpc.ServiceError | null>((resolve) =>
        rig.client.take({ sku: 'a' }, new grpc.Metadata(), { interceptors, deadline: Date.now() + 20_000 }, resolve),
      )
      expect(error).toMatchObject({ code: 13, details: expect.stringContaining('takes one message') })
    }
  })
})

describe('call credentials', () => {
  const fails = (error: unknown): grpc.CallCredentials =>
    grpc.credentials.createFromMetadataGenerator((_options, done) => done(error as Error))

  it.each([
    ['a status that only a server may give', Object.assign(new Error('no key'), { code: 5 }), 13],
    ['a status of their own', Object.assign(new Error('down'), { code: 14 }), 14],
    ['no status', new Error('no key'), 2],
    ['a code that is none', Object.assign(new Error('no key'), { code: 99 }), 13],
  ])('that fail with %s end the call unsent, and say so', async (_name, error, code) => {
    const server = await serveGrpc(answerWell)
    const rig = grpcRigOver([server.port])
    const failed = (await KINDS[0]!.begin(rig.client, { credentials: fails(error) }).ended).error!
    expect(failed.code).toBe(code)
    expect(causeOf(failed)).toMatchObject({ code: 'cancelled', sent: false })
    expect(server.streams).toBe(0)
    expect(rig.attempts.outcomes.map(({ verdict }) => verdict)).toEqual(['cancelled'])
  })

  it('that throw end the call alone', async () => {
    const server = await serveGrpc(answerWell)
    const rig = grpcRigOver([server.port])
    const credentials = grpc.credentials.createFromMetadataGenerator(() => {
      throw new Error('broken')
    })
    const running = KINDS.map((kind) => kind.begin(rig.client, { credentials }).ended)
    for (const { error } of await Promise.all(running)) expect(error?.code).toBe(2)
    expect((await rig.client.promises.take({ sku: 'a' })).sku).toBe('a')
  })

  it.each<[string, (done: (error: unknown, metadata?: unknown) => void) => unknown, number]>([
    ['reject', async () => Promise.reject(Object.assign(new Error('no token'), { code: 14 })), 14],
    ['give what is no Metadata', (done) => done(null, { authorization: 'me' }), 2],
    ['fail with what throws when it is looked at', (done) => done(hostile()), 2],
    ['have several of one that may come once', (done) => done(null, twice()), 13],
  ])('that %s end their call at once, and never the process', async (_how, generate, code) => {
    const server = await serveGrpc(answerWell)
    const rig = grpcRigOver([server.port])
    const alone = grpc.credentials.createFromMetadataGenerator((_options, done) => generate(done as never) as never)
    const fine = grpc.credentials.createFromMetadataGenerator((_options, done) => done(null, new grpc.Metadata()))
    for (const credentials of [alone, fine.compose(alone), alone.compose(fine)]) {
      const { error } = await KINDS[0]!.begin(rig.client, { credentials }).ended
      expect([error?.code, causeOf(error).sent]).toEqual([code, false])
    }
    expect([server.streams, rig.endpoint.pending]).toEqual([0, 0])
  })

  it('that never answer are bounded by the deadline and by a cancel, and blame no endpoint', async () => {
    const server = await serveGrpc(answerWell)
    const rig = grpcRigOver([server.port], { timeoutMs: 60_000, retry: { attempts: 3, perTryTimeout: 10 } })
    const credentials = grpc.credentials.createFromMetadataGenerator(() => {})
    const late = await KINDS[0]!.begin(rig.client, { credentials, deadline: Date.now() + 60 }).ended
    expect(late.error?.code).toBe(4)
    const call = KINDS[0]!.begin(rig.client, { credentials })
    call.cancel()
    expect((await call.ended).error?.code).toBe(1)
    expect(rig.attempts.outcomes.map(({ verdict }) => verdict)).toEqual(['cancelled', 'cancelled'])
    expect(server.streams).toBe(0)
  })

  it('take no time of the try from the endpoint', async () => {
    const server = await serveGrpc(answerWell)
    const rig = grpcRigOver([server.port], { timeoutMs: 60_000, retry: { attempts: 3, perTryTimeout: 20 } })
    const credentials = grpc.credentials.createFromMetadataGenerator((_options, done) =>
      setTimeout(done, 60, null, metadataOf('authorization', 'late')),
    )
    expect((await KINDS[0]!.begin(rig.client, { credentials }).ended).error).toBeUndefined()
    expect(server.calls.map(({ headers }) => headers.authorization)).toEqual(['late'])
  })

  it('may be composed, say for which service they are, and have no second authorization', async () => {
    const server = await serveGrpc(answerWell)
    const rig = grpcRigOver([server.port])
    let url = ''
    const one = grpc.credentials.createFromMetadataGenerator((options, done) => {
      url = options.service_url
      done(null, metadataOf('authorization', 'a'))
    })
    const other = grpc.credentials.createFromMetadataGenerator((_options, done) => done(null, metadataOf('x', 'b')))
    const composed = one.compose(other)
    expect((await KINDS[0]!.begin(rig.client, { credentials: composed }).ended).error).toBeUndefined()
    expect(server.calls.map(({ headers }) => [headers.authorization, headers.x])).toEqual([['a', 'b']])
    expect(url).toBe('https://inventory/shop.Inventory')
    const twice = await KINDS[0]!.begin(rig.client, { credentials: one }, metadataOf('authorization', 'mine')).ended
    expect(twice.error?.code).toBe(13)
    expect(server.streams).toBe(1)
  })
})

function metadataOf(key: string, value: string): grpc.Metadata {
  const metadata = new grpc.Metadata()
  metadata.set(key, value)
  return metadata
}

function hostile(): unknown {
  const refuse = (): never => {
    throw new Error('do not look')
  }
  return new Proxy({}, { get: refuse, getPrototypeOf: refuse, has: refuse })
}

function twice(): grpc.Metadata {
  const metadata = new grpc.Metadata()
  metadata.add('authorization', 'one')
  metadata.add('authorization', 'two')
  return metadata
}
