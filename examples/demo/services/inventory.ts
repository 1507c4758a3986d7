/** Serves the stock, with prices from the service `prices`. The demo can slow it down. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { setTimeout as wait } from 'node:timers/promises'
import { joinMesh } from 'inmesh'
import { followParent } from './parent.ts'

const WORK_MS = 2

const mesh = await joinMesh({ service: 'inventory' })
const prices = mesh.http('prices')
let slowness = 1

async function answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
  const sku = (req.url ?? '').split('/').pop() ?? ''
  const [price] = await Promise.all([prices.get(`/prices/${sku}`), wait(WORK_MS * slowness)])
  if (!price.ok) {
    res.writeHead(502).end()
    return
  }
  const { cents, by } = await price.json<{ cents: number; by: string }>()
  res.setHeader('content-type', 'application/json')
  res.end(JSON.stringify({ sku, stock: 7, cents, inventory: process.env.DEMO_NAME, prices: by }))
}

await mesh.serve(answer)
followParent(mesh, {
  obey(command) {
    slowness = command.slowness
  },
})
