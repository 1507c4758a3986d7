/** A Fastify application in the mesh: who asks, a WebSocket, and a dependency that is missing. */
import websocket from '@fastify/websocket'
import fastify from 'fastify'
import { joinMesh } from 'inmesh'
import { meshErrorHandler, meshPlugin } from 'inmesh/fastify'

const mesh = await joinMesh({ service: 'inventory' })

const app = fastify()
await app.register(meshPlugin, { mesh }) // request.call, /livez, /readyz, app.close()
await app.register(websocket)
app.setErrorHandler(meshErrorHandler())
app.get<{ Params: { sku: string } }>('/items/:sku', async (request) => {
  return { sku: request.params.sku, stock: 7, askedBy: request.call?.peer?.service }
})
app.get<{ Params: { sku: string } }>('/prices/:sku', async (request) => {
  const price = await mesh.fetch(`http://prices/${request.params.sku}`, { timeout: '200ms' })
  return price.json()
})
app.get('/changes', { websocket: true }, (socket, request) => {
  socket.send(`for ${request.call?.peer?.service}: 42 has 6 left`)
})
await mesh.serve(app) // was: await app.listen({ port: 8080 })

for (const path of ['/items/42', '/readyz', '/prices/42']) {
  const response = await mesh.fetch(`http://inventory${path}`, { retry: false })
  console.log(response.status, (await response.text()).trim())
}
const changes = mesh.webSocket('inventory', '/changes')
await new Promise((resolve) => {
  changes.addEventListener('message', ({ data }) => resolve(console.log(data)), { once: true })
})
await mesh.close() // asks the WebSocket to close with 1001
