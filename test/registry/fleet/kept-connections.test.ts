/** Questions between registries go over connections that are kept, as long as they may be. */
import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { systemClock } from '../../../src/core/clock.ts'
import { PeerVerifier } from '../../../src/identity/peer-verifier.ts'
import { registryId } from '../../../src/identity/spiffe-id.ts'
import type { RegistryRecord } from '../../../src/registry/fleet/fleet-records.ts'
import { type Credentials, Peers } from '../../../src/registry/fleet/peers.ts'
import { craftLeaf, newAuthority, newBundle, newIdentity, TRUST_DOMAIN } from '../../rigs/certificates.ts'

const authority = newAuthority()
const peerId = registryId(TRUST_DOMAIN)

let server: Server
let answer: (request: IncomingMessage, response: ServerResponse) => void
let record: RegistryRecord
let credentials: Credentials
let peers: Peers
const accepted: TLSSocket[] = []

beforeEach(async () => {
  accepted.length = 0
  answer = (_request, response) => response.end('{"registry":"r2"}')
  const { key, cert } = craftLeaf(authority, { uris: [peerId] })
  server = createServer({ key, cert, minVersion: 'TLSv1.3' }, (request, response) => answer(request, response))
  server.on('secureConnection', (socket: TLSSocket) => accepted.push(socket))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`
  record = { id: 'r2', url, version: '0', protocol: 2, startedAt: 0, sessions: 0 }
  const verifier = new PeerVerifier(systemClock, newBundle([authority.certificate], 1))
  credentials = { identity: newIdentity(authority, 'r1'), verifier }
  peers = new Peers(systemClock, () => credentials)
})

afterEach(async () => {
  peers.close()
  server.closeAllConnections()
  server.close()
})

const ask = (timeoutMs = 30_000) => peers.get(record, '/v1/traffic/local', timeoutMs)
const closed = (socket: TLSSocket) => expect.poll(() => socket.destroyed).toBe(true)

test('one connection serves one question after the other', async () => {
  for (let i = 0; i < 20; i++) {
    expect(await ask()).toEqual({ registry: 'r2' })
    // Node keeps the connection a turn after the answer.
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  expect(accepted).toHaveLength(1)
})

test('questions at once take a few connections, of which few are kept', async () => {
  await Promise.all(Array.from({ length: 40 }, () => ask()))
  expect(accepted.length).toBeLessThanOrEqual(8)
  await expect.poll(() => accepted.filter(({ destroyed }) => !destroyed).length).toBeLessThanOrEqual(2)
})

test('a connection that the other side has ended meanwhile is replaced', async () => {
  await ask()
  // Ends as the next question comes.
  answer = (request, response) => {
    if (request.socket === accepted[0]) request.socket.destroy()
    else response.end('{"registry":"r2"}')
  }
  await new Promise((resolve) => setTimeout(resolve, 5))
  expect(await ask()).toEqual({ registry: 'r2' })
  expect(accepted).toHaveLength(2)
})

test('a peer that ends each connection is asked twice, and not for ever', async () => {
  let asked = 0
  answer = (request) => {
    asked += 1
    request.socket.destroy()
  }
  await expect(ask()).rejects.toMatchObject({ code: 'registry-unavailable' })
  expect(asked).toBe(2)
})

test('one that never answers is given up in time, and its connection is not used again', async () => {
  await ask()
  answer = () => {}
  await expect(ask(100)).rejects.toThrow('nothing within')
  await closed(accepted[0]!)
  answer = (_request, response) => response.end('{"registry":"r2"}')
  await ask()
  expect(accepted).toHaveLength(2)
})

test('a new certificate of ours opens a new connection, and ends the old one', async () => {
  await ask()
  credentials = { ...credentials, identity: newIdentity(authority, 'r1') }
  await ask()
  expect(accepted).toHaveLength(2)
  await closed(accepted[0]!)
})

test('a kept connection is of no use once its peer is denied', async () => {
  await ask()
  credentials.verifier.setTrust(newBundle([authority.certificate], 2, { denied: [peerId] }))
  await expect(ask()).rejects.toMatchObject({ code: 'identity-rejected' })
  await closed(accepted[0]!)
})

test('closing ends kept connections and questions on the way, and no more are asked', async () => {
  await ask()
  let heard = (): void => {}
  const isHeard = new Promise<void>((resolve) => {
    heard = resolve
  })
  answer = () => heard()
  const late = expect(ask()).rejects.toThrow()
  await isHeard
  peers.close()
  await late
  for (const socket of accepted) await closed(socket)
  await expect(ask()).rejects.toThrow('closes')
})
