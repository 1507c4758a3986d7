/** A plain node:http handler in the mesh: serves itself, calls itself through the mesh, and shows who asked. */
import http from 'node:http'
import { currentCall, joinMesh } from 'inmesh'

const mesh = await joinMesh({ service: 'greeter' })

const server = http.createServer((req, res) => {
  const call = currentCall()
  res.setHeader('content-type', 'application/json')
  res.end(JSON.stringify({ hello: req.url, from: call?.peer?.service, leftMs: call?.remainingMs }))
})
await mesh.serve(server)

const response = await mesh.fetch('http://greeter/world')
console.log(await response.json())
await mesh.close()
