/**
 * What Node answers by itself, or by ending the process, unless the registry handles it on purpose.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { connect, type TLSSocket } from 'node:tls'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { type Registry, startRegistry } from '../../src/registry/index.ts'
import { FLAG, FRAME, frames, RawHttp2 } from '../rigs/raw-http2.ts'
import { request } from '../rigs/registry-session.ts'

let registry: Registry
const uncaught = vi.fn()

beforeAll(async () => {
  registry = await startRegistry({ port: 0, memory: true, log: false })
  process.on('uncaughtException', uncaught)
})

afterAll(async () => {
  process.off('uncaughtException', uncaught)
  await registry.close()
})

const HEAD = { ':scheme': 'https', ':authority': 'localhost', ':method': 'POST', ':path': '/v1/join' }
const http2 = () => RawHttp2.connect(registry.port, { rejectUnauthorized: false })

function http1(): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const options = { port: registry.port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['http/1.1'] }
    const socket = connect(options, () => resolve(socket))
    socket.once('error', reject)
  })
}

/** All that comes until the other side ends, after `text` was written. */
async function talk(text: string): Promise<string> {
  const socket = await http1()
  socket.on('error', () => {})
  let heard = ''
  socket.on('data', (chunk: Buffer) => {
    heard += chunk.toString('latin1')
  })
  const closed = new Promise((resolve) => socket.once('close', resolve))
  socket.write(text)
  await closed
  return heard
}

async function isServed(): Promise<void> {
  expect((await request(registry, 'GET', '/healthz')).status).toBe(200)
  expect(uncaught).not.toHaveBeenCalled()
}

test('a stream that waits for 100-continue and is reset, in one packet or two, ends nothing else', async () => {
  for (let round = 0; round < 40; round++) {
    const client = await http2()
    const bytes = Buffer.concat(
      [1, 3, 5, 7].flatMap((id) => [
        frames.headers(id, { ...HEAD, expect: '100-continue' }, FLAG.endHeaders),
        frames.data(id, Buffer.from('{')),
        frames.reset(id, 5),
      ]),
    )
    const at = Math.floor((bytes.length * round) / 40)
    client.write(bytes.subarray(0, at))
    if (round % 2 === 1) await sleep(1)
    client.write(bytes.subarray(at))
    await sleep(round % 5)
    await client.close()
  }
  await isServed()
})

test('a body is asked for by 100 only when its request is admitted', async () => {
  const client = await http2()
  client.write(frames.headers(1, { ...HEAD, expect: '100-continue' }, FLAG.endHeaders))
  await client.frame(({ type, streamId }) => type === FRAME.headers && streamId === 1)
  client.write(frames.data(1, Buffer.from('{}'), FLAG.endStream))
  const answer = await client.frame(({ type, streamId }) => type === FRAME.data && streamId === 1)
  expect(answer?.payload.toString()).toContain('service')
  await client.close()
  const body = 'Content-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n'
  const admitted = await talk(`POST /v1/join HTTP/1.1\r\nHost: localhost\r\n${body}{}`)
  expect(admitted).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 400 /)
  expect(await talk(`PUT /v1/policies/a HTTP/1.1\r\nHost: localhost\r\n${body}{}`)).toMatch(/^HTTP\/1\.1 403 /)
  await isServed()
})

test('an expectation that it does not know is refused with 417', async () => {
  const text = await talk('GET /healthz HTTP/1.1\r\nHost: localhost\r\nExpect: tea\r\nConnection: close\r\n\r\n')
  expect(text).toMatch(/^HTTP\/1\.1 417 /)
  expect(text).toContain('expectation-failed')
})

test('CONNECT and Upgrade are answered or cut, also when a reset follows', async () => {
  const client = await http2()
  const head = { ':method': 'CONNECT', ':authority': 'localhost' }
  client.write(frames.headers(1, head, FLAG.endHeaders), frames.reset(1, 2))
  client.write(frames.headers(3, head, FLAG.endHeaders))
  expect(await client.frame(({ type, streamId }) => type === FRAME.headers && streamId === 3)).toBeDefined()
  await client.close()
  expect(await talk('CONNECT localhost:1 HTTP/1.1\r\nHost: localhost:1\r\n\r\nmore')).toBe('')
  const upgrade = 'Upgrade: websocket\r\nConnection: upgrade, close\r\n\r\n'
  expect(await talk(`GET /healthz HTTP/1.1\r\nHost: localhost\r\n${upgrade}`)).toMatch(/^HTTP\/1\.1 200 /)
  await isServed()
})

test('bodies that are no UTF-8, and keys that nothing knows, are refused', async () => {
  const authorization = `Bearer ${registry.adminToken}`
  const put = (raw: string) => request(registry, 'POST', '/v1/policies', { raw, headers: { authorization } })
  const unknown = await put('{"documents":[{"service":"a"}],"dryrun":true}')
  expect(unknown.json.error).toMatchObject({ code: 'invalid-request', issues: [{ path: ['dryrun'] }] })
  const socket = await http1()
  const body = Buffer.from('{"service":"a","timeout":"1s","x":"\xff"}', 'latin1')
  const head = `Host: localhost\r\nAuthorization: ${authorization}\r\nConnection: close\r\nContent-Length: ${body.length}`
  let heard = ''
  socket.on('data', (chunk: Buffer) => {
    heard += chunk.toString()
  })
  const closed = new Promise((resolve) => socket.once('close', resolve))
  socket.write(`PUT /v1/policies/a HTTP/1.1\r\n${head}\r\n\r\n`)
  socket.write(body)
  await closed
  expect(heard).toContain('the body is not UTF-8')
})
