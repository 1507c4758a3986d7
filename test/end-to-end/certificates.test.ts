/**
 * Invalid certificates, offered to clients and servers of the mesh over real TLS, are refused with
 * a reason; nothing is executed.
 */
import { once } from 'node:events'
import { connect as connectPlain } from 'node:net'
import { connect as connectSecure, createServer, type Server, type TLSSocket } from 'node:tls'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { privateKeyPem } from '../../src/identity/key.ts'
import type { Mesh } from '../../src/index.ts'
import type { MeshServer } from '../../src/mesh/mesh-server.ts'
import { craftLeaf, type Leaf, newAuthority, newKey, TRUST_DOMAIN } from '../rigs/certificates.ts'
import { ScriptedRegistry } from '../rigs/scripted-registry.ts'
import { countOf, eventually, Rig } from './rig.ts'

let rig: Rig
let registry: ScriptedRegistry
let client: Mesh
let server: Mesh
let strict: MeshServer
let handled = 0

beforeAll(async () => {
  rig = new Rig()
  registry = await new ScriptedRegistry().listen()
  rig.onClose(() => registry.close())
  client = await rig.join({ service: 'checkout', registry: registry.url })
  server = await rig.join({ service: 'inventory', registry: registry.url })
  strict = await server.serve(
    (_req, res) => {
      handled += 1
      res.end('hello')
    },
    { host: '127.0.0.1' },
  )
})

afterAll(async () => {
  await rig.close()
})

const HOUR = 3_600_000
const ID = (service: string, domain = TRUST_DOMAIN): string => `spiffe://${domain}/service/${service}`

/** Each wrong in one way; `service` is who it would be if it were right. */
const WRONG: readonly (readonly [what: string, reason: string, leaf: (service: string) => Leaf])[] = [
  ['two URI names', 'several-uri-names', (service) => leafOf({ uris: [ID(service), ID('other')] })],
  ['no name at all', 'no-uri-name', () => leafOf({ uris: [] })],
  ['only a DNS name', 'no-uri-name', (service) => leafOf({ uris: [], dnsNames: [service] })],
  ['only a common name', 'no-uri-name', (service) => leafOf({ uris: [], commonName: service })],
  ['CA:TRUE', 'ca-certificate', (service) => leafOf({ uris: [ID(service)], ca: true })],
  ['another trust domain', 'foreign-trust-domain', (service) => leafOf({ uris: [ID(service, 'evil.test')] })],
  [
    'an end in the past',
    'expired',
    (service) => leafOf({ uris: [ID(service)], notBefore: Date.now() - 2 * HOUR, notAfter: Date.now() - HOUR / 60 }),
  ],
  [
    'a begin in the future',
    'not-yet-valid',
    (service) => leafOf({ uris: [ID(service)], notBefore: Date.now() + HOUR, notAfter: Date.now() + 2 * HOUR }),
  ],
  ['a stranger as its issuer', 'untrusted-issuer', (service) => craftLeaf(newAuthority(), { uris: [ID(service)] })],
  ['its own signature', 'untrusted-issuer', (service) => selfSigned(service)],
]

function leafOf(choices: Parameters<typeof craftLeaf>[1]): Leaf {
  return craftLeaf(registry.authority, choices)
}

function selfSigned(service: string): Leaf {
  const { privateKey, publicKey } = newKey()
  const self = { ...newAuthority(), signingKey: privateKey }
  const { cert } = craftLeaf(self, { uris: [ID(service)], publicKey })
  return { key: privateKeyPem(privateKey), cert }
}

interface Impostor {
  readonly port: number
  readonly bytes: () => number
  readonly connections: () => number
}

/** A TLS server that shows `leaf` and counts what it gets to read. */
async function impostor(leaf: Leaf): Promise<Impostor> {
  let bytes = 0
  let connections = 0
  const listening: Server = createServer({
    ...leaf,
    requestCert: true,
    rejectUnauthorized: false,
    ALPNProtocols: ['http/1.1'],
  })
  const sockets = new Set<{ destroy(): void }>()
  listening.on('connection', (socket) => {
    connections += 1
    sockets.add(socket)
    socket.on('error', () => {})
  })
  listening.on('tlsClientError', () => {})
  listening.on('secureConnection', (socket: TLSSocket) => {
    socket.on('error', () => {})
    socket.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      socket.end('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi')
    })
  })
  listening.listen(0, '127.0.0.1')
  await once(listening, 'listening')
  rig.onClose(() => {
    for (const socket of sockets) socket.destroy()
    listening.close()
  })
  const { port } = listening.address() as { port: number }
  return { port, bytes: () => bytes, connections: () => connections }
}

let next = 0

/** Calls a service whose only instance is the impostor. */
async function callImpostor(make: (service: string) => Leaf, reason: string): Promise<void> {
  const service = `shop-${next++}`
  const fake = await impostor(make(service))
  const fixed = { address: '127.0.0.1', protocol: 'http', tls: true, zone: undefined, version: undefined } as const
  registry.put({ ...fixed, service, id: service, port: fake.port, weight: 100, metadata: {}, state: 'ready' })
  const before = countOf(client, 'peer:refused')
  await expect(client.http(service).post('/', 'secret', { timeout: '5s' })).rejects.toMatchObject({
    name: 'MeshError',
    code: 'identity-rejected',
    sent: false,
    message: expect.stringContaining(reason),
  })
  expect(countOf(client, 'peer:refused')).toBeGreaterThan(before)
  const told = client.events().filter(({ name, payload }) => name === 'peer:refused' && payload.peer === service)
  expect(told[0]?.payload).toMatchObject({ side: 'client', reason, peer: service, address: `127.0.0.1:${fake.port}` })
  expect(fake.connections()).toBeGreaterThan(0)
  expect(fake.bytes()).toBe(0)
}

test.each(WRONG)('a client refuses a server with %s (%s) and sends it nothing', async (_what, reason, leaf) => {
  await callImpostor(leaf, reason)
})

test("a client refuses another service's good certificate at the address of the one it called", async () => {
  await callImpostor(() => leafOf({ uris: [ID('prices')] }), 'wrong-service')
})

test('a server that shows the right certificate is called, so that the refusals above mean something', async () => {
  const fake = await impostor(leafOf({ uris: [ID('honest')] }))
  const fixed = { address: '127.0.0.1', protocol: 'http', tls: true, zone: undefined, version: undefined } as const
  registry.put({
    ...fixed,
    service: 'honest',
    id: 'honest',
    port: fake.port,
    weight: 100,
    metadata: {},
    state: 'ready',
  })
  expect(await (await client.http('honest').post('/', 'secret')).text()).toBe('hi')
})

const REQUEST = 'GET / HTTP/1.1\r\nhost: inventory\r\nconnection: close\r\n\r\n'

/**
 * All that a server answers to a request over `socket`, until the connection ends, in whatever way.
 */
async function answerOn(socket: TLSSocket | ReturnType<typeof connectPlain>, event: string): Promise<string> {
  let answer = ''
  socket.on('data', (chunk: Buffer) => {
    answer += chunk.toString('latin1')
  })
  socket.on('error', () => {})
  socket.once(event, () => socket.write(REQUEST))
  await new Promise((resolve) => socket.once('close', resolve))
  return answer
}

function knock(leaf: Leaf | undefined, port = strict.port): Promise<string> {
  const options = { host: '127.0.0.1', port, ca: registry.authority.certificate, checkServerIdentity: () => undefined }
  return answerOn(connectSecure({ ...options, ...leaf }), 'secureConnect')
}

function reasonsOf(mesh: Mesh): unknown[] {
  return mesh
    .events()
    .filter(({ name }) => name === 'peer:refused')
    .map(({ payload }) => payload.reason)
}

test.each([...WRONG, ['no certificate', 'no-certificate', () => undefined] as const])(
  'a strict server refuses a client with %s (%s) before its handler runs',
  async (_what, reason, leaf) => {
    const [before, ran] = [countOf(server, 'peer:refused'), handled]
    const answer = await knock(leaf('checkout'))
    expect(answer).toMatch(/^HTTP\/1\.1 403 /)
    expect(answer).toContain(`inmesh-not-executed: identity-rejected; reason=${reason}\r\n`)
    await eventually('it is told', () => countOf(server, 'peer:refused') === before + 1)
    expect(reasonsOf(server)).toContain(reason)
    expect(handled).toBe(ran)
  },
)

test('a client with a right certificate is served, so that the refusals above mean something', async () => {
  const ran = handled
  expect(await knock(leafOf({ uris: [ID('checkout')] }))).toMatch(/^HTTP\/1\.1 200 /)
  expect(handled).toBe(ran + 1)
})

test('plaintext to a strict server is refused; a permissive one takes both', async () => {
  const ran = handled
  expect(await answerOn(connectPlain(strict.port, '127.0.0.1'), 'connect')).not.toMatch(/HTTP\/1\.1 200/)
  expect(handled).toBe(ran)

  const permissive = await server.serve((_req, res) => res.end('either'), { host: '127.0.0.1', mode: 'permissive' })
  expect(await answerOn(connectPlain(permissive.port, '127.0.0.1'), 'connect')).toMatch(/either$/)
  expect(await knock(leafOf({ uris: [ID('checkout')] }), permissive.port)).toMatch(/either$/)
  expect(await knock(leafOf({ uris: [ID('checkout'), ID('other')] }), permissive.port)).toMatch(/^HTTP\/1\.1 403 /)
})
