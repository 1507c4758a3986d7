/**
 * The shop, which records each call on disk before it answers, so that kill -9 loses none. `Take`
 * records the item; `Watch` sends an answer every 50 ms; `Get` returns the instance and its
 * certificates.
 */
import { openSync, writeSync } from 'node:fs'
import type * as grpc from '@grpc/grpc-js'
import { joinMesh } from '../../../src/index.ts'
import { type ShopHandlers, shopServer } from '../../rigs/shop.ts'
import { obey, options, report } from './parent.ts'

const { mesh: meshOptions, serve, log, workMs = 3, name = String(process.pid) } = options
const file = log === undefined ? undefined : openSync(log, 'a')
const mesh = await joinMesh(meshOptions)
const watching = new Set<grpc.ServerWritableStream<unknown, unknown>>()
/** Streams end by themselves so long after the instance has begun to leave. */
let ending = false

const handlers: ShopHandlers = {
  Get: (call, answer) => {
    const serial = call.getAuthContext().sslPeerCertificate?.serialNumber ?? ''
    const renewals = mesh.events().filter((event) => event.name === 'identity:renewed').length
    setTimeout(() => answer(null, { sku: name, left: renewals, filler: Buffer.from(serial) }), workMs)
  },
  Take: (call, answer) => {
    if (file !== undefined) writeSync(file, `${call.request.sku}\n`)
    setTimeout(() => answer(null, { sku: name }), workMs)
  },
  Watch: (call) => {
    watching.add(call)
    const timer = setInterval(() => {
      if (ending) call.end()
      else call.write({ sku: name })
    }, 50)
    call.on('cancelled', () => {
      clearInterval(timer)
      watching.delete(call)
    })
  },
  Chat: (call) => call.on('data', ({ sku }) => call.write({ sku })).on('end', () => call.end()),
}

const server = await mesh.serveGrpc(shopServer(handlers), { host: '127.0.0.1', ...serve })
process.on('SIGTERM', () => {
  if (options.endStreamsAfterMs !== undefined) {
    setTimeout(() => {
      ending = true
    }, options.endStreamsAfterMs)
  }
})
obey((order) => {
  if (order === 'streams') report({ streams: watching.size, connections: server.stats.connections })
})
report({ name, port: server.port })
