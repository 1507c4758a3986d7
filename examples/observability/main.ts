/** What a service shows of itself: an access log by pino, metrics in prom-client's registry. */
import express from 'express'
import { joinMesh } from 'inmesh'
import pino from 'pino'
import { register } from 'prom-client'

const mesh = await joinMesh({
  service: 'inventory',
  accessLog: { log: pino(), sample: '100%', headers: ['x-request-id'] },
})
mesh.registerMetrics(register)

const app = express()
app.get('/items/:sku', (req, res) => {
  if (req.params.sku === '42') res.json({ stock: 7 })
  else res.status(500).json({ error: 'the database is away' })
})
app.get('/metrics', async (_req, res) => {
  res.type(register.contentType).send(await register.metrics())
})
await mesh.serve(app)

const inventory = mesh.http('inventory')
await (await inventory.get('/items/42', { query: { token: 'secret' }, headers: { 'x-request-id': 'r-1' } })).text()
await (await inventory.get('/items/43', { headers: { 'x-request-id': 'r-2' } })).text()
const metrics = await (await inventory.get('/metrics')).text()
console.log(metrics.match(/^inmesh_client_requests_total\{.*/gm)!.join('\n'))
await mesh.close()
