/** A server ends what a denied caller has open, and refuses it from then on. */
import { Agent } from 'node:https'
import { connect } from 'node:tls'
import * as grpc from '@grpc/grpc-js'
import { expect, it } from 'vitest'
import { opened } from '../client/http/opened.ts'
import { endpoint, makeRig } from '../client/http/rig.ts'
import { clientIdentity } from '../client/identity-rig.ts'
import { newIdentity } from '../rigs/certificates.ts'
import { meshClient, serveShop, Witness } from './grpc/rig.ts'
import { ask, authority, clientOf, type FakeIdentitySource, serve, TRUSTING } from './rig.ts'

const ID = 'spiffe://mesh.test/service/checkout'

function deny(identity: FakeIdentitySource, ...denied: string[]): void {
  identity.rotate({ ...identity.current, sequence: identity.current.sequence + 1, denied })
}

const clientAs = async (port: number, service: string) =>
  opened(
    await makeRig([endpoint(port, { tls: true })], {
      identity: clientIdentity(newIdentity(authority, service)).identity,
      timeoutMs: 20_000,
    }),
  )

it('answers an HTTP call in flight with 403, and those after it as not executed', async () => {
  const executed: string[] = []
  const { server, identity, events } = await serve(
    (request, response) => {
      executed.push(request.url!)
      if (request.url !== '/long') response.end('done')
    },
    { mode: 'strict' },
  )
  const rig = await clientAs(server.port, 'checkout')
  expect(await (await rig.http.get('/before')).text()).toBe('done')
  const long = rig.http.post('/long', 'x')
  await expect.poll(() => executed).toContain('/long')
  deny(identity, ID)
  const answer = await long
  expect(answer.status).toBe(403)
  expect(await answer.json()).toEqual({
    error: { code: 'identity-rejected', message: `An operator denied ${ID} all access.` },
  })
  const refused = await rig.http.post('/after', 'x').catch((error) => error)
  expect(refused).toMatchObject({ code: 'identity-rejected', sent: false, cause: { reason: 'denied' } })
  expect(executed).toEqual(['/before', '/long'])
  expect(events.of('peer:refused')).toContainEqual(expect.objectContaining({ side: 'server', reason: 'denied' }))
  await expect.poll(() => server.stats.connections).toBe(0)
})

it('cuts a streamed answer, and closes idle connections', async () => {
  const { server, identity } = await serve((_request, response) => void response.write('begun'), { mode: 'strict' })
  const agent = new Agent({ keepAlive: true, ...TRUSTING, ...clientOf('checkout') })
  const streamed = ask(server.port, { as: clientOf('checkout'), agent }).catch((error) => error)
  await expect.poll(() => server.stats.inFlight).toBe(1)
  const { server: idle, identity: other } = await serve((_request, response) => void response.end('done'), {
    mode: 'strict',
  })
  await ask(idle.port, { as: clientOf('checkout'), agent })
  expect(idle.stats.connections).toBe(1)
  deny(identity, ID)
  deny(other, ID)
  expect(await streamed).toBeInstanceOf(Error)
  await expect.poll(() => [server.stats.connections, idle.stats.connections]).toEqual([0, 0])
  agent.destroy()
})

it('ends a WebSocket, a request that it waits for, and one behind another', async () => {
  const { server, identity } = await serve((_request, response) => void response.write('begun'), {
    mode: 'strict',
    onUpgrade: (_request, socket) =>
      void socket.write('HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n'),
  })
  const head = (line: string, more = ''): string => `${line} HTTP/1.1\r\nhost: inventory\r\n${more}\r\n`
  const upgrade = head('GET /ws', 'connection: upgrade\r\nupgrade: websocket\r\n')
  const requests = [upgrade, `${head('POST /upload', 'content-length: 9\r\n')}part`, head('GET /a') + head('GET /b')]
  const ended = requests.map(
    (text) =>
      new Promise<string>((resolve) => {
        const socket = connect({ port: server.port, host: '127.0.0.1', ...TRUSTING, ...clientOf('checkout') })
        let received = ''
        socket.on('secureConnect', () => socket.write(text))
        socket.on('data', (part) => {
          received += part
        })
        socket.on('error', () => {})
        socket.on('close', () => resolve(received))
      }),
  )
  await expect.poll(() => server.stats.inFlight).toBe(3)
  deny(identity, ID)
  const answers = await Promise.all(ended)
  expect(answers[0]).toMatch(/^HTTP\/1.1 101 /)
  // The second of two on one connection is never answered.
  for (const answer of answers) expect(answer.match(/HTTP\/1.1 /g)).toHaveLength(1)
  await expect.poll(() => [server.stats.inFlight, server.stats.connections]).toEqual([0, 0])
})

it('answers gRPC calls of all kinds with UNAUTHENTICATED, and refuses those after them', async () => {
  const witness = new Witness()
  const { server, identity } = await serveShop(witness.handlers, { mode: 'strict' })
  const client = meshClient(server.port)
  const failures: Promise<grpc.ServiceError>[] = [
    new Promise((resolve) => client.get({ sku: 'a' }, (error) => resolve(error!))),
    new Promise((resolve) => {
      client.upload((error) => resolve(error!)).write({ sku: 'a' })
    }),
    new Promise((resolve) => {
      client
        .watch({ sku: 'a' })
        .on('data', () => {})
        .on('error', resolve as never)
    }),
    new Promise((resolve) => {
      client
        .chat()
        .on('data', () => {})
        .on('error', resolve as never)
        .write({ sku: 'a' })
    }),
  ]
  await expect.poll(() => witness.begun).toHaveLength(4)
  deny(identity, ID)
  for (const error of await Promise.all(failures)) {
    expect(error).toMatchObject({ code: grpc.status.UNAUTHENTICATED, details: `An operator denied ${ID} all access.` })
  }
  await expect.poll(() => server.stats.connections).toBe(0)
  const after = await new Promise<grpc.ServiceError | null>((resolve) => client.get({ sku: 'b' }, resolve))
  expect(after).toMatchObject({ code: grpc.status.UNAVAILABLE })
  expect(witness.begun).toHaveLength(4)
})

it('harms no other caller: its connection, its calls and its streams go on', async () => {
  const ends: (() => void)[] = []
  const { server, identity } = await serve(
    (request, response) => {
      if (request.url === '/long') ends.push(() => response.end('ended'))
      else response.end('done')
    },
    { mode: 'strict' },
  )
  const rig = await clientAs(server.port, 'billing')
  const long = rig.http.get('/long')
  await expect.poll(() => ends).toHaveLength(1)
  const { accepted } = server.stats
  deny(identity, ID, 'spiffe://mesh.test/service/other')
  expect(server.stats.connections).toBe(1)
  ends[0]!()
  expect(await (await long).text()).toBe('ended')
  expect(await (await rig.http.get('/')).text()).toBe('done')
  expect(server.stats.accepted, 'on the same connection').toBe(accepted)
})

it('serves a caller again that is allowed again', async () => {
  const { server, identity } = await serve((_request, response) => void response.end('done'), { mode: 'strict' })
  const rig = await clientAs(server.port, 'checkout')
  deny(identity, ID)
  expect(await rig.http.get('/').catch((error) => error)).toMatchObject({ code: 'identity-rejected' })
  deny(identity)
  expect(await (await rig.http.get('/')).text()).toBe('done')
})
