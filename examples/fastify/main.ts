/**
 * A Fastify 5 application in the mesh: `serve` takes the instance itself and makes it ready first.
 */
import fastify from 'fastify'
import { currentCall, joinMesh } from 'inmesh'

const mesh = await joinMesh({ service: 'inventory' })

const app = fastify()
app.get<{ Params: { sku: string } }>('/items/:sku', async (request) => ({
  sku: request.params.sku,
  stock: 7,
  askedBy: currentCall()?.peer?.service,
}))
await mesh.serve(app) // was: await app.listen({ port: 8080 })

const response = await mesh.fetch('http://inventory/items/42')
console.log(await response.text())
await mesh.close()
