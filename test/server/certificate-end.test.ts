/** A connection gets nothing more from a server after its client's certificate has ended. */
import { expect, it } from 'vitest'
import type { Identity } from '../../src/identity/identity.ts'
import { opened } from '../client/http/opened.ts'
import { endpoint, makeRig } from '../client/http/rig.ts'
import { clientIdentity } from '../client/identity-rig.ts'
import { craftLeaf, newIdentity } from '../rigs/certificates.ts'
import { authority, serve } from './rig.ts'

it('refuses what comes after the end as not executed, and cuts what still runs', async () => {
  const executed: string[] = []
  const { server } = await serve(
    (request, response) => {
      executed.push(request.url!)
      if (request.url !== '/endless') response.end('done')
    },
    { mode: 'strict' },
  )
  // A certificate ends with a whole second.
  const notAfter = Math.ceil(Date.now() / 1_000) * 1_000 + 2_000
  const { key, cert } = craftLeaf(authority, { uris: ['spiffe://mesh.test/service/checkout'], notAfter })
  const ours: Identity = { ...newIdentity(authority, 'checkout'), privateKey: key, certificate: cert }
  const rig = opened(await makeRig([endpoint(server.port, { tls: true })], { identity: clientIdentity(ours).identity }))
  const endless = rig.http.post('/endless', 'x').catch((error) => error)
  expect(await (await rig.http.post('/before', 'x')).text()).toBe('done')
  await expect.poll(() => Date.now() > notAfter, { timeout: 10_000 }).toBe(true)
  const refused = await rig.http.post('/after', 'x').catch((error) => error)
  expect(refused).toMatchObject({ code: 'identity-rejected', sent: false, cause: { reason: 'expired' } })
  expect(await endless).toMatchObject({ code: 'connection-lost', sent: true })
  expect(executed.toSorted()).toEqual(['/before', '/endless'])
}, 20_000)

it('leaves what runs alone while the same identity shows a newer certificate', async () => {
  const { server } = await serve(
    async (request, response) => {
      if (request.url === '/long') await new Promise((done) => setTimeout(done, 6_000))
      response.end('done')
    },
    { mode: 'strict' },
  )
  const notAfter = Math.ceil(Date.now() / 1_000) * 1_000 + 2_000
  const { key, cert } = craftLeaf(authority, { uris: ['spiffe://mesh.test/service/checkout'], notAfter })
  const old: Identity = { ...newIdentity(authority, 'checkout'), privateKey: key, certificate: cert }
  const at = endpoint(server.port, { tls: true })
  const before = opened(await makeRig([at], { identity: clientIdentity(old).identity, timeoutMs: 20_000 }))
  const running = before.http.post('/long', 'x')
  const renewed = clientIdentity(newIdentity(authority, 'checkout')).identity
  const after = opened(await makeRig([endpoint(server.port, { tls: true })], { identity: renewed }))
  expect(await (await after.http.get('/')).text()).toBe('done')
  expect(await (await running).text()).toBe('done')
  expect(Date.now()).toBeGreaterThan(notAfter + 2_000)
}, 30_000)
