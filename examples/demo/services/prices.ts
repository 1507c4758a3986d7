/** Knows what things cost. */
import http from 'node:http'
import { joinMesh } from 'inmesh'
import { followParent } from './parent.ts'

const mesh = await joinMesh({ service: 'prices' })

const server = http.createServer((req, res) => {
  const sku = (req.url ?? '').split('/').pop() ?? ''
  res.setHeader('content-type', 'application/json')
  res.end(JSON.stringify({ cents: 100 + sku.length, by: process.env.DEMO_NAME }))
})

await mesh.serve(server, { port: 0 })
followParent(mesh)
