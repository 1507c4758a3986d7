/** gRPC over the mux, between a client and a server of the mesh. */
import * as grpc from '@grpc/grpc-js'
import { describe, expect, it } from 'vitest'
import { Endpoint } from '../../../src/core/endpoint.ts'
import { serveShop } from '../../server/grpc/rig.ts'
import { type GrpcRig, grpcRigOver } from './rig.ts'

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
})
