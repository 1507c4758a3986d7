/** A request that two readers could read differently is refused before anything of it counts. */
import { connect as connectHttp2 } from 'node:http2'
import { connect } from 'node:tls'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Registry, startRegistry } from '../../../src/registry/index.ts'

let registry: Registry
let admin: string
beforeAll(async () => {
  registry = await startRegistry({ port: 0, memory: true, log: false })
  admin = `Authorization: Bearer ${registry.adminToken}\r\n`
})
afterAll(() => registry.close())

/** The statuses of all answers until the registry ends the connection, or `next` is answered. */
function statuses(text: string): Promise<number[]> {
  return new Promise((resolve, reject) => {
    const options = { port: registry.port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['http/1.1'] }
    const socket = connect(options, () => socket.write(text))
    let heard = ''
    socket.on('data', (chunk) => {
      heard += chunk.toString('latin1')
    })
    socket.on('error', reject)
    socket.on('close', () => resolve([...heard.matchAll(/HTTP\/1\.1 (\d{3})/g)].map((match) => Number(match[1]))))
  })
}

const LAST = 'GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'

test.each([
  ['two Hosts', 'GET', 'Host: localhost\r\nHost: evil.example\r\n'],
  ['the same Host twice', 'GET', 'Host: localhost\r\nhost: localhost\r\n'],
  ['two tokens, the good one first', 'GET', 'Host: localhost\r\nauthorization: Bearer x\r\n'],
  ['another coding than chunked', 'POST', 'Host: localhost\r\nTransfer-Encoding: gzip, chunked\r\n'],
])('over HTTP/1.1, with the last answer of its connection: %s', async (_what, method, headers) => {
  const body = headers.includes('chunked') ? '0\r\n\r\n' : ''
  const text = `${method} /v1/policies HTTP/1.1\r\n${admin}${headers}\r\n${body}`
  expect(await statuses(text + LAST)).toEqual([400])
})

test('a chunked body by HTTP/1.0 is refused, one by HTTP/1.1 is read', async () => {
  const head = (version: string): string =>
    `POST /v1/policies HTTP/${version}\r\nHost: localhost\r\n${admin}Transfer-Encoding: chunked\r\n\r\n`
  const json = '{"documents":[{"service":"stock","timeout":"1s"}]}'
  const body = `${json.length.toString(16)}\r\n${json}\r\n0\r\n\r\n`
  expect(await statuses(head('1.0') + body)).toEqual([400])
  expect(await statuses(head('1.1') + body + LAST)).toEqual([200, 200])
})

test.each([
  ['of another host', { host: 'evil.example' }, 400],
  ['of another port', { host: 'localhost:1' }, 400],
  ['as :authority is', { host: 'LOCALHOST' }, 200],
  ['none', {}, 200],
])('over HTTP/2, Host beside :authority: %s', async (_what, headers, expected) => {
  const session = connectHttp2(registry.url, { rejectUnauthorized: false })
  try {
    const authorization = `Bearer ${registry.adminToken}`
    const stream = session.request({ ':path': '/v1/services', ':authority': 'localhost', authorization, ...headers })
    const status = await new Promise((resolve, reject) => {
      stream.on('response', (head) => resolve(head[':status'])).on('error', reject)
    })
    expect(status).toBe(expected)
  } finally {
    session.destroy()
  }
})
