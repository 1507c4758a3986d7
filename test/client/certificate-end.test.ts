/** A server gets nothing more from a client after the server's certificate has ended. */
import { once } from 'node:events'
import { createSecureServer, type ServerHttp2Stream } from 'node:http2'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { expect, it, onTestFinished } from 'vitest'
import { craftLeaf, newIdentity } from '../rigs/certificates.ts'
import { answerMux, OFFERED, OVER_MUX } from '../rigs/mux-gateway.ts'
import { authority } from '../server/rig.ts'
import { causeOf, grpcRigOver, stock } from './grpc/rig.ts'
import { opened } from './http/opened.ts'
import { endpoint, makeRig } from './http/rig.ts'
import { clientIdentity } from './identity-rig.ts'

/** A certificate ends with a whole second; until then the connections are made. */
const soon = (): number => Math.ceil(Date.now() / 1_000) * 1_000 + 3_000
const ours = () => clientIdentity(newIdentity(authority, 'checkout')).identity
const tlsUntil = (notAfter?: number) => ({ ...craftLeaf(authority, notAfter === undefined ? {} : { notAfter }) })
const past = (at: number) => expect.poll(() => Date.now() > at, { timeout: 15_000, interval: 100 }).toBe(true)

async function listening<T extends import('node:tls').Server>(server: T): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const sockets = new Set<import('node:net').Socket>()
  server.on('connection', (socket) => sockets.add(socket))
  onTestFinished(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return (server.address() as AddressInfo).port
}

async function httpServer(notAfter: number) {
  const asked: string[] = []
  const server = createServer({ ...OFFERED, ...tlsUntil(notAfter), keepAliveTimeout: 60_000 }, (request, response) => {
    asked.push(request.url!)
    if (request.url === '/long') response.write('begun')
    else response.end('done')
  })
  if (OVER_MUX) answerMux(server)
  const port = await listening(server)
  const rig = opened(await makeRig([endpoint(port, { tls: true })], { identity: ours(), timeoutMs: 20_000 }))
  return { asked, server, rig }
}

it('over HTTP, on an open connection or a new one, and what still runs is cut', async () => {
  const notAfter = soon()
  const { asked, rig } = await httpServer(notAfter)
  const long = await rig.http.post('/long', 'x')
  const cut = long.text().catch((error) => error)
  expect(await (await rig.http.post('/before', 'x')).text()).toBe('done')
  await past(notAfter)
  const refused = await rig.http.post('/after', 'x').catch((error) => error)
  expect(refused).toMatchObject({ code: 'identity-rejected', sent: false })
  expect(refused.message).toContain('(expired)')
  expect(await cut).toBeInstanceOf(Error)
  expect(asked).toEqual(['/long', '/before'])
})

it('over HTTP, but what runs goes on at a server that has shown a newer certificate', async () => {
  const notAfter = soon()
  const { server, rig } = await httpServer(notAfter)
  const ends: (() => void)[] = []
  server.on('request', (request, response) => {
    if (request.url === '/long') ends.push(() => response.end(' and ended'))
  })
  const long = (await rig.http.post('/long', 'x')).text()
  server.setSecureContext(tlsUntil())
  await past(notAfter)
  // A new connection, because the old one is busy and over.
  expect(await (await rig.http.post('/next', 'x')).text()).toBe('done')
  await past(notAfter + 3_000)
  for (const end of ends) end()
  expect(await long).toBe('begun and ended')
})

it('over gRPC, on an open connection or a new one, and what still runs is cut', async () => {
  const notAfter = soon()
  const asked: string[] = []
  const server = createSecureServer(tlsUntil(notAfter))
  server.on('stream', (stream: ServerHttp2Stream, headers) => {
    const path = headers[':path']!
    asked.push(path.slice(path.lastIndexOf('/') + 1))
    stream.on('error', () => {}).resume()
    const bytes = stock('a')
    const head = Buffer.alloc(5)
    head.writeUInt32BE(bytes.length, 1)
    const runs = path.endsWith('/Watch')
    stream.respond({ 'content-type': 'application/grpc' }, { waitForTrailers: !runs })
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
    stream.write(Buffer.concat([head, bytes]))
    if (!runs) stream.end()
  })
  const port = await listening(server)
  const rig = opened(grpcRigOver([endpoint(port, { tls: true, protocol: 'grpc' })], { identity: ours() }))
  const take = () => new Promise<Error | null>((resolve) => rig.client.take({ sku: 'a' }, resolve as never))
  const watched = rig.client.watch({ sku: 'a' })
  const cut = new Promise((resolve) => watched.on('data', () => {}).on('error', resolve))
  expect(await take()).toBeNull()
  await past(notAfter)
  const refused = causeOf((await take()) as never)
  expect(refused).toMatchObject({ code: 'identity-rejected', sent: false })
  expect(await cut).toMatchObject({ code: 14 })
  expect(asked.toSorted()).toEqual(['Take', 'Watch'])
})
