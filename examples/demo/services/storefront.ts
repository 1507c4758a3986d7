/** The storefront: calls inventory for each item. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { joinMesh } from 'inmesh'
import { followParent } from './parent.ts'

const mesh = await joinMesh({ service: 'storefront' })
const inventory = mesh.http('inventory')

async function answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
  const item = await inventory.get(`/items${req.url ?? '/'}`)
  res.writeHead(item.status, { 'content-type': 'application/json' })
  res.end(await item.text())
}

await mesh.serve(answer)
followParent(mesh)
