/** Serves prices over HTTP and gRPC. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Server, type ServerUnaryCall, type sendUnaryData } from '@grpc/grpc-js'
import { joinMesh } from 'inmesh'
import { type Item, type Price, PricesService } from '../../grpc/shop.ts'
import { followParent } from './parent.ts'

const mesh = await joinMesh({ service: 'prices' })
const by = process.env.DEMO_NAME ?? ''

function answer(req: IncomingMessage, res: ServerResponse): void {
  const sku = (req.url ?? '').split('/').pop() ?? ''
  res.setHeader('content-type', 'application/json')
  res.end(JSON.stringify({ cents: centsOf(sku), by }))
}

function quote({ request: { sku } }: ServerUnaryCall<Item, Price>, callback: sendUnaryData<Price>): void {
  callback(null, { sku, cents: centsOf(sku), by })
}

function centsOf(sku: string): number {
  return 100 + sku.length
}

const server = new Server()
server.addService(PricesService, { quote })
await Promise.all([mesh.serve(answer), mesh.serveGrpc(server)])
followParent(mesh)
