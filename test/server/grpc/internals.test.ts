/** What the server uses of grpc-js beyond its public API is as this version of grpc-js has it. */
import * as grpc from '@grpc/grpc-js'
import { expect, it, onTestFinished } from 'vitest'
import {
  adoptServer,
  hasService,
  interceptedCallOf,
  internalsOf,
  nextCallOf,
  pendingStatusOf,
  runnerOf,
} from '../../../src/server/grpc/internals.ts'
import { shopServer } from '../../rigs/shop.ts'
import { serveShop, shopClient } from './rig.ts'

it('a Server has the fields that are read and written', () => {
  const interceptor: grpc.ServerInterceptor = (_method, call) => new grpc.ServerInterceptingCall(call)
  const server = shopServer({}, { interceptors: [interceptor], 'grpc.enable_channelz': 1 })
  onTestFinished(() => server.forceShutdown())
  const internals = internalsOf(server)
  expect(internals.http2Servers).toBeInstanceOf(Map)
  expect(internals.options['grpc.enable_channelz']).toBe(1)
  expect(internals.shutdown).toBe(false)
  expect(internals.interceptors).toEqual([interceptor])
  expect(internals.channelzEnabled).toBe(true)
  expect(internals.commonServerOptions).toBeTypeOf('object')
  const { func, type, serialize, deserialize } = internals.handlers.get('/shop.Inventory/Watch')!
  expect([typeof func, type]).toEqual(['function', 'serverStream'])
  expect([typeof serialize, typeof deserialize]).toEqual(['function', 'function'])
  expect(runnerOf(internals)).toBeTypeOf('function')
  expect(runnerOf({ ...internals })).toBeUndefined()
  expect([hasService(server, 'shop.Inventory'), hasService(server, 'shop')]).toEqual([true, false])
  server.forceShutdown()
  expect(internals.shutdown).toBe(true)
})

it('an adopted Server has one HTTP/2 server more, whose streams come to us', () => {
  const server = shopServer({})
  const adopted = adoptServer(
    server,
    grpc,
    { maxConcurrentStreams: 7 },
    { maxSessionInvalidFrames: 3 },
    (_method, call) => call as grpc.ServerInterceptingCall,
    () => {},
  )!
  onTestFinished(() => adopted.injector.destroy())
  expect(internalsOf(server).http2Servers.has(adopted.http2Server)).toBe(true)
  expect(internalsOf(server).commonServerOptions).toMatchObject({
    maxSessionInvalidFrames: 3,
    settings: { maxConcurrentStreams: 7 },
  })
  expect(adopted.http2Server.listenerCount('stream')).toBe(1)
  expect(adopted.dispatch).toBeTypeOf('function')
})

it('a handler has the call behind it, a chain of interceptors, and the status that a stream is to end with', async () => {
  const seen: unknown[] = []
  const passing: grpc.ServerInterceptor = (_method, call) => new grpc.ServerInterceptingCall(call)
  const server = shopServer(
    {
      Watch: (stream) => {
        const intercepted = interceptedCallOf(stream)
        seen.push(
          typeof intercepted.sendStatus,
          typeof (nextCallOf(intercepted) as grpc.ServerInterceptingCall).sendStatus,
        )
        seen.push(pendingStatusOf(stream)?.code)
        stream.end()
      },
    },
    { interceptors: [passing] },
  )
  const { server: served } = await serveShop(server)
  const stream = shopClient(served.port).watch({ sku: '1' })
  stream.resume()
  await new Promise((resolve) => stream.on('status', resolve))
  expect(seen).toEqual(['function', 'function', grpc.status.OK])
})
