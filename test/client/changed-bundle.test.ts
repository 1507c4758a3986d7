/** What a change of the trust bundle means for the open connections of clients. */
import { once } from 'node:events'
import { createSecureServer, type ServerHttp2Stream } from 'node:http2'
import { createServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { Server } from 'node:tls'
import { expect, it, onTestFinished } from 'vitest'
import { craftLeaf, newAuthority, newBundle, newIdentity, newIntermediate } from '../rigs/certificates.ts'
import { answerMux, OFFERED, OVER_MUX } from '../rigs/mux-gateway.ts'
import { causeOf, grpcRigOver, stock } from './grpc/rig.ts'
import { opened } from './http/opened.ts'
import { endpoint, makeRig } from './http/rig.ts'
import { clientIdentity } from './identity-rig.ts'

const [former, next] = [newAuthority(), newAuthority()]
const intermediate = newIntermediate(next)
const both = newBundle([former.certificate, next.certificate], 2, { intermediates: [intermediate.certificate] })
const nextOnly = newBundle([next.certificate], 3, { intermediates: [intermediate.certificate] })

function ours() {
  const { source, identity } = clientIdentity({ ...newIdentity(former, 'checkout'), roots: both.roots })
  return { identity, bundle: (bundle: typeof both) => source.rotate({ ...source.current, ...bundle }) }
}

async function listening(server: Server): Promise<{ port: number; connections: () => number }> {
  let connections = 0
  const sockets = new Set<Socket>()
  server.on('connection', (socket) => sockets.add(socket))
  server.on('secureConnection', () => (connections += 1))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return { port: (server.address() as AddressInfo).port, connections: () => connections }
}

const run = (end: () => void): void => end()

async function http() {
  const ends: (() => void)[] = []
  const server = createServer({ ...OFFERED, ...craftLeaf(former) }, (request, response) => {
    if (request.url === '/long') {
      response.write('begun')
      ends.push(() => response.end(' and ended'))
    } else response.end('done')
  })
  if (OVER_MUX) answerMux(server)
  const { identity, bundle } = ours()
  const { port, connections } = await listening(server)
  const rig = opened(await makeRig([endpoint(port, { tls: true })], { identity, timeoutMs: 20_000 }))
  const call = async () => await (await rig.http.post('/', 'x')).text()
  return { server, rig, bundle, connections, call, end: () => ends.forEach(run) }
}

it('none over HTTP, while it trusts the peer of the connection', async () => {
  const { rig, bundle, call, connections, end } = await http()
  const long = (await rig.http.post('/long', 'x')).text()
  expect(await call()).toBe('done')
  bundle(both)
  expect(await call()).toBe('done')
  expect(connections()).toBe(OVER_MUX ? 1 : 2)
  end()
  expect(await long).toBe('begun and ended')
})

it('over HTTP, one whose root was withdrawn takes no call, and what runs on it is cut', async () => {
  const { rig, bundle, call, end } = await http()
  const long = (await rig.http.post('/long', 'x')).text().catch((error) => error)
  expect(await call()).toBe('done')
  bundle(nextOnly)
  const refused = await call().catch((error) => error)
  expect(refused).toMatchObject({ code: 'identity-rejected', sent: false })
  expect(refused.message).toContain('(untrusted-issuer)')
  expect(await long).toBeInstanceOf(Error)
  end()
})

it('over HTTP, what runs goes on at a server that has shown a certificate of the new root', async () => {
  const { server, rig, bundle, call, end } = await http()
  bundle(both)
  const long = (await rig.http.post('/long', 'x')).text()
  const { privateKey: key, certificate: cert } = newIdentity(intermediate, 'inventory')
  server.setSecureContext({ key, cert })
  expect(await call()).toBe('done')
  bundle(nextOnly)
  expect(await call()).toBe('done')
  // Longer than the grace after the end of a certificate.
  await new Promise((resolve) => setTimeout(resolve, 2_500))
  end()
  expect(await long).toBe('begun and ended')
})

async function overGrpc() {
  const server = createSecureServer(craftLeaf(former))
  server.on('stream', (stream: ServerHttp2Stream, headers) => {
    stream.on('error', () => {}).resume()
    const bytes = stock('a')
    const head = Buffer.alloc(5)
    head.writeUInt32BE(bytes.length, 1)
    const runs = headers[':path']!.endsWith('/Watch')
    stream.respond({ 'content-type': 'application/grpc' }, { waitForTrailers: !runs })
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
    stream.write(Buffer.concat([head, bytes]))
    if (!runs) stream.end()
  })
  const { identity, bundle } = ours()
  const { port, connections } = await listening(server)
  const rig = opened(grpcRigOver([endpoint(port, { tls: true, protocol: 'grpc' })], { identity }))
  const take = () => new Promise<Error | null>((resolve) => rig.client.take({ sku: 'a' }, resolve as never))
  const watched = rig.client.watch({ sku: 'a' })
  const cut = new Promise<Error>((resolve) => watched.on('error', resolve))
  await once(watched, 'data')
  return { bundle, connections, take, cut, watched }
}

it('over gRPC: none while it trusts the peer; then no call, and what runs is cut', async () => {
  const { bundle, connections, take, cut } = await overGrpc()
  bundle(both)
  expect(await take()).toBeNull()
  expect(connections()).toBe(1)
  bundle(nextOnly)
  expect(causeOf((await take()) as never)).toMatchObject({ code: 'identity-rejected', sent: false })
  expect(await cut).toMatchObject({ code: 14 })
})
