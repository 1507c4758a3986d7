/**
 * Connections of strangers: silent, half open, kept by PINGs or unread, they are gone within
 * seconds; members stay.
 */
import { once } from 'node:events'
import { createServer, type ServerHttp2Session } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect, type TLSSocket } from 'node:tls'
import { queryObjects } from 'node:v8'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Registry, startRegistry } from '../../src/registry/index.ts'
import { FLAG, frames, RawHttp2 } from '../rigs/raw-http2.ts'
import { TestSession } from '../rigs/registry-session.ts'

let registry: Registry
beforeAll(async () => {
  registry = await startRegistry({ port: 0, memory: true, log: false })
})
afterAll(() => registry.close())

const HEAD = { ':method': 'GET', ':scheme': 'https', ':path': '/healthz', ':authority': 'localhost' }

async function http1(): Promise<TLSSocket> {
  const socket = connect({ port: registry.port, host: '127.0.0.1', rejectUnauthorized: false })
  socket.on('error', () => {})
  await new Promise((resolve) => socket.once('secureConnect', resolve))
  socket.resume()
  return socket
}

test('strangers that begin no request are cut, whatever they send meanwhile, and members are not', async () => {
  const member = await TestSession.open(registry, 'checkout')
  const halfOpen = await RawHttp2.connect(registry.port, { rejectUnauthorized: false })
  halfOpen.write(frames.headers(1, HEAD, FLAG.endStream))
  const pinging = await RawHttp2.connect(registry.port, { rejectUnauthorized: false })
  const [silent, dripping] = [await http1(), await http1()]
  dripping.write('GET /healthz HTTP/1.1\r\nHost: localhost\r\n')
  const strangers = [halfOpen.socket, pinging.socket, silent, dripping]
  const until = performance.now() + 50_000
  for (let i = 0; performance.now() < until && strangers.some(({ destroyed }) => !destroyed); i++) {
    pinging.write(frames.ping())
    if (!dripping.destroyed) dripping.write(`x-${i}: 1\r\n`)
    await sleep(250)
  }
  expect(strangers.map(({ destroyed }) => destroyed)).toEqual([true, true, true, true])
  expect(member.closed).toBe(false)
  member.close()
})

test('a stranger whose requests go on is served on one connection', async () => {
  const client = await RawHttp2.connect(registry.port, { rejectUnauthorized: false })
  for (let i = 0; i < 8; i++) {
    client.write(frames.headers(2 * i + 1, HEAD))
    expect(await client.frame(({ type, streamId }) => type === 0 && streamId === 2 * i + 1)).toBeDefined()
    await sleep(1_000)
  }
  expect(client.closed).toBe(false)
  await client.close()
})

test('HTTP/2 sessions that have closed are held by nothing', async () => {
  const server = createServer()
  const began = once(server, 'session') as Promise<[ServerHttp2Session]>
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const other = await RawHttp2.connect((server.address() as AddressInfo).port)
  const Session = (await began)[0].constructor as new () => ServerHttp2Session
  await other.close()
  await new Promise((resolve) => server.close(resolve))
  for (let i = 0; i < 50; i++) {
    const client = await RawHttp2.connect(registry.port, { rejectUnauthorized: false })
    client.write(frames.headers(1, HEAD))
    await client.frame(({ streamId }) => streamId === 1)
    await client.close()
  }
  // Counting collects garbage first.
  await expect.poll(() => queryObjects(Session, { format: 'count' }), { timeout: 30_000 }).toBeLessThan(10)
})
