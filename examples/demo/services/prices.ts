/** Knows what things cost. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { joinMesh } from 'inmesh'
import { followParent } from './parent.ts'

const mesh = await joinMesh({ service: 'prices' })

function answer(req: IncomingMessage, res: ServerResponse): void {
  const sku = (req.url ?? '').split('/').pop() ?? ''
  res.setHeader('content-type', 'application/json')
  res.end(JSON.stringify({ cents: 100 + sku.length, by: process.env.DEMO_NAME }))
}

await mesh.serve(answer)
followParent(mesh)
