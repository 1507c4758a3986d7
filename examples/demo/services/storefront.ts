/** The shop's front: asks inventory for each item that a visitor wants to see. */
import http from 'node:http'
import { joinMesh } from 'inmesh'
import { followParent } from './parent.ts'

const mesh = await joinMesh({ service: 'storefront' })
const inventory = mesh.http('inventory')

const server = http.createServer(async (req, res) => {
  const item = await inventory.get(`/items${req.url ?? '/'}`)
  res.writeHead(item.status, { 'content-type': 'application/json' })
  res.end(await item.text())
})

await mesh.serve(server, { port: 0 })
followParent(mesh)
