/** A registry that dies while a process joins: the process asks the next one for the same use. */
import { once } from 'node:events'
import net, { type AddressInfo, type Socket } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { systemClock } from '../../../src/core/clock.ts'
import { RegistryAddresses } from '../../../src/discovery/registry/addresses.ts'
import { registryIssuer } from '../../../src/discovery/registry/issuer.ts'
import { parseToken } from '../../../src/identity/join-token.ts'
import { type Registry, startRegistry } from '../../../src/registry/index.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'
import { csrOf, newKey, request } from '../../rigs/registry-session.ts'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

async function start(): Promise<Registry> {
  const registry = await startRegistry({ port: 0, memory: true, log: false })
  closers.push(() => registry.close())
  return registry
}

/** A way to the registry that breaks while the answer to the `nth` connection's request arrives. */
async function breaking(registry: Registry, nth: number): Promise<{ readonly url: string; broken: boolean }> {
  let connections = 0
  const sockets = new Set<Socket>()
  const way = { url: '', broken: false }
  const server = net.createServer((client) => {
    connections += 1
    const breaks = connections === nth
    const upstream = net.connect(registry.port, '127.0.0.1')
    let flights = 0
    let held = 0
    for (const socket of [client, upstream]) sockets.add(socket.on('error', () => {}))
    const cut = (): void => {
      client.destroy()
      upstream.destroy()
    }
    client.on('data', (data) => {
      flights += 1
      upstream.write(data)
    })
    // After the client's second flight, its request, nothing gets back to it any more.
    upstream.on('data', (data) => {
      if (!breaks || flights < 2) client.write(data)
      else held += data.length
      // The tickets of TLS are shorter.
      if (held > 1_500) {
        way.broken = true
        cut()
      }
    })
    client.on('close', cut)
    upstream.on('close', cut)
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  closers.push(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  way.url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`
  return way
}

const usesLeft = async (registry: Registry): Promise<number> =>
  (await request(registry, 'GET', '/v1/tokens', { admin: true })).json.tokens[0].usesLeft

/** Tries `first` first. */
function addressesFrom(first: string, then: string): RegistryAddresses {
  const addresses = new RegistryAddresses([first, then], systemClock)
  addresses.answered({ url: first, ip: undefined })
  return addresses
}

test('a registry that dies with its answer on the way costs no second use of the token', async () => {
  const registry = await start()
  const token = await registry.createJoinToken({ service: 'checkout' })
  // The first connection fetches the root, the second compares the clocks, the third joins.
  const way = await breaking(registry, 3)
  // No time passes, so the second one is not asked because the first is slow.
  const clock = new FakeClock({ wallNow: Date.now() })
  const issue = registryIssuer({
    addresses: addressesFrom(way.url, registry.url),
    service: 'checkout',
    joinToken: { ask: async () => parseToken(token)!, spent: () => {} },
    clock,
  })
  const { certificate } = await issue(csrOf(newKey()), undefined, 20_000)
  expect(way.broken).toBe(true)
  expect(certificate).toContain('BEGIN CERTIFICATE')
  expect(await usesLeft(registry)).toBe(0)
})

test('another process does not get the use that a dead answer took', async () => {
  const registry = await start()
  const token = await registry.createJoinToken({ service: 'checkout' })
  const ask = (csr: string) => request(registry, 'POST', '/v1/join', { body: { service: 'checkout', csr, token } })
  const csr = csrOf(newKey())
  expect((await ask(csr)).status).toBe(200)
  expect((await ask(csrOf(newKey()))).json.error.code).toBe('token-used')
  expect((await ask(csr)).status).toBe(200)
})

test('a token that a registry does not know yet is shown to the next one, and then refused', async () => {
  const registry = await start()
  const { fingerprint } = parseToken(await registry.createJoinToken({ service: 'checkout' }))!
  const unknown = { kind: 'join', secret: 'A'.repeat(43), fingerprint } as const
  const issue = registryIssuer({
    addresses: new RegistryAddresses([registry.url, `https://localhost:${registry.port}`], systemClock),
    service: 'checkout',
    joinToken: { ask: async () => unknown, spent: () => {} },
    clock: systemClock,
  })
  await expect(issue(csrOf(newKey()), undefined, 20_000)).rejects.toMatchObject({ cause: 'token-unknown' })
  const { text } = await request(registry, 'GET', '/v1/audit', { admin: true })
  expect(text.split('"token-unknown"')).toHaveLength(3)
})
