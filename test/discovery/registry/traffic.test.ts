/** A registry that asks for traffic and does not read it for a while, over a real HTTP/2 stream. */
import { once } from 'node:events'
import http2 from 'node:http2'
import type { AddressInfo } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { systemClock } from '../../../src/core/clock.ts'
import { RegistryAddresses } from '../../../src/discovery/registry/addresses.ts'
import { RegistryClient } from '../../../src/discovery/registry/client.ts'
import type { RegistryObserver } from '../../../src/discovery/registry/observer.ts'
import type { TrafficMessage } from '../../../src/discovery/traffic/message.ts'

const closers: (() => unknown)[] = []

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

const WELCOME = { type: 'welcome', protocol: 2, epoch: 'e', leaseMs: 15_000, beatMs: 5_000, dev: true }

/** It greets and reads one chunk, and the rest when it is asked to. */
async function listen(traffic?: { everyMs: number }) {
  const server = http2.createServer()
  const sessions = new Set<http2.ServerHttp2Session>()
  const heard = { url: '', text: '', read: () => {} }
  server.on('session', (session) => sessions.add(session.on('error', () => {})))
  server.on('stream', (stream) => {
    stream.on('error', () => {})
    stream.respond({ ':status': 200 })
    stream.on('data', (chunk: Buffer) => {
      if (heard.text === '') stream.pause()
      heard.text += chunk
    })
    heard.read = () => stream.resume()
    stream.write(`${JSON.stringify({ ...WELCOME, wallNow: Date.now(), traffic })}\n`)
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  closers.push(() => {
    for (const session of sessions) session.destroy()
    server.close()
  })
  heard.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return heard
}

function connect(url: string, more: Partial<RegistryObserver>): RegistryClient {
  const nothing = (): void => {}
  const client = new RegistryClient({
    addresses: new RegistryAddresses([url], systemClock),
    service: 'stock',
    process: 'p',
    clock: systemClock,
    tls: () => ({}),
    observer: {
      ...{ connected: nothing, lost: nothing, unreachable: nothing, rejected: nothing, applied: nothing },
      ...{ policyRefused: nothing, instanceRefused: nothing, bundle: () => 0, refused: nothing, unlisted: nothing },
      ...{ skew: nothing, ...more },
    },
  })
  closers.push(() => client.close())
  client.start()
  return client
}

/** As long as a message may be. */
function report(sequence: number): TrafficMessage {
  const series = Array.from({ length: 500 }, (_, i) => ({
    to: 'inventory',
    protocol: 'http',
    route: `r${i}`,
    calls: 1,
  }))
  return { type: 'traffic', sequence, forMs: 5_000, series }
}

test('a full stream is not ready for more, and is again once the registry has read', async () => {
  const registry = await listen({ everyMs: 5_000 })
  const asked: unknown[] = []
  const client = connect(registry.url, { trafficAsked: (everyMs) => asked.push(everyMs) })
  expect(client.isReady).toBe(false)
  await expect.poll(() => asked, { timeout: 20_000 }).toEqual([5_000])
  let sent = 0
  while (client.isReady && sent < 1_000) client.tellTraffic(report(++sent))
  expect(sent).toBeGreaterThan(0)
  expect(sent).toBeLessThan(1_000)
  registry.read()
  await expect.poll(() => client.isReady, { timeout: 20_000 }).toBe(true)
  await expect.poll(() => registry.text.split('"type":"traffic"').length - 1).toBe(sent)
})

test('a process says in its greeting whether it reports', async () => {
  const [one, other] = [await listen(), await listen()]
  const asked: unknown[] = []
  connect(one.url, { trafficAsked: (everyMs) => asked.push(everyMs) })
  connect(other.url, {})
  await expect.poll(() => one.text !== '' && other.text !== '', { timeout: 20_000 }).toBe(true)
  expect(JSON.parse(one.text.split('\n')[0]!)).toMatchObject({ type: 'hello', traffic: true })
  expect(JSON.parse(other.text.split('\n')[0]!)).not.toHaveProperty('traffic')
  // The registry of an older version does not ask.
  await expect.poll(() => asked).toEqual([undefined])
})
