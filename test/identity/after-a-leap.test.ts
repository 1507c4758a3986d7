/**
 * Certificates right after the wall clock has leapt past their end. OpenSSL reads the system's
 * clock, so the certificates here ended an hour ago, and our own clock was two hours behind until
 * the leap.
 */
import { describe, expect, it } from 'vitest'
import { LEAP_GRACE_MS } from '../../src/core/certificate-time.ts'
import type { Identity } from '../../src/identity/identity.ts'
import { PeerVerifier } from '../../src/identity/peer-verifier.ts'
import { failure, opened } from '../client/http/opened.ts'
import { endpoint, makeRig } from '../client/http/rig.ts'
import { ChangingIdentity } from '../client/identity-rig.ts'
import { craftLeaf, newAuthority, newIdentity } from '../rigs/certificates.ts'
import { LeapingClock } from '../rigs/leaping-clock.ts'
import { authority, FakeIdentitySource, serve } from '../server/rig.ts'

const HOUR_MS = 3_600_000

function ended(service: string, by = authority, notAfter = Date.now() - HOUR_MS): Identity {
  const { key, cert } = craftLeaf(by, { uris: [`spiffe://mesh.test/service/${service}`], notAfter })
  return { ...newIdentity(authority, service), privateKey: key, certificate: cert }
}

/**
 * A server and a client on one clock; each has a certificate that has ended, unless another is
 * given.
 */
async function scene(given: { server?: Identity; client?: Identity } = {}) {
  const clock = new LeapingClock(2 * HOUR_MS)
  const { server = ended('inventory'), client = ended('checkout') } = given
  const verifier = new PeerVerifier(clock, newIdentity(authority, 'checkout'))
  const executed: string[] = []
  const identity = new FakeIdentitySource(server)
  const served = await serve(
    (request, response) => {
      executed.push(request.url!)
      response.end('done')
    },
    { mode: 'strict' },
    { clock, identity },
  )
  const call = async (): Promise<unknown> => {
    // Each on a connection of the test's.
    const at = endpoint(served.server.port, { tls: true })
    const rig = opened(await makeRig([at], { identity: { source: new ChangingIdentity(client), verifier } }))
    return (await rig.http.post('/', 'x')).text()
  }
  return { clock, call, executed, served }
}

describe('certificates that a leap of the clock has ended', () => {
  it('serve new connections for 10 s, although OpenSSL takes them for expired, and none after that', async () => {
    const { clock, call, executed } = await scene()
    clock.leap()
    expect(await call()).toBe('done')
    clock.pass(LEAP_GRACE_MS)
    expect(await failure(call())).toMatchObject({ code: 'identity-rejected', sent: false })
    expect(executed).toEqual(['/'])
  })

  it('serve on a connection of before the leap for 10 s', async () => {
    const clock = new LeapingClock(0)
    // OpenSSL accepts it; by the clock after the leap it has ended an hour ago.
    const client = ended('checkout', authority, Date.now() + HOUR_MS)
    const { server } = await serve((_request, response) => void response.end('done'), { mode: 'strict' }, { clock })
    const verifier = new PeerVerifier(clock, newIdentity(authority, 'checkout'))
    const source = new ChangingIdentity(client)
    const rig = opened(await makeRig([endpoint(server.port, { tls: true })], { identity: { source, verifier } }))
    const call = async (): Promise<string> => (await rig.http.get('/')).text()
    expect(await call()).toBe('done')
    clock.leap(2 * HOUR_MS)
    expect(await call()).toBe('done')
    clock.pass(LEAP_GRACE_MS)
    expect(await failure(call())).toMatchObject({ code: 'identity-rejected', sent: false })
  })

  it('are refused by a server and by a client if no leap but time has ended them', async () => {
    const { clock, call, executed } = await scene()
    clock.pass(2 * HOUR_MS)
    expect(await failure(call())).toMatchObject({ code: 'identity-rejected', sent: false })
    const valid = newIdentity(authority, 'inventory')
    const other = await scene({ server: valid })
    other.clock.pass(2 * HOUR_MS)
    const refused = await failure(other.call())
    expect(refused).toMatchObject({ code: 'identity-rejected', sent: false, cause: { reason: 'expired' } })
    expect([executed, other.executed]).toEqual([[], []])
  })

  it.each([
    ['that ended before the leap', () => ended('inventory', authority, Date.now() - 3 * HOUR_MS), 'expired'],
    ['of another root', () => ended('inventory', newAuthority()), 'untrusted-issuer'],
    ['of another service', () => ended('prices'), 'wrong-service'],
    ['of another service that has not ended', () => newIdentity(authority, 'prices'), 'wrong-service'],
  ])('do not make a client believe a server with one %s', async (_which, made, reason) => {
    const { clock, call, executed } = await scene({ server: made() })
    clock.leap()
    expect(await failure(call())).toMatchObject({
      code: 'identity-rejected',
      sent: false,
      cause: { cause: { reason } },
    })
    expect(executed).toEqual([])
  })

  it.each([
    ['that ended before the leap', () => ended('checkout', authority, Date.now() - 3 * HOUR_MS), 'expired'],
    ['of another root', () => ended('checkout', newAuthority()), 'untrusted-issuer'],
  ])('do not make a server believe a client with one %s', async (_which, made, reason) => {
    const { clock, call, executed, served } = await scene({ client: made() })
    clock.leap()
    expect(await failure(call())).toMatchObject({ code: 'identity-rejected', sent: false })
    expect(served.events.of('peer:refused')).toContainEqual(expect.objectContaining({ side: 'server', reason }))
    expect(executed).toEqual([])
  })
})
