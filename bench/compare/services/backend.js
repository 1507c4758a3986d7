/**
 * One instance of `inventory`, the same in every way but for who serves it: 1 KB of JSON without
 * work. Every request that reaches it is in the ledger, a file, before it is answered, so that a
 * kill hides nothing. JavaScript, because running TypeScript costs a process 40 MB, which are none
 * of what is compared.
 */
import { openSync, writeSync } from 'node:fs'
import { createServer } from 'node:http'
import { createServer as createTlsServer } from 'node:https'

/**
 * As a pre-stop hook does it: health checks, one every 2 s, have to fail twice before nobody asks
 * us any more.
 */
const NOTICE_MS = 3_000
const GRACE_MS = 5_000
/**
 * Longer than any client keeps a connection idle, as behind every proxy, or the server closes what
 * a client is about to use.
 */
const KEEP_ALIVE_MS = 65_000

const settings = JSON.parse(process.env.COMPARE)
const ledger = openSync(settings.ledger, 'a')
const body = JSON.stringify({ by: settings.name, stock: 7, note: 'x'.repeat(1024 - 40 - settings.name.length) })
let delayMs = 0
let failShare = 0
let leaving = false

function answer(request, response) {
  if (request.url === '/health') {
    response.writeHead(leaving ? 503 : 200).end()
    return
  }
  writeSync(ledger, `${request.url.slice('/items/'.length)}\n`)
  if (request.method === 'POST') request.resume().once('end', () => answerLater(response))
  else answerLater(response)
}

function answerLater(response) {
  if (delayMs > 0) setTimeout(finish, delayMs, response)
  else finish(response)
}

function finish(response) {
  if (failShare > 0 && Math.random() < failShare) {
    response.writeHead(503, { 'content-type': 'application/json', 'content-length': 2 }).end('{}')
    return
  }
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length }).end(body)
}

/** What a user writes by hand. */
async function serveByHand({ tls, port }) {
  const server =
    tls === undefined
      ? createServer(answer)
      : createTlsServer({ ...tls, minVersion: 'TLSv1.3', requestCert: true }, answer)
  server.on('secureConnection', (socket) => {
    if (socket.getPeerCertificate().subject?.CN !== 'checkout') socket.destroy()
  })
  server.keepAliveTimeout = KEEP_ALIVE_MS
  process.once('SIGTERM', () => {
    leaving = true
    setTimeout(() => server.close(() => process.exit(0)), NOTICE_MS)
    setTimeout(() => process.exit(0), NOTICE_MS + GRACE_MS)
  })
  await new Promise((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', resolve))
}

async function serveInMesh() {
  const { joinMesh } = await import('inmesh')
  const mesh = await joinMesh({ service: 'inventory' })
  await mesh.serve(answer, { host: '127.0.0.1' })
}

process.on('message', (command) => {
  delayMs = command.delayMs ?? 0
  failShare = command.failShare ?? 0
})
process.on('disconnect', () => process.exit(0))
await (settings.way === 'inmesh' ? serveInMesh() : serveByHand(settings))
process.send('ready')
