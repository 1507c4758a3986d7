/** An Express application in the mesh: who asks, probes, and a dependency that is missing. */
import express from 'express'
import { joinMesh } from 'inmesh'
import { meshErrorHandler, meshMiddleware } from 'inmesh/express'

const mesh = await joinMesh({ service: 'inventory' })

const app = express()
app.use(meshMiddleware({ mesh })) // req.call, /livez, /readyz
app.get('/items/:sku', (req, res) => {
  res.json({ sku: req.params.sku, stock: 7, askedBy: req.call?.peer?.service })
})
app.get('/prices/:sku', async (req, res) => {
  const price = await mesh.fetch(`http://prices/${req.params.sku}`, { timeout: '200ms' })
  res.json(await price.json())
})
app.use(meshErrorHandler()) // last
await mesh.serve(app) // was: app.listen(8080)

for (const path of ['/items/42', '/readyz', '/prices/42']) {
  const response = await mesh.fetch(`http://inventory${path}`, { retry: false })
  console.log(response.status, (await response.text()).trim())
}
await mesh.close()
