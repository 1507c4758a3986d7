/** What a promise was given for its call holds for every call that interceptors make of it. */
import * as grpc from '@grpc/grpc-js'
import { describe, expect, it } from 'vitest'
import { parseGrpcTimeout } from '../../../../src/core/deadline.ts'
import { opened } from '../../http/opened.ts'
import { until } from '../../http/rig.ts'
import { answerWell, causeOf, grpcFailure, grpcRigOver, serveGrpc, stock } from '../rig.ts'

const { status } = grpc

/** As gRFC L5 has it: a unary call that ended with ABORTED is made once more, after `waitMs`. */
function retrying(
  waitMs = 0,
  change: (options: grpc.InterceptorOptions) => grpc.InterceptorOptions = (options) => options,
): grpc.Interceptor {
  const timers: NodeJS.Timeout[] = []
  opened({
    close: () => {
      for (const timer of timers) clearTimeout(timer)
    },
  })
  return (options, nextCall) => {
    let metadata!: grpc.Metadata
    let request: unknown
    let listener!: grpc.InterceptingListener
    return new grpc.InterceptingCall(nextCall(options), {
      start(given, outer, next) {
        metadata = given
        listener = outer
        next(given, {
          onReceiveMetadata: (headers, pass) => pass(headers),
          onReceiveMessage: (message, pass) => pass(message),
          onReceiveStatus(ended, pass) {
            if (ended.code !== status.ABORTED) {
              pass(ended)
              return
            }
            const again = (): void => {
              const call = nextCall(change(options))
              call.start(metadata, {
                onReceiveMetadata() {},
                onReceiveMessage: (message) => void (message !== null && listener.onReceiveMessage(message)),
                onReceiveStatus: pass,
              })
              call.sendMessage(request)
              call.startRead()
              call.halfClose()
            }
            if (waitMs === 0) again()
            else timers.push(setTimeout(again, waitMs))
          },
        })
      },
      sendMessage(message, next) {
        request = message
        next(message)
      },
    })
  }
}

/** Aborts every first call, and lets every second wait. */
async function abortsThenStalls() {
  return serveGrpc(async (call, _headers, nth) => {
    await call.message()
    if (nth % 2 === 0) call.finish(status.ABORTED, 'again please')
    else await call.stall()
  })
}

describe('a call that an interceptor makes anew', () => {
  it('ends at the timeout of the promise, which began with the first', async () => {
    const server = await abortsThenStalls()
    const rig = grpcRigOver([server.port], { client: { interceptors: [retrying(200)] } })
    const begun = performance.now()
    const error = await grpcFailure(rig.client.promises.take({ sku: 'a' }, { timeout: 3_000 }))
    expect([error.code, causeOf(error).code]).toEqual([status.DEADLINE_EXCEEDED, 'deadline-exceeded'])
    // The second gets what the first had left of it.
    expect(parseGrpcTimeout(server.calls[1]!.headers['grpc-timeout'] as string)).toBeLessThanOrEqual(2_810)
    expect(performance.now() - begun).toBeGreaterThanOrEqual(2_995)
  })

  it.each([
    ['runs', 0],
    ['still waits to be made', 20_000],
  ])('ends at an abort while it %s', async (_when, waitMs) => {
    const server = await abortsThenStalls()
    const rig = grpcRigOver([server.port], { client: { interceptors: [retrying(waitMs)] } })
    const abort = new AbortController()
    const failed = grpcFailure(rig.client.promises.take({ sku: 'a' }, { signal: abort.signal }))
    await until(() => server.streams === (waitMs === 0 ? 2 : 1))
    if (waitMs > 0) await until(() => server.calls[0]!.gone)
    abort.abort(new Error('enough'))
    expect((await failed).code).toBe(status.CANCELLED)
    await until(() => server.calls.every(({ gone }) => gone) && rig.endpoint.pending === 0)
    expect(server.streams).toBe(waitMs === 0 ? 2 : 1)
  })

  it.each(['timeout', 'abort'] as const)('ends at its %s while the interceptor sleeps, in all kinds', async (why) => {
    const server = await abortsThenStalls()
    let passed = 0
    const sleeper: grpc.Interceptor = (options, next) =>
      new grpc.InterceptingCall(next(options), {
        start: (metadata, _listener, go) =>
          go(metadata, {
            onReceiveStatus() {
              passed += 1
            },
          }),
      })
    const rig = grpcRigOver([server.port], { client: { interceptors: [sleeper] } })
    const { promises } = rig.client
    const abort = new AbortController()
    const options = why === 'timeout' ? { timeout: 800 } : { signal: abort.signal }
    let letGo = 0
    const source = async function* () {
      try {
        yield { sku: 'a' }
        await new Promise((resolve) => abort.signal.addEventListener('abort', resolve))
      } finally {
        letGo += 1
      }
    }
    const first = async (answers: AsyncIterable<unknown>): Promise<unknown> => {
      for await (const answer of answers) return answer
    }
    const running = [
      promises.take({ sku: 'a' }, options),
      first(promises.watch({ sku: 'a' }, options)),
      promises.upload(source(), options),
      first(promises.chat(source(), options)),
    ].map((promise) => grpcFailure(promise))
    if (why === 'abort') {
      await until(() => server.streams === 4 && passed >= 2)
      abort.abort(new Error('enough'))
    }
    const errors = await Promise.all(running)
    if (why === 'timeout') abort.abort()
    const code = why === 'timeout' ? status.DEADLINE_EXCEEDED : status.CANCELLED
    expect(errors.map((error) => error.code)).toEqual([code, code, code, code])
    expect(new Set(errors.map((error) => causeOf(error).code))).toEqual(
      new Set([why === 'timeout' ? 'deadline-exceeded' : 'cancelled']),
    )
    await until(() => letGo === 2 && rig.endpoint.pending === 0)
  })

  it('is idempotent, tried once, and goes to the endpoint of its key as the promise said', async () => {
    const server = await serveGrpc(async (call, _headers, nth) => {
      await call.message()
      if (nth === 0) call.finish(status.ABORTED, 'again please')
      else if (nth < 3) call.finish(status.UNAVAILABLE, 'busy')
      else call.answer(stock('a'))
    })
    const interceptors = [retrying(0, (options) => ({ ...options }))]
    const rig = grpcRigOver([server.port], { retry: { attempts: 3 }, client: { interceptors } })
    expect((await rig.client.promises.take({ sku: 'a' }, { idempotent: true, key: 'k' })).sku).toBe('a')
    expect(server.streams).toBe(4)
  })

  it('`retry: false` holds for it, too', async () => {
    const server = await serveGrpc(async (call, _headers, nth) => {
      await call.message()
      if (nth === 0) call.finish(status.ABORTED, 'again please')
      else call.finish(status.UNAVAILABLE, 'busy')
    })
    const rig = grpcRigOver([server.port], { client: { interceptors: [retrying()] } })
    const error = await grpcFailure(rig.client.promises.get({ sku: 'a' }, { retry: false }))
    expect([error.code, server.streams]).toEqual([status.UNAVAILABLE, 2])
  })

  it('does not pass them on to calls of other methods that the interceptor makes', async () => {
    const server = await serveGrpc(async (call, headers) => {
      await call.message()
      if (headers[':path']!.endsWith('Take')) await call.stall()
      else call.answer(stock('a'))
    })
    const plain = grpcRigOver([server.port])
    const timeouts = (): unknown[] => server.calls.map(({ headers }) => headers['grpc-timeout'] !== undefined)
    const asking: grpc.Interceptor = (options, nextCall) => {
      void plain.client.promises.get({ sku: 'other' })
      return new grpc.InterceptingCall(nextCall(options))
    }
    const rig = grpcRigOver([server.port], { client: { interceptors: [asking] } })
    const abort = new AbortController()
    const options = { timeout: '20s', signal: abort.signal } as const
    const failed = grpcFailure(rig.client.promises.take({ sku: 'a' }, options))
    await until(() => server.streams === 2)
    abort.abort()
    expect((await failed).code).toBe(status.CANCELLED)
    expect(timeouts().filter(Boolean).length).toBeGreaterThanOrEqual(1)
  })
})

describe('the signal of a promise', () => {
  it('has no listener left however the call ended', async () => {
    const server = await serveGrpc(async (call, _headers, nth) => {
      await call.message()
      if (nth % 3 === 0) call.answer(stock('a'))
      else if (nth % 3 === 1) call.finish(status.NOT_FOUND, 'no')
      else await call.break()
    })
    const rig = grpcRigOver([server.port], { retry: { attempts: 1 } })
    const abort = new AbortController()
    let added = 0
    let listeners = 0
    const { signal } = abort
    const { addEventListener, removeEventListener } = signal
    signal.addEventListener = (...args: Parameters<typeof addEventListener>) => {
      added += 1
      listeners += 1
      addEventListener.apply(signal, args)
    }
    signal.removeEventListener = (...args: Parameters<typeof removeEventListener>) => {
      listeners -= 1
      removeEventListener.apply(signal, args)
    }
    for (let i = 0; i < 3; i++) {
      await rig.client.promises.take({ sku: 'a' }, { signal }).catch(() => {})
      await rig.client.promises.upload([{ sku: 'a' }], { signal }).catch(() => {})
      await rig.client.promises
        .watch({ sku: 'a' }, { signal })
        .next()
        .catch(() => {})
    }
    expect([added > 0, listeners]).toEqual([true, 0])
    await until(() => rig.endpoint.pending === 0)
  })
})

describe('headers that come before the requests have ended', () => {
  it.each(['upload', 'chat'] as const)('reach the caller of %s, who may wait for them', async (method) => {
    const server = await serveGrpc(async (call) => {
      call.respond({ 'resume-at': '7' })
      const items = await call.messages()
      call.send(stock(`${items.length}`))
      call.finish()
    })
    const rig = grpcRigOver([server.port])
    const answer = await new Promise<string>((resolve, reject) => {
      const call =
        method === 'upload'
          ? rig.client.upload((error, value) => (error === null ? resolve(value!.sku) : reject(error)))
          : rig.client.chat().on('data', ({ sku }: { sku: string }) => resolve(sku))
      call.on('error', reject)
      call.on('metadata', (headers: grpc.Metadata) => {
        call.write({ sku: String(headers.get('resume-at')[0]) })
        call.end()
      })
    })
    expect(answer).toBe('1')
  })

  it('commit an upload to its attempt, bound by the timeout of the service', async () => {
    const server = await serveGrpc(async (call, headers, nth) => {
      if (nth === 0) return answerWell(call, headers, nth)
      call.respond()
      await call.stall()
    })
    const rig = grpcRigOver([server.port], { timeoutMs: 500 })
    // On the connection of another, it is sent at once.
    await rig.client.promises.take({ sku: 'first' }, { timeout: 500 })
    const error = await new Promise<grpc.ServiceError | null>((resolve) => {
      const call = rig.client.upload(resolve)
      call.on('metadata', () => call.write({ sku: 'a' }))
    })
    expect(error?.code).toBe(status.DEADLINE_EXCEEDED)
    expect(server.streams).toBe(2)
  })
})
