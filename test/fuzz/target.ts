/**
 * All listeners of a mesh in one process, which reports uncaught errors and how long its loop was
 * blocked. Started by fuzz.ts.
 */

import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { joinMesh } from '../../src/index.ts'
import { startRegistry } from '../../src/registry/index.ts'
import { type ShopHandlers, shopServer } from '../rigs/shop.ts'
import type { ListenerName, TargetReport } from './listeners.ts'
import { LoopMeter } from './loop-meter.ts'

const uncaught: string[] = []
let started = false
const note = (error: unknown): void => {
  if (!started) {
    console.error(error)
    process.exit(1)
  }
  if (uncaught.length < 20) uncaught.push(error instanceof Error ? (error.stack ?? error.message) : String(error))
}
process.on('uncaughtException', note)
// Listeners that pile up on one socket are memory that a peer takes.
process.on('warning', (warning) => {
  if (warning.name === 'MaxListenersExceededWarning') note(warning)
})
process.on('unhandledRejection', note)

const meter = new LoopMeter()

const registry = await startRegistry({ port: 0, memory: true, log: false, signingsPerSecond: 1_000 })
await registry.applyPolicies([
  { service: 'mesh', defaultIntention: 'deny' },
  {
    service: 'inventory',
    allow: [
      { from: 'checkout', paths: ['/open/*'] },
      { from: 'checkout', grpc: ['shop.Inventory/*'] },
      { from: 'checkout', tcp: true },
    ],
  },
])
const mesh = await joinMesh({
  service: 'inventory',
  registry: registry.url,
  joinToken: await registry.createJoinToken({ service: 'inventory' }),
  stateDir: 'memory',
  handleSignals: false,
  transport: 'auto',
  adminPort: 0,
  joinTimeout: '20s',
})
const shop: ShopHandlers = {
  Get: (call, answer) => answer(null, { sku: call.request.sku, left: 1 } as never),
  Watch: (call) => {
    call.write({ sku: call.request.sku, left: 1 } as never)
    call.end()
  },
  Upload: (call, answer) => {
    call.on('data', () => {}).on('error', () => {})
    call.on('end', () => answer(null, { sku: 'a', left: 1 } as never))
  },
  Chat: (call) => {
    call.on('data', (item) => call.write(item as never)).on('error', () => {})
    call.on('end', () => call.end())
  },
}
const http = (mode: 'strict' | 'permissive' | 'plaintext') =>
  mesh.serve(
    (request, response) => {
      let size = 0
      request.on('data', (chunk: Buffer) => {
        size += chunk.length
      })
      request.on('error', () => {})
      request.on('end', () => response.end(String(size)))
    },
    {
      host: '127.0.0.1',
      port: 0,
      mode,
      onUpgrade: (_request, socket) => {
        socket.end('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n')
      },
    },
  )
const grpc = (mode: 'strict' | 'plaintext') => mesh.serveGrpc(shopServer(shop), { host: '127.0.0.1', port: 0, mode })
const httpStrict = (await http('strict')).port
const httpPlaintext = (await http('plaintext')).port
const grpcStrict = (await grpc('strict')).port
const echo = (socket: Socket): unknown => socket.on('error', () => {}).pipe(socket)
const tcp = (mode: 'strict' | 'permissive') => mesh.listen('inventory', echo, { host: '127.0.0.1', mode })
const database = createServer({ allowHalfOpen: true }, echo).listen(0, '127.0.0.1')
await once(database, 'listening')
const target = `127.0.0.1:${(database.address() as AddressInfo).port}`
const ports: Record<ListenerName, number> = {
  'http-strict': httpStrict,
  'http-permissive': (await http('permissive')).port,
  'http-plaintext': httpPlaintext,
  'grpc-strict': grpcStrict,
  'grpc-plaintext': (await grpc('plaintext')).port,
  'mux-http-strict': httpStrict,
  'mux-grpc-strict': grpcStrict,
  'registry-h1': registry.port,
  'registry-h2': registry.port,
  admin: mesh.adminPort!,
  'http-h2-strict': httpStrict,
  'http-h2-plaintext': httpPlaintext,
  'tcp-strict': (await tcp('strict')).port,
  'tcp-permissive': (await tcp('permissive')).port,
  'tcp-target-strict': (await mesh.listen('inventory', { host: '127.0.0.1', target })).port,
}
const { url, roots, adminToken } = registry
const token = await registry.createJoinToken({ service: 'checkout', uses: 10 })
started = true
process.send!({ ports, registry: { url, port: registry.port, roots, adminToken, dev: false }, token })
process.on('message', async () => {
  const report: TargetReport = { uncaught, ...(await meter.report()) }
  process.send!(report)
})
process.on('disconnect', () => process.exit(0))
