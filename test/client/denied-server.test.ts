/** A client ends what it has open with a service once an operator has denied that service. */
import { expect, it } from 'vitest'
import type { Identity } from '../../src/identity/identity.ts'
import { newIdentity } from '../rigs/certificates.ts'
import { serveShop, Witness } from '../server/grpc/rig.ts'
import { authority, serve } from '../server/rig.ts'
import { causeOf, grpcRigOver } from './grpc/rig.ts'
import { opened } from './http/opened.ts'
import { endpoint, makeRig } from './http/rig.ts'
import { clientIdentity } from './identity-rig.ts'

const ID = 'spiffe://mesh.test/service/inventory'

function client() {
  const { source, identity } = clientIdentity(newIdentity(authority, 'checkout'))
  const deny = (...denied: string[]): void => {
    const next: Identity = { ...source.current, sequence: source.current.sequence + 1, denied }
    identity.verifier.setTrust(next)
    source.rotate(next)
  }
  return { identity, deny }
}

it('over HTTP: calls in flight end, connections close, and the next call is refused unsent', async () => {
  const { server } = await serve(
    (request, response) => {
      if (request.url === '/streamed') response.write('begun')
      else if (request.url !== '/long') response.end('done')
    },
    { mode: 'strict' },
  )
  const { identity, deny } = client()
  const rig = opened(await makeRig([endpoint(server.port, { tls: true })], { identity, timeoutMs: 20_000 }))
  expect(await (await rig.http.get('/')).text()).toBe('done')
  const long = rig.http.post('/long', 'x').catch((error) => error)
  const streamed = (await rig.http.post('/streamed', 'x')).text().catch((error) => error)
  await expect.poll(() => server.stats.inFlight).toBe(2)
  deny(ID)
  expect(await long).toMatchObject({ code: 'connection-lost', sent: true })
  expect((await long).message).toContain("an operator denied 'inventory' all access")
  expect(await streamed).toBeInstanceOf(Error)
  await expect.poll(() => server.stats.connections).toBe(0)
  const refused = await rig.http.post('/after', 'x').catch((error) => error)
  expect(refused).toMatchObject({ code: 'identity-rejected', sent: false })
  expect(refused.message).toContain(`(denied). An operator denied ${ID} all access`)
})

it('over gRPC: calls in flight end, the connection closes, and the next call is refused unsent', async () => {
  const witness = new Witness()
  const { server } = await serveShop(witness.handlers, { mode: 'strict' })
  const { identity, deny } = client()
  const rig = opened(grpcRigOver([endpoint(server.port, { tls: true, protocol: 'grpc' })], { identity }))
  const get = () => new Promise<Error | null>((resolve) => rig.client.get({ sku: 'a' }, resolve as never))
  const unary = get()
  const streamed = new Promise((resolve) =>
    rig.client
      .watch({ sku: 'a' })
      .on('data', () => {})
      .on('error', resolve),
  )
  await expect.poll(() => witness.begun).toHaveLength(2)
  deny(ID)
  expect((await unary)?.message).toMatch(/operator denied (?:'inventory'|spiffe:\/\/\S+) all access/)
  expect(await streamed).toBeInstanceOf(Error)
  await expect.poll(() => server.stats.connections).toBe(0)
  const refused = causeOf((await get()) as never)
  expect(refused).toMatchObject({ code: 'identity-rejected', sent: false })
  expect(refused.message).toContain(`(denied). An operator denied ${ID} all access`)
})

it('leaves connections to other services alone, and replaces none', async () => {
  const { server } = await serve((_request, response) => void response.end('done'), { mode: 'strict' })
  const { identity, deny } = client()
  const rig = opened(await makeRig([endpoint(server.port, { tls: true })], { identity }))
  expect(await (await rig.http.get('/')).text()).toBe('done')
  deny('spiffe://mesh.test/service/other')
  deny()
  for (let i = 0; i < 20; i++) expect(await (await rig.http.get('/')).text()).toBe('done')
  expect(server.stats.accepted).toBe(1)
})
