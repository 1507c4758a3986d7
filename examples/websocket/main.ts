/**
 * A room in which every message goes to everybody. One member comes by `mesh.webSocket`, the other
 * by the package ws. The room reads from their certificates who they are.
 */
import http from 'node:http'
import { currentCall, joinMesh } from 'inmesh'
import { WebSocketServer, WebSocket as WsClient } from 'ws'

const mesh = await joinMesh({ service: 'chat' })

const room = new WebSocketServer({ noServer: true })
const server = http.createServer((_req, res) => res.writeHead(426).end())
server.on('upgrade', (request, socket, head) => {
  const from = currentCall()?.peer?.service // verified, before anything is read
  room.handleUpgrade(request, socket, head, (member) => {
    member.on('message', (text) => {
      for (const each of room.clients) each.send(`${from}: ${text}`)
    })
  })
})
await mesh.serve(server)

const first = mesh.webSocket('chat', '/room')
first.addEventListener('message', ({ data }) => console.log(`first hears ${data}`))
first.addEventListener('close', ({ code }) => console.log(`first is closed with ${code}`))
await new Promise((resolve, reject) => {
  first.addEventListener('open', resolve)
  first.addEventListener('error', (event) => reject((event as unknown as { error: Error }).error))
})

const second = new WsClient('ws://chat/room', { createConnection: mesh.createConnection('chat') })
second.on('open', () => second.send('hello'))
await new Promise((resolve) => first.addEventListener('message', resolve, { once: true }))

await mesh.close() // asks both to close with 1001, and waits for them
