/**
 * The inventory of `--grpc`: serves gRPC, calls prices by gRPC, and streams the stock ten times a
 * second.
 */
import { subscribe } from 'node:diagnostics_channel'
import { setTimeout as wait } from 'node:timers/promises'
import { Server } from '@grpc/grpc-js'
import { currentCall, joinMesh, type MeshEvents } from 'inmesh'
import { type InventoryServer, InventoryService, PricesClient, type Stock } from '../../grpc/shop.ts'
import { followParent } from './parent.ts'

const WORK_MS = 2
const TELL_EVERY_MS = 100

const mesh = await joinMesh({ service: 'inventory' })
const prices = mesh.grpc(PricesClient, 'prices', { idempotent: ['quote'] })
let slowness = 1

/**
 * Streams do not end by themselves. When no new call can arrive, the open ones are ended, so that
 * their callers reconnect elsewhere.
 */
const leaving = new AbortController()
subscribe('inmesh:drain:step', (message) => {
  if ((message as MeshEvents['drain:step']).step === 'finishing') leaving.abort()
})

const handlers: InventoryServer = {
  get({ request }, callback) {
    stockOf(request.sku).then((stock) => callback(null, stock), callback)
  },
  async watch(call) {
    const signal = AbortSignal.any([leaving.signal, currentCall()!.signal])
    try {
      while (!signal.aborted) {
        call.write(await stockOf(call.request.sku))
        await wait(TELL_EVERY_MS, undefined, { signal }).catch(() => undefined)
      }
      call.end()
    } catch (error) {
      call.destroy(error as Error)
    }
  },
}

async function stockOf(sku: string): Promise<Stock> {
  const [{ cents, by }] = await Promise.all([prices.promises.quote({ sku }), wait(WORK_MS * slowness)])
  return { sku, left: 7, cents, inventory: process.env.DEMO_NAME ?? '', prices: by }
}

const server = new Server()
server.addService(InventoryService, handlers)
await mesh.serveGrpc(server)
followParent(mesh, {
  obey(command) {
    slowness = command.slowness
  },
})
