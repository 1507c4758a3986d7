/** Which calls skip grpc-js's own call, and that the others are served as well. */
import * as grpc from '@grpc/grpc-js'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { DirectCall } from '../../../src/server/grpc/direct-call.ts'
import {
  type Handler,
  interceptedCallOf,
  internalsOf,
  nextCallOf,
  runnerOf,
} from '../../../src/server/grpc/internals.ts'
import { begin, KINDS, type ShopClient, type ShopHandlers, shopServer } from '../../rigs/shop.ts'
import { http2ShopClient, metadata, muxShopClient, serveShop } from './rig.ts'

type Way = 'direct' | 'grpc-js'

/** Records by which way each call has come to its handler. */
class Ways {
  readonly taken: Way[] = []

  readonly handlers: ShopHandlers = {
    Get: (call, answer) => {
      this.#took(call)
      answer(null, { sku: call.request.sku })
    },
    Upload: (call, answer) => {
      this.#took(call)
      call.resume()
      call.on('end', () => answer(null, { sku: 'all' }))
    },
    Watch: (call) => {
      this.#took(call)
      call.write({ sku: call.request.sku })
      call.end()
    },
    Chat: (call) => {
      this.#took(call)
      call.resume()
      call.on('end', () => call.end())
    },
  }

  #took(call: unknown): void {
    let each: unknown = interceptedCallOf(call)
    while (nextCallOf(each) !== undefined) each = nextCallOf(each)
    const { inner } = each as { readonly inner: unknown }
    this.taken.push(inner instanceof DirectCall ? 'direct' : 'grpc-js')
  }
}

async function wayOf(
  options: grpc.ServerOptions = {},
  clientOf: (port: number) => ShopClient = muxShopClient,
  sent: grpc.Metadata = new grpc.Metadata(),
  adapt: (server: grpc.Server) => void = () => {},
): Promise<readonly Way[]> {
  const ways = new Ways()
  const grpcServer = shopServer(ways.handlers, options)
  adapt(grpcServer)
  const { server } = await serveShop(grpcServer, {}, { transport: 'auto' })
  const client = clientOf(server.port)
  for (const kind of KINDS) expect(await begin(client, kind, { metadata: sent }).ended).toMatchObject({ code: 0 })
  return ways.taken
}

const ALL_DIRECT = KINDS.map(() => 'direct')
const ALL_OF_GRPC_JS = KINDS.map(() => 'grpc-js')

describe('a call of each kind', () => {
  it('over inmesh/1 is direct, from the first one on', async () => {
    expect(await wayOf()).toEqual(ALL_DIRECT)
  })

  it('over HTTP/2 takes the way of grpc-js', async () => {
    expect(await wayOf({}, http2ShopClient)).toEqual(ALL_OF_GRPC_JS)
  })

  it('that says it is not compressed is direct', async () => {
    expect(await wayOf({}, muxShopClient, metadata({ 'grpc-encoding': 'identity' }))).toEqual(ALL_DIRECT)
  })

  it('whose messages may be compressed takes the way of grpc-js', async () => {
    expect(await wayOf({}, muxShopClient, metadata({ 'grpc-encoding': 'gzip' }))).toEqual(ALL_OF_GRPC_JS)
  })

  it('on a Server with interceptors takes the way of grpc-js', async () => {
    const passing: grpc.ServerInterceptor = (_method, call) => new grpc.ServerInterceptingCall(call)
    expect(await wayOf({ interceptors: [passing] })).toEqual(ALL_OF_GRPC_JS)
  })

  it.each(['grpc.enable_channelz', 'grpc.server_call_metric_recording'])(
    'on a Server with %s takes the way of grpc-js',
    async (option) => {
      expect(await wayOf({ [option]: 1 })).toEqual(ALL_OF_GRPC_JS)
    },
  )

  it('that grpc-js is to trace takes the way of grpc-js', async () => {
    vi.stubEnv('GRPC_TRACE', 'server_call')
    onTestFinished(() => void vi.unstubAllEnvs())
    expect(await wayOf()).toEqual(ALL_OF_GRPC_JS)
  })

  it('takes the way of grpc-js if its method that runs handlers wants more than we give', async () => {
    const adapt = (server: grpc.Server): void => {
      const internals = internalsOf(server)
      const run = runnerOf(internals)!
      Object.assign(server, {
        _runHandlerForCall: (call: grpc.ServerInterceptingCall, handler: Handler, _more: unknown) =>
          run.call(internals, call, handler),
      })
    }
    expect(await wayOf({}, muxShopClient, undefined, adapt)).toEqual(ALL_OF_GRPC_JS)
  })
})

describe('a direct call is to its caller and its handler as one by grpc-js:', () => {
  /** What `handler` answers, by either way. */
  async function bothWays(handlers: ShopHandlers): Promise<readonly [unknown, unknown]> {
    const { server } = await serveShop(handlers, {}, { transport: 'auto' })
    const answered: unknown[] = []
    for (const client of [muxShopClient(server.port), http2ShopClient(server.port)]) {
      const { code, details, metadata, answers } = await begin(client, 'get', {
        metadata: metadataOf({ 'x-given': 'a', 'x-given-bin': Buffer.of(0, 255) }),
        deadline: Date.now() + 60_000,
      }).ended
      // Older versions of grpc-js tell the caller why, too.
      const told = details.replace(/^(Error serializing response): .*/, '$1')
      answered.push({ code, told, sent: metadata.get('x-sent'), answers })
    }
    return answered as [unknown, unknown]
  }

  it('what the handler may ask', async () => {
    const asked: unknown[] = []
    await bothWays({
      Get: (call, answer) => {
        const { metadata: given, request, cancelled } = call
        const left = (call.getDeadline() as number) - Date.now()
        const recorder = call.getMetricsRecorder()
        recorder.recordRequestCostMetric('rows', 1)
        asked.push({
          own: Object.keys(call).filter((key) => ['metadata', 'request', 'cancelled'].includes(key)),
          given: [given.get('x-given'), given.get('x-given-bin'), given.get('content-type'), given.get('te')],
          request,
          cancelled,
          path: call.getPath(),
          host: typeof call.getHost(),
          peer: call.getPeer().replace(/\d+$/, ''),
          auth: call.getAuthContext(),
          timely: left > 0 && left <= 60_000,
          recorder: recorder.constructor.name,
        })
        answer(null, {})
      },
    })
    expect(asked[0]).toMatchObject({ given: [['a'], [Buffer.of(0, 255)], [], []], path: '/shop.Inventory/Get' })
    expect(asked[0]).toEqual(asked[1])
  })

  const trailers = metadataOf({ 'x-sent': 'trailer' })
  it.each<[string, Parameters<grpc.sendUnaryData<unknown>>]>([
    ['a value with trailers', [null, { sku: 'b' }, trailers]],
    ['an error', [new Error('no')]],
    ['an error with a code', [Object.assign(new Error('no'), { code: 5, details: 'not here' })]],
    ['an error whose code is text', [Object.assign(new Error('no'), { code: 'ENOENT', details: 'unseen' }) as never]],
    ['an error with metadata', [Object.assign(new Error('no'), { code: 5, metadata: trailers })]],
    ['a status', [{ code: 9, details: 'not yet', metadata: trailers }]],
    ['a status without details', [{ code: 9 }]],
    ['an error with trailers beside it', [{ code: 9, details: 'not yet' }, null, trailers]],
    ['no value', [null, undefined]],
    ['a value that is no message', [null, { left: {} }]],
  ])('%s', async (_name, given) => {
    const [direct, foreign] = await bothWays({
      Get: (_call, answer) => (answer as (...given: unknown[]) => void)(...given),
    })
    expect(direct).toEqual(foreign)
  })

  it('a cancellation, once', async () => {
    const heard: unknown[] = []
    const begun = Promise.withResolvers<void>()
    const { server } = await serveShop(
      {
        Get: (call) => {
          call.on('cancelled', (...given: unknown[]) => heard.push(given, call.cancelled))
          begun.resolve()
        },
      },
      {},
      { transport: 'auto' },
    )
    const { cancel } = begin(muxShopClient(server.port), 'get')
    await begun.promise
    cancel()
    await expect.poll(() => heard).toEqual([['cancelled'], true])
    await expect.poll(() => server.stats.inFlight).toBe(0)
  })
})

function metadataOf(pairs: Readonly<Record<string, grpc.MetadataValue>>): grpc.Metadata {
  const made = new grpc.Metadata()
  for (const [name, value] of Object.entries(pairs)) made.set(name, value)
  return made
}
