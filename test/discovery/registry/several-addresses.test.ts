/** A name with several addresses on real sockets: a registry, nothing, and one that hangs. */
import { once } from 'node:events'
import net from 'node:net'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { systemClock } from '../../../src/core/clock.ts'
import { RegistryAddresses } from '../../../src/discovery/registry/addresses.ts'
import { requestKeys } from '../../../src/discovery/registry/token-issuer.ts'
import { type Registry, startRegistry } from '../../../src/registry/index.ts'
import { deadPort } from '../../rigs/dead-port.ts'
import { Member } from '../../rigs/member-session.ts'
import { ScriptedRegistry } from '../../rigs/scripted-registry.ts'

let registry: Registry
const closers: (() => unknown)[] = []

beforeEach(async () => {
  registry = await startRegistry({ port: 0, dev: true, memory: true, log: false })
  closers.push(() => registry.close())
})

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

/** Takes connections on another address of this machine, and says nothing. */
async function hang(address: string, port: number): Promise<net.Socket[]> {
  const sockets: net.Socket[] = []
  const server = net.createServer((socket) => sockets.push(socket.on('error', () => {})))
  await once(server.listen(port, address), 'listening')
  closers.push(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return sockets
}

async function open(urls: readonly string[], ips: readonly string[]): Promise<Member> {
  const member = await Member.open(urls, 'checkout', { resolve: async () => ips })
  closers.push(() => member.close())
  return member
}

const connected = (member: Member): Promise<void> =>
  expect.poll(() => member.client.connected, { timeout: 20_000 }).toBe(true)

test('joining and the session find the address of a name that answers, beside two that do not', async () => {
  const url = `https://localhost:${registry.port}`
  await hang('127.0.0.2', registry.port)
  const members = await Promise.all(
    Array.from({ length: 6 }, () => open([url], ['127.0.0.1', '127.0.0.2', '127.0.0.3'])),
  )
  await Promise.all(members.map(connected))
  for (const { registries } of members) expect(registries).toEqual([`${url} (127.0.0.1)`])
})

test('an address of a name that fails is not reported while another of it answers', async () => {
  const url = `https://localhost:${registry.port}`
  const members = await Promise.all(Array.from({ length: 6 }, () => open([url], ['127.0.0.1', '127.0.0.3'])))
  await Promise.all(members.map(connected))
  for (const { told } of members) expect(told.map(({ what }) => what)).toEqual(['connected'])
})

test('a name whose addresses all fail is reported once, by its name', async () => {
  const port = await deadPort()
  const urls = [`https://localhost:${port}`, registry.url]
  const members = await Promise.all(Array.from({ length: 8 }, () => open(urls, ['127.0.0.2', '127.0.0.3'])))
  await Promise.all(members.map(connected))
  const unreachable = members.flatMap(({ told }) => told.filter(({ what }) => what === 'unreachable'))
  for (const one of unreachable) expect(one).toMatchObject({ registry: urls[0] })
  for (const { registries } of members) expect(registries).toEqual([registry.url])
})

test('a registry of another mesh at one of the addresses is refused, and the session goes elsewhere', async () => {
  const member = await open([registry.url], [])
  await connected(member)
  const stranger = await new ScriptedRegistry().listen()
  closers.push(() => stranger.close())
  // As one that knows its mesh: what is presented on loopback would be believed by a newcomer.
  const identity = new RegistryAddresses([stranger.url, registry.url], systemClock)
  await expect(
    requestKeys({ addresses: identity, clock: systemClock, tls: () => member.tls() }),
  ).resolves.toMatchObject({ keys: expect.any(Array) })
})
