/**
 * A plain node:http handler in the mesh; then, like any other service would, it calls itself
 * through the mesh.
 */
import http from 'node:http'
import { currentCall, joinMesh } from 'inmesh'

const mesh = await joinMesh({ service: 'greeter' })

const server = http.createServer((req, res) => {
  const call = currentCall() // who asks, and how much time is left: verified, not just claimed
  res.setHeader('content-type', 'application/json')
  res.end(JSON.stringify({ hello: req.url, askedBy: call?.peer?.service, leftMs: call?.remainingMs }))
})
await mesh.serve(server) // mTLS, on a free port that the registry tells the callers

const response = await mesh.fetch('http://greeter/world', { timeout: '2s' })
console.log(await response.text())
await mesh.close()
