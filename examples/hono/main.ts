/** A Hono 4 application in the mesh, through its own adapter for Node. */
import { getRequestListener } from '@hono/node-server'
import { Hono } from 'hono'
import { currentCall, joinMesh } from 'inmesh'

const mesh = await joinMesh({ service: 'inventory' })

const app = new Hono()
app.get('/items/:sku', (c) => c.json({ sku: c.req.param('sku'), stock: 7, askedBy: currentCall()?.peer?.service }))
await mesh.serve(getRequestListener(app.fetch)) // was: serve({ fetch: app.fetch, port: 8080 })

const response = await mesh.fetch('http://inventory/items/42')
console.log(await response.text())
await mesh.close()
