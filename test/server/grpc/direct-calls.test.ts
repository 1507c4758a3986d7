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
