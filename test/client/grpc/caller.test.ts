/**
 * What a caller brings and gets: callbacks and events, metadata, interceptors, credentials,
 * deadlines, async context.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import * as grpc from '@grpc/grpc-js'
import { describe, expect, it } from 'vitest'
import { Call } from '../../../src/core/call.ts'
import { serving } from '../../../src/core/context.ts'
import { deadPort } from '../../rigs/dead-port.ts'
import type { GrpcScript } from '../../rigs/scripted-grpc-server.ts'
import { endpoint, until } from '../http/rig.ts'
import { GET, KINDS, type Kind } from './kinds.ts'
import { answerWell, causeOf, type GrpcRig, grpcFailure, grpcRigOver, type Stock, serveGrpc, stock } from './rig.ts'

describe('a call that cannot begin', () => {
  const REASONS: readonly [string, (rig: GrpcRig) => grpc.CallOptions, number][] = [
    [
      'a local refusal',
      (rig) => {
        rig.attempts.refuseWith = 'concurrency-limited'
        return {}
      },
      grpc.status.RESOURCE_EXHAUSTED,
    ],
    ['a deadline that has passed', () => ({ deadline: Date.now() - 1_000 }), grpc.status.DEADLINE_EXCEEDED],
  ]
  it.each(REASONS)('because of %s is told after the caller has been given it', async (_why, prepare, code) => {
    for (const kind of [...KINDS, GET]) {
      const rig = grpcRigOver([await deadPort()])
      const options = prepare(rig)
      let told = false
      const { ended } = kind.begin(rig.client, options)
      void ended.then(() => {
        told = true
      })
      expect(told).toBe(false)
      const { error } = await ended
      expect([kind.name, error?.code, causeOf(error).sent]).toEqual([kind.name, code, false])
      expect([rig.attempts.admitted, rig.endedCalls.length, rig.endpoint.pending]).toEqual([0, 1, 0])
    }
  })

  it('within a request that was given up, or after the signal fired, is cancelled', async () => {
    for (const kind of [...KINDS, GET]) {
      const rig = grpcRigOver([await deadPort()])
      const caller = { service: 'a', method: 'GET', protocol: 'http', streaming: false, idempotent: true } as const
      const parent = new Call(caller, performance.now(), performance.now() + 60_000, undefined)
      parent.cancel(new Error('gone'))
      const { error } = await serving(parent, () => kind.begin(rig.client).ended)
      expect([error?.code, causeOf(error).code]).toEqual([grpc.status.CANCELLED, 'cancelled'])
      const reason = new Error('enough')
      const aborted = await kind.run(rig.client, { signal: AbortSignal.abort(reason) })
      expect([aborted.error?.code, causeOf(aborted.error).cause]).toEqual([grpc.status.CANCELLED, reason])
    }
  })
})

describe('the async context of the caller', () => {
  const storage = new AsyncLocalStorage<string>()
  const ENDS: readonly [string, GrpcScript][] = [
    ['an answer', answerWell],
    ['UNAVAILABLE', (call) => call.finish(grpc.status.UNAVAILABLE)],
    ['a reset', (call) => call.reset()],
    ['a refused stream', (call) => call.refuse()],
    ['a broken connection', (call) => call.break()],
    ['the deadline', (call) => call.stall()],
  ]

  function watched(rig: GrpcRig, kind: Kind): Promise<string[]> {
    const seen: string[] = []
    const see = (): void => void seen.push(storage.getStore() ?? 'none')
    const options = { deadline: Date.now() + 400 }
    const metadata = new grpc.Metadata()
    return new Promise((resolve) => {
      const end = (): void => {
        see()
        resolve(seen)
      }
      if (kind.name === 'get' || kind.name === 'take') rig.client[kind.name]({ sku: 'a' }, metadata, options, end)
      else if (kind.name === 'upload') rig.client.upload(metadata, options, end).end({ sku: 'a' })
      else {
        const call = kind.name === 'chat' ? rig.client.chat(metadata, options) : undefined
        call?.end({ sku: 'a' })
        const stream = call ?? rig.client.watch({ sku: 'a' }, metadata, options)
        stream.on('metadata', see).on('data', see).on('error', see).on('status', end)
      }
    })
  }

  it.each(ENDS)('is that of its callbacks after %s', async (_end, script) => {
    for (const kind of [...KINDS, GET]) {
      const server = await serveGrpc(async (call, headers, nth) => {
        if (nth === 0) return answerWell(call, headers, nth)
        await call.message()
        await script(call, headers, nth)
      })
      const rig = grpcRigOver([server.port], { retry: { attempts: 2 } })
      // The connection belongs to the first call, and so would whatever it tells.
      await storage.run('first', () => kind.run(rig.client))
      const seen = await storage.run('mine', () => watched(rig, kind))
      expect([kind.name, ...new Set(seen)]).toEqual([kind.name, 'mine'])
    }
  })

  it('is that of its callbacks after a wait for an endpoint, or for a connection that another call began', async () => {
    const server = await serveGrpc(answerWell)
    for (const kind of [...KINDS, GET]) {
      const rig = grpcRigOver([])
      const both = ['one', 'two'].map((name) => storage.run(name, () => watched(rig, kind)))
      await until(() => rig.cluster.waiters === 2)
      rig.cluster.add(endpoint(server.port, { protocol: 'grpc' }))
      for (const [i, seen] of (await Promise.all(both)).entries()) {
        expect([kind.name, ...new Set(seen)]).toEqual([kind.name, ['one', 'two'][i]])
      }
    }
  })
})

describe('cancelling by the client', () => {
  it('is told after the cancel has returned, with its own text', async () => {
    for (const kind of [...KINDS, GET]) {
      const server = await serveGrpc((call) => call.stall())
      const rig = grpcRigOver([server.port])
      const { ended, cancel } = kind.begin(rig.client)
      await until(() => server.streams === 1)
      let told = false
      void ended.then(() => {
        told = true
      })
      cancel()
      expect(told).toBe(false)
      const { error } = await ended
      expect([error?.code, error?.details]).toEqual([grpc.status.CANCELLED, 'Cancelled on client'])
      expect(causeOf(error).attempts.map(({ code }) => code)).toEqual(['cancelled'])
      await until(() => server.calls[0]!.gone)
      expect(server.calls[0]!.stream.rstCode).toBe(8)
      expect([rig.attempts.outcomes.map(({ verdict }) => verdict), rig.endpoint.pending]).toEqual([['cancelled'], 0])
    }
  })

  it('a loop that is left ends the stream at the server, and throws nothing', async () => {
    for (const open of ['watch', 'chat'] as const) {
      const server = await serveGrpc(async (call) => {
        for (let i = 0; !call.gone; i++) {
          call.send(stock(`${i}`))
          await new Promise((resolve) => setTimeout(resolve, 1))
        }
      })
      const rig = grpcRigOver([server.port])
      const seen: Stock[] = []
      const stream =
        open === 'watch' ? rig.client.promises.watch({ sku: 'a' }) : rig.client.promises.chat([{ sku: 'a' }])
      for await (const answer of stream) if (seen.push(answer) === 2) break
      expect(seen.map(({ sku }) => sku)).toEqual(['0', '1'])
      await until(() => server.calls[0]!.gone && rig.attempts.outcomes.length === 1)
      expect(rig.attempts.outcomes.map(({ verdict }) => verdict)).toEqual(['cancelled'])
    }
  })
})

describe('metadata', () => {
  it('of the caller reaches the server, stays as it was, and may be used again', async () => {
    const server = await serveGrpc((call, headers, nth) =>
      nth === 0 ? call.finish(14) : answerWell(call, headers, nth),
    )
    const rig = grpcRigOver([server.port])
    const metadata = new grpc.Metadata()
    metadata.set('x-user', 'ada')
    metadata.add('x-many', 'one')
    metadata.add('x-many', 'two')
    metadata.set('x-bytes-bin', Buffer.of(0, 255, 128))
    const before = JSON.stringify(metadata.toJSON())
    for (const kind of [GET, ...KINDS]) expect((await kind.run(rig.client, { metadata })).error).toBeUndefined()
    expect(JSON.stringify(metadata.toJSON())).toBe(before)
    expect(server.streams).toBe(6)
    for (const { headers } of server.calls) {
      expect([headers['x-user'], headers['x-many'], headers['x-bytes-bin']]).toEqual(['ada', 'one, two', 'AP+A'])
    }
  })

  it('of the mesh is not taken over from a request that is passed on', async () => {
    const server = await serveGrpc(answerWell)
    const rig = grpcRigOver([server.port])
    const metadata = new grpc.Metadata()
    metadata.set('grpc-previous-rpc-attempts', '3')
    metadata.set('inmesh-timeout-ms', '1')
    metadata.set('x-forwarded-client-cert', 'me')
    await rig.client.promises.get({ sku: 'a' }, { metadata, timeout: '20s' })
    const { headers } = server.calls[0]!
    expect(headers['grpc-previous-rpc-attempts']).toBeUndefined()
    expect([headers['inmesh-timeout-ms'], headers['x-forwarded-client-cert']]).toEqual([undefined, undefined])
  })

  it('of the answer, its head and its trailers, reaches the caller, also binary', async () => {
    const server = await serveGrpc(async (call) => {
      await call.messages()
      call.respond({ 'x-head-bin': Buffer.of(1, 255).toString('base64') })
      call.send(stock('a'))
      call.finish(0, '', { 'x-tail': 'end' })
    })
    const rig = grpcRigOver([server.port])
    for (const method of ['get', 'watch', 'chat'] as const) {
      const seen: unknown[] = []
      await new Promise<void>((resolve) => {
        const call =
          method === 'get'
            ? rig.client.get({ sku: 'a' }, () => {})
            : method === 'watch'
              ? rig.client.watch({ sku: 'a' }).resume()
              : rig.client.chat().resume()
        if (method === 'chat') (call as grpc.ClientDuplexStream<unknown, unknown>).end()
        call.on('metadata', (head: grpc.Metadata) => seen.push(head.get('x-head-bin')[0]))
        call.on('status', (end: grpc.StatusObject) => {
          seen.push(end.metadata.get('x-tail')[0])
          resolve()
        })
      })
      expect(seen).toEqual([Buffer.of(1, 255), 'end'])
    }
  })
})

describe('what grpc-js offers its users', () => {
  it('interceptors of a client and of a call are run around everything the mesh does, once a call', async () => {
    const seen: string[] = []
    const interceptor =
      (name: string): grpc.Interceptor =>
      (options, next) =>
        new grpc.InterceptingCall(next(options), {
          start(metadata, listener, forward) {
            seen.push(`${name} start`)
            metadata.set(`x-${name}`, 'yes')
            forward(metadata, {
              onReceiveStatus(end, pass) {
                seen.push(`${name} ${end.code}`)
                pass(end)
              },
            })
            void listener
          },
        })
    const server = await serveGrpc((call, headers, nth) => (nth === 0 ? call.refuse() : answerWell(call, headers, nth)))
    const rig = grpcRigOver([server.port], { client: { interceptors: [interceptor('ours')] } })
    expect((await rig.client.promises.take({ sku: 'a' })).sku).toBe('a')
    expect(seen).toEqual(['ours start', 'ours 0'])
    expect(server.calls.map(({ headers }) => headers['x-ours'])).toEqual(['yes', 'yes'])
    for (const kind of KINDS) {
      seen.length = 0
      expect((await kind.begin(rig.client, { interceptors: [interceptor('its')] }).ended).error).toBeUndefined()
      expect(seen).toEqual(['its start', 'its 0'])
    }
  })

  it('an interceptor may make a call of its own first: the settings of the outer one are not for it', async () => {
    const server = await serveGrpc((call, headers) => {
      if (headers[':path'] === '/shop.Inventory/Take') return call.stall()
      return answerWell(call, headers, 0)
    })
    const rig = grpcRigOver([server.port])
    let inner: Promise<unknown> | undefined
    const asking: grpc.Interceptor = (options, next) => {
      inner ??= GET.begin(rig.client).ended
      return new grpc.InterceptingCall(next(options))
    }
    const outer = rig.another({ interceptors: [asking] })
    const controller = new AbortController()
    const taking = grpcFailure(outer.promises.take({ sku: 'a' }, { signal: controller.signal }))
    await until(() => server.streams === 2)
    controller.abort()
    expect((await taking).code).toBe(grpc.status.CANCELLED)
    expect(await inner).toMatchObject({ error: undefined })
  })

  it('call credentials are asked for each attempt; if they fail, nothing is sent and no endpoint is to blame', async () => {
    const server = await serveGrpc((call, headers, nth) => (nth === 0 ? call.refuse() : answerWell(call, headers, nth)))
    const rig = grpcRigOver([server.port])
    let asked = 0
    const credentials = grpc.credentials.createFromMetadataGenerator((_options, done) => {
      const metadata = new grpc.Metadata()
      metadata.set('authorization', `token ${asked++}`)
      done(null, metadata)
    })
    expect((await GET.begin(rig.client, { credentials }).ended).error).toBeUndefined()
    expect(server.calls.map(({ headers }) => headers.authorization)).toEqual(['token 0', 'token 1'])
    const failing = grpc.credentials.createFromMetadataGenerator((_options, done) => done(new Error('no token')))
    const { error } = await GET.begin(rig.client, { credentials: failing }).ended
    expect(error?.details).toContain('no token')
    expect(server.streams).toBe(2)
    expect(rig.attempts.outcomes.at(-1)?.verdict).not.toBe('failure')
  })

  it('call credentials that come when the connection has broken go out once, on the next one', async () => {
    let session!: { destroy(): void }
    const server = await serveGrpc((call, headers, nth) => {
      session = call.stream.session!
      return answerWell(call, headers, nth)
    })
    const rig = grpcRigOver([server.port], { timeoutMs: 60_000 })
    await rig.client.promises.get({ sku: 'a' })
    let asked = 0
    const credentials = grpc.credentials.createFromMetadataGenerator((_options, done) => {
      const metadata = new grpc.Metadata()
      metadata.set('authorization', `token ${++asked}`)
      session.destroy()
      void until(() => !rig.transport.poolOf(rig.endpoint).reachable).then(() => done(null, metadata))
    })
    expect((await KINDS[0]!.begin(rig.client, { credentials }).ended).error).toBeUndefined()
    expect(server.calls.slice(1).map(({ headers }) => headers.authorization)).toEqual(['token 1'])
  })

  it('a deadline goes out as grpc-timeout, and shrinks with each attempt', async () => {
    const server = await serveGrpc(async (call, headers, nth) => {
      await call.message()
      if (nth > 1) return answerWell(call, headers, nth)
      await new Promise((resolve) => setTimeout(resolve, 30))
      call.finish(14)
    })
    const rig = grpcRigOver([server.port], { timeoutMs: 60_000, retry: { attempts: 3 } })
    const running = GET.begin(rig.client, { deadline: Date.now() + 20_000 }).ended
    await until(() => server.streams === 3)
    void running
    const left = server.calls.map(({ headers }) => msOf(headers['grpc-timeout']))
    expect(left[0]).toBeLessThanOrEqual(20_000)
    expect(left[1]).toBeLessThan(left[0]!)
    expect(left[2]).toBeLessThan(left[1]!)
  })

  it('the timeout of the service is that of a call without one, and of a stream until its answer begins', async () => {
    const server = await serveGrpc(answerWell)
    const rig = grpcRigOver([server.port], { timeoutMs: 8_000 })
    for (const kind of KINDS) await kind.run(rig.client)
    const sent = server.calls.map(({ headers }) => headers['grpc-timeout'] !== undefined)
    expect(sent).toEqual([true, true, false, false])
    for (const kind of KINDS) await kind.run(rig.client, { timeout: '20s' })
    for (const { headers } of server.calls.slice(4)) expect(msOf(headers['grpc-timeout'])).toBeLessThanOrEqual(20_000)
  })

  it('parent: call inherits deadline and cancellation, as far as the flags say', async () => {
    const server = await serveGrpc((call) => call.stall())
    const rig = grpcRigOver([server.port])
    const { EventEmitter } = await import('node:events')
    const parent = Object.assign(new EventEmitter(), { cancelled: false, getDeadline: () => Date.now() + 20_000 })
    const begun = KINDS.map((kind) => kind.begin(rig.client, { parent: parent as never }).ended)
    const alone = GET.begin(rig.client, {
      parent: parent as never,
      propagate_flags: grpc.propagate.DEFAULTS & ~grpc.propagate.CANCELLATION & ~grpc.propagate.DEADLINE,
    })
    await until(() => server.streams === 5)
    parent.emit('cancelled')
    for (const { error } of await Promise.all(begun)) {
      expect(error?.code).toBe(grpc.status.CANCELLED)
      expect(causeOf(error).cause).toBe('Cancelled by parent call')
    }
    expect(rig.endpoint.pending).toBe(1)
    alone.cancel()
    await alone.ended
    // What has ended listens no more.
    expect(parent.listenerCount('cancelled')).toBe(0)
    for (const { headers } of server.calls) {
      const own = headers[':path'] === '/shop.Inventory/Get'
      if (!own) expect(msOf(headers['grpc-timeout'])).toBeLessThanOrEqual(20_000)
    }
  })

  it('waitForReady of a call does not hold it at an endpoint that is away while another is there', async () => {
    const good = await serveGrpc(answerWell)
    const metadata = new grpc.Metadata({ waitForReady: true })
    for (const kind of KINDS) {
      const rig = grpcRigOver([await deadPort(), good.port])
      expect((await kind.begin(rig.client, {}, metadata).ended).error).toBeUndefined()
      expect(rig.attempts.outcomes.map(({ code }) => code)).toEqual(['connect-failed', undefined])
    }
  })

  it('a client that was closed begins no call, and others of its service go on', async () => {
    const server = await serveGrpc(answerWell)
    const rig = grpcRigOver([server.port])
    const other = rig.another()
    other.close()
    const closed = { code: 14, details: expect.stringMatching(/closed/), cause: { code: 'closed', sent: false } }
    expect(() => other.get({ sku: 'a' }, () => {})).toThrow(expect.objectContaining({ code: 14 }))
    await expect(other.promises.get({ sku: 'a' })).rejects.toMatchObject(closed)
    await expect(other.promises.watch({ sku: 'a' }).next()).rejects.toMatchObject(closed)
    expect((await rig.client.promises.get({ sku: 'a' })).sku).toBe('a')
  })
})

function msOf(timeout: unknown): number {
  const [, value, unit] = /^(\d{1,8})([HMSmun])$/.exec(String(timeout))!
  return Number(value) * { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 1e-3, n: 1e-6 }[unit as 'H']!
}
