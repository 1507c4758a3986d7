/** A Hono application in the mesh: who asks, probes, and a dependency that is missing. */
import { getRequestListener } from '@hono/node-server'
import { Hono } from 'hono'
import { joinMesh } from 'inmesh'
import { meshErrorHandler, meshMiddleware } from 'inmesh/hono'

const mesh = await joinMesh({ service: 'inventory' })

const app = new Hono()
app.use(meshMiddleware({ mesh })) // c.get('call'), /livez, /readyz
app.get('/items/:sku', (c) => c.json({ sku: c.req.param('sku'), stock: 7, askedBy: c.get('call')?.peer?.service }))
app.get('/prices/:sku', async (c) => {
  const price = await mesh.fetch(`http://prices/${c.req.param('sku')}`, { timeout: '200ms' })
  return c.json(await price.json())
})
app.onError(meshErrorHandler())
await mesh.serve(getRequestListener(app.fetch)) // was: serve({ fetch: app.fetch, port: 8080 })

for (const path of ['/items/42', '/readyz', '/prices/42']) {
  const response = await mesh.fetch(`http://inventory${path}`, { retry: false })
  console.log(response.status, (await response.text()).trim())
}
await mesh.close()
