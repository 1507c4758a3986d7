/** Registries that greet a process and send it away at once, for ever. */
import { once } from 'node:events'
import http2 from 'node:http2'
import type { AddressInfo } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { systemClock } from '../../../src/core/clock.ts'
import { RegistryAddresses } from '../../../src/discovery/registry/addresses.ts'
import { RegistryClient } from '../../../src/discovery/registry/client.ts'
import { MovePause } from '../../../src/discovery/registry/move-pause.ts'

const closers: (() => unknown)[] = []

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

const WELCOME = { type: 'welcome', protocol: 2, epoch: 'e', leaseMs: 15_000, beatMs: 5_000, dev: true }

/** Says `farewell` after its greeting. */
async function farewellServer(farewell: object): Promise<{ readonly url: string; opened: number; open: number }> {
  const counts = { url: '', opened: 0, open: 0 }
  const sessions = new Set<http2.ServerHttp2Session>()
  const server = http2.createServer()
  server.on('session', (session) => sessions.add(session.on('error', () => {})))
  server.on('stream', (stream) => {
    counts.opened += 1
    counts.open += 1
    stream
      .on('error', () => {})
      .on('close', () => {
        counts.open -= 1
      })
    stream.resume()
    stream.respond({ ':status': 200 })
    stream.write(`${JSON.stringify({ ...WELCOME, wallNow: Date.now() })}\n${JSON.stringify(farewell)}\n`)
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  closers.push(() => {
    for (const session of sessions) session.destroy()
    server.close()
  })
  counts.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return counts
}

function connect(urls: readonly string[]): { client: RegistryClient; lost: string[] } {
  const lost: string[] = []
  const nothing = (): void => {}
  const client = new RegistryClient({
    addresses: new RegistryAddresses(urls, systemClock),
    service: 'stock',
    process: 'p',
    clock: systemClock,
    tls: () => ({}),
    observer: {
      connected: nothing,
      lost: (_registry, reason) => lost.push(reason),
      unreachable: nothing,
      rejected: nothing,
      applied: nothing,
      policyRefused: nothing,
      instanceRefused: nothing,
      bundle: () => 0,
      refused: nothing,
      unlisted: nothing,
      skew: nothing,
    },
  })
  closers.push(() => client.close())
  client.start()
  return { client, lost }
}

const pass = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

test('two registries that send a process to each other keep it moving ever more slowly, and never without a session', async () => {
  const farewell = { type: 'goaway', retryAfterMs: 0, gently: true }
  const servers = [await farewellServer(farewell), await farewellServer(farewell)]
  const { client, lost } = connect(servers.map(({ url }) => url))
  await expect.poll(() => client.connected, { timeout: 20_000 }).toBe(true)
  for (let i = 0; i < 60; i++) {
    await pass(50)
    expect(client.connected).toBe(true)
    expect(servers[0]!.open + servers[1]!.open).toBeLessThanOrEqual(3)
  }
  const opened = servers[0]!.opened + servers[1]!.opened
  expect(opened).toBeGreaterThan(1)
  expect(opened).toBeLessThanOrEqual(8)
  expect(lost).toEqual([])
})

test('a registry that says farewell in place of a session is asked ever more rarely', async () => {
  const server = await farewellServer({ type: 'goaway', retryAfterMs: 0 })
  const { lost } = connect([server.url])
  await expect.poll(() => lost.length, { timeout: 20_000 }).toBeGreaterThan(1)
  await pass(3_000)
  expect(server.opened).toBeLessThanOrEqual(15)
})

test('without another registry a process looks three times, and stays', async () => {
  const server = await farewellServer({ type: 'goaway', retryAfterMs: 0, gently: true })
  const { client, lost } = connect([server.url, 'http://127.0.0.1:1'])
  await expect.poll(() => client.connected, { timeout: 20_000 }).toBe(true)
  await pass(3_000)
  expect(client.connected).toBe(true)
  expect([server.opened, lost.length]).toEqual([1, 0])
})

test('the pause before a move grows with each request in a row, and begins anew after a minute', () => {
  const moves = new MovePause()
  const pauses = [0, 1, 2, 3, 4].map((second) => moves.asked(100, second * 1_000, 1))
  expect(pauses).toEqual([100, 600, 1_100, 2_100, 4_100])
  for (let i = 0; i < 20; i++) expect(moves.asked(0, 5_000, 1)).toBeLessThanOrEqual(60_000)
  expect(moves.asked(100, 70_000, 1)).toBe(100)
  expect([moves.failed(1), moves.failed(1), moves.failed(1)]).toEqual([1_000, 2_000, undefined])
})
