/**
 * `checkout`, which the load asks over plain HTTP in every way, and which asks inventory once for
 * each request.
 */
import { createServer } from 'node:http'
import { direct, inmesh, sidecar } from './callers.js'

const settings = JSON.parse(process.env.COMPARE)
const callers = { direct, 'direct-mtls': direct, sidecar, inmesh }
const call = await callers[settings.way](settings)

async function answer(request, response) {
  let body
  if (request.method === 'POST') {
    body = ''
    for await (const part of request) body += part
  }
  try {
    const { status, text } = await call(request.method, request.url, body)
    response.writeHead(status, { 'content-type': 'application/json', 'content-length': text.length }).end(text)
  } catch (error) {
    const text = JSON.stringify({ error: error.code ?? error.name, message: error.message })
    response.writeHead(502, { 'content-type': 'application/json' }).end(text)
  }
}

const server = createServer(answer)
server.keepAliveTimeout = 65_000
server.listen(0, '127.0.0.1', () => process.send({ port: server.address().port }))
process.on('disconnect', () => process.exit(0))
