/** gRPC over the mux, between a client and a server of the mesh. */
import * as grpc from '@grpc/grpc-js'
import { describe, expect, it } from 'vitest'
import { Endpoint } from '../../../src/core/endpoint.ts'
import { serveShop } from '../../server/grpc/rig.ts'
import { causeOf, type GrpcRig, grpcRigOver } from './rig.ts'

async function overMux(handlers: Parameters<typeof serveShop>[0]): Promise<GrpcRig> {
  const { server } = await serveShop(handlers, {}, { transport: 'auto' })
  const at = {
    id: 'one',
    address: '127.0.0.1',
    port: server.port,
    protocol: 'grpc' as const,
    tls: false,
    zone: undefined,
    version: undefined,
    weight: 1,
    metadata: {},
    transports: ['inmesh/1', 'h2'],
  }
  return grpcRigOver([new Endpoint('inventory', at)], { preference: 'auto' })
}

describe('a call over the mux', () => {
  it('unary answers', async () => {
    const rig = await overMux({
      Get: (call, done) => {
        const trailers = new grpc.Metadata()
        trailers.set('x-trailer', 'last')
        const head = new grpc.Metadata()
        head.set('x-head', String(call.metadata.get('x-ask')[0]))
        call.sendMetadata(head)
        done(null, { sku: call.request.sku, left: 3 }, trailers)
      },
    })
    const metadata = new grpc.Metadata()
    metadata.set('x-ask', 'this')
    const { head, status, value } = await new Promise<{
      head?: grpc.Metadata
      status: grpc.StatusObject
      value: unknown
    }>((resolve, reject) => {
      let head: grpc.Metadata | undefined
      let value: unknown
      const call = rig.client.get({ sku: 'a' }, metadata, (error, answer) => {
        if (error !== null) reject(error)
        value = answer
      })
      call.on('metadata', (given) => {
        head = given
      })
      call.on('status', (status) => resolve({ ...(head && { head }), status, value }))
    })
    expect(value).toMatchObject({ sku: 'a', left: 3 })
    expect(head?.get('x-head')).toEqual(['this'])
    expect(status.metadata.get('x-trailer')).toEqual(['last'])
    expect(rig.transport.connections).toBe(1)
  })

  it('takes as much metadata as HTTP/2; more fails its call alone, unsent', async () => {
    const rig = await overMux({
      Get: (call, done) => done(null, { sku: String(String(call.metadata.get('x-long')[0] ?? '').length) }),
    })
    const ask = (length: number): Promise<{ sku?: string }> => {
      const metadata = new grpc.Metadata()
      if (length > 0) metadata.set('x-long', 'a'.repeat(length))
      return rig.client.promises.get({ sku: 'a' }, { metadata })
    }
    expect((await ask(50_000)).sku).toBe('50000')
    const error = await ask(100_000).catch((thrown: unknown) => thrown as grpc.ServiceError)
    const { code, sent, cause } = causeOf(error as grpc.ServiceError)
    expect([(error as grpc.ServiceError).code, code, sent]).toEqual([
      grpc.status.INVALID_ARGUMENT,
      'invalid-options',
      false,
    ])
    expect(String(cause)).toMatch(/head.*61440/)
    expect((await ask(0)).sku).toBe('0')
    expect(rig.transport.connections).toBe(1)
  })

  it('is not held up by streams that their readers have paused, nor by bodies that a handler leaves', async () => {
    const filler = Buffer.alloc(100_000)
    const rig = await overMux({
      Get: (_call, done) => done(null, { sku: 'ok' }),
      Watch: (call) => {
        for (let i = 0; i < 10; i++) call.write({ filler })
        call.end()
      },
      Upload: () => {},
    })
    const paused = Array.from({ length: 40 }, () => rig.client.watch({ sku: 'a' }).pause())
    const uploads = Array.from({ length: 40 }, () => rig.client.upload(() => {}))
    for (const upload of uploads) for (let i = 0; i < 10; i++) upload.write({ sku: 'a', filler })
    await new Promise((resolve) => setTimeout(resolve, 300))
    for (let i = 0; i < 20; i++) {
      const stock = await new Promise((resolve, reject) =>
        rig.client.get({ sku: 'a', filler }, (error, value) => (error === null ? resolve(value) : reject(error))),
      )
      expect(stock).toMatchObject({ sku: 'ok' })
    }
    for (const one of [...paused, ...uploads]) one.on('error', () => {}).cancel()
    expect(rig.transport.connections).toBe(1)
  })
})
