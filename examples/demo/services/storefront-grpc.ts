/** The storefront of `--grpc`: serves HTTP, calls inventory by gRPC, and keeps one stream open. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { setTimeout as wait } from 'node:timers/promises'
import { joinMesh } from 'inmesh'
import { InventoryClient } from '../../grpc/shop.ts'
import { followParent, type Stream } from './parent.ts'

const PAUSE_MS = 50

const mesh = await joinMesh({ service: 'storefront' })
const inventory = mesh.grpc(InventoryClient, 'inventory', { idempotent: true })

async function answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
  res.setHeader('content-type', 'application/json')
  try {
    const sku = (req.url ?? '').split('/').pop() ?? ''
    res.end(JSON.stringify(await inventory.promises.get({ sku })))
  } catch (error) {
    res.writeHead(502).end(String(error))
  }
}

const stream: Stream = { begun: 0, messages: 0, failed: 0 }

/**
 * When it ends, because its inventory died or goes away, the next begins. That it ends is no
 * failure; that it says nothing is one.
 */
async function keepWatching(): Promise<never> {
  for (;;) {
    stream.begun += 1
    const before = stream.messages
    let reason: unknown = 'ended'
    try {
      for await (const stock of inventory.promises.watch({ sku: 'sku-1' })) {
        stream.messages += 1
        stream.from = stock.inventory
      }
    } catch (error) {
      reason = error
    }
    if (stream.messages > before) continue
    stream.failed += 1
    console.error('a stream that said nothing:', reason)
    await wait(PAUSE_MS)
  }
}

await mesh.serve(answer)
void keepWatching()
followParent(mesh, { stream })
