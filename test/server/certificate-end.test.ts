/** A connection gets nothing more from a server after its client's certificate has ended. */
import { expect, it } from 'vitest'
import type { Identity } from '../../src/identity/identity.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import { opened } from '../client/http/opened.ts'
import { endpoint, makeRig } from '../client/http/rig.ts'
import { clientIdentity } from '../client/identity-rig.ts'
import { craftLeaf, newIdentity } from '../rigs/certificates.ts'
import { authority, pause, serve, serverStack } from './rig.ts'

/** Longer than the certificate. */
const CALL_MS = 250_000

/** Longer than a test takes: the certificate ends by the clock of the server alone. */
function brief(clock: FakeClock): { ours: Identity; notAfter: number } {
  // A certificate ends with a whole second.
  const notAfter = Math.ceil(clock.wallNow() / 1_000) * 1_000 + 50_000
  const { key, cert } = craftLeaf(authority, { uris: ['spiffe://mesh.test/service/checkout'], notAfter })
  return { ours: { ...newIdentity(authority, 'checkout'), privateKey: key, certificate: cert }, notAfter }
}

/** Time goes on in steps that leave a peer the time to show that it is there. */
async function advanceTo(clock: FakeClock, wallAt: number): Promise<void> {
  while (clock.wallNow() < wallAt) {
    clock.advance(Math.min(2_000, wallAt - clock.wallNow()))
    await pause(10)
  }
}

it('refuses what comes after the end as not executed, and cuts what still runs', async () => {
  const clock = new FakeClock({ wallNow: Date.now() })
  const executed: string[] = []
  const { server } = await serve(
    (request, response) => {
      executed.push(request.url!)
      if (request.url !== '/endless') response.end('done')
    },
    { mode: 'strict' },
    { clock, stack: serverStack([], CALL_MS) },
  )
  const { ours, notAfter } = brief(clock)
  const { identity } = clientIdentity(ours)
  const rig = opened(await makeRig([endpoint(server.port, { tls: true })], { identity, timeoutMs: CALL_MS }))
  const endless = rig.http.post('/endless', 'x').catch((error) => error)
  expect(await (await rig.http.post('/before', 'x')).text()).toBe('done')
  await expect.poll(() => executed.toSorted()).toEqual(['/before', '/endless'])
  await advanceTo(clock, notAfter - 1)
  expect(server.stats.inFlight).toBe(1)
  clock.advance(1)
  const refused = await rig.http.post('/after', 'x').catch((error) => error)
  expect(refused).toMatchObject({ code: 'identity-rejected', sent: false, cause: { reason: 'expired' } })
  clock.advance(3_000)
  expect(await endless).toMatchObject({ code: 'connection-lost', sent: true })
  expect(executed.toSorted()).toEqual(['/before', '/endless'])
})

it('leaves what runs alone while the same identity shows a newer certificate', async () => {
  const clock = new FakeClock({ wallNow: Date.now() })
  const ends: (() => void)[] = []
  const { server } = await serve(
    (_request, response) => void ends.push(() => response.end('done')),
    { mode: 'strict' },
    { clock, stack: serverStack([], CALL_MS) },
  )
  const at = endpoint(server.port, { tls: true })
  const { ours, notAfter } = brief(clock)
  const before = opened(await makeRig([at], { identity: clientIdentity(ours).identity, timeoutMs: CALL_MS }))
  const running = before.http.post('/long', 'x')
  await expect.poll(() => ends.length).toBe(1)
  const renewed = clientIdentity(newIdentity(authority, 'checkout')).identity
  const at2 = endpoint(server.port, { tls: true })
  const after = opened(await makeRig([at2], { identity: renewed, timeoutMs: CALL_MS }))
  const beside = after.http.post('/long', 'x')
  await expect.poll(() => ends.length).toBe(2)
  await advanceTo(clock, notAfter + 10_000)
  expect(server.stats.inFlight).toBe(2)
  for (const end of ends) end()
  for (const answer of [running, beside]) expect(await (await answer).text()).toBe('done')
})
