/** The authority's records: made once, taken over from older versions, and shared. */
import { X509Certificate } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Authority, issueCertificate, loadAuthority } from '../../../src/identity/certificate.ts'
import { rootFingerprint } from '../../../src/identity/join-token.ts'
import { PeerVerifier } from '../../../src/identity/peer-verifier.ts'
import { serviceId } from '../../../src/identity/spiffe-id.ts'
import { RegistryAuthority } from '../../../src/registry/ca/authority.ts'
import { advanceTrack } from '../../../src/registry/ca/rotation-steps.ts'
import { KEYS } from '../../../src/registry/records.ts'
import { RegistryState } from '../../../src/registry/state.ts'
import { MemoryStorage } from '../../../src/registry/storage/memory.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'
import { craftIntermediate, newKey, TRUST_DOMAIN } from '../../rigs/certificates.ts'

const OPTIONS = { trustDomain: TRUST_DOMAIN, certificateLifeMs: 3_600_000, signingsPerSecond: 100 }
const ACTOR = { who: 'test', source: 'local', operations: () => [] }
const FACTS = { waitedMs: 0, acknowledged: true, held: true, forced: false, leastMs: 0, lifeMs: 1_000, cutOffMs: 0 }

/** With path length 0. */
function olderRoot(now: number): Authority {
  const life = { notBefore: now - 60_000, notAfter: now + 365 * 86_400_000 }
  return craftIntermediate(undefined, { pathLength: 0, commonName: 'root', ...life })
}

let clock: FakeClock
let storage: MemoryStorage
const open: RegistryState[] = []

async function load(): Promise<RegistryState> {
  const state = await RegistryState.load(storage, () => {})
  open.push(state)
  return state
}

beforeEach(() => {
  clock = new FakeClock({ wallNow: Date.now() })
  storage = new MemoryStorage()
})

afterEach(async () => {
  for (const state of open.splice(0)) state.close()
  await storage.close()
})

describe('a new store', () => {
  test('gets a root, an intermediate that it signed, and leaves of that', async () => {
    const authority = await RegistryAuthority.open(await load(), OPTIONS, clock)
    const { roots, intermediates, sequence } = authority.bundle
    expect([roots.length, intermediates.length, sequence]).toEqual([1, 1, 1])
    const intermediate = new X509Certificate(intermediates[0]!)
    const days = (Date.parse(intermediate.validTo) - clock.wallNow()) / 86_400_000
    expect(Math.round(days)).toBe(30)
    const { certificate } = authority.issue('web', newKey().publicKey)
    expect(new X509Certificate(certificate).verify(intermediate.publicKey)).toBe(true)
    expect(new PeerVerifier(clock, authority.bundle).verify(new X509Certificate(certificate).raw)).toMatchObject({
      ok: true,
      service: 'web',
    })
  })

  test('has its first keys under the names of the versions before', async () => {
    const state = await load()
    const { bundle } = await RegistryAuthority.open(state, OPTIONS, clock)
    expect(state.trust.authorities.get('root')).toMatchObject({ certificate: bundle.roots[0] })
    expect([...state.trust.signingKeys.keys()]).toEqual(['key'])
    expect((await storage.list('ca/root')).items.map(({ key }) => key)).toContain('ca/root')
  })

  test('has one root and one intermediate, also when two registries start on it at the same moment', async () => {
    const states = [await load(), await load()]
    const [first, second] = await Promise.all(states.map((state) => RegistryAuthority.open(state, OPTIONS, clock)))
    expect(first!.bundle).toEqual(second!.bundle)
    expect(states[0]!.trust.authorities.size).toBe(2)
    expect(states[0]!.trust.signingKeys.size).toBe(1)
    expect(first!.holds).toEqual(second!.holds)
  })

  test('waits for the longest life that any of its registries gives', async () => {
    await RegistryAuthority.open(await load(), OPTIONS, clock)
    const longer = await RegistryAuthority.open(await load(), { ...OPTIONS, certificateLifeMs: 7_200_000 }, clock)
    expect(longer.store.rotation.certificates.lifeMs).toBe(7_200_000)
    const shorter = await RegistryAuthority.open(await load(), OPTIONS, clock)
    expect(shorter.store.rotation.certificates.lifeMs).toBe(7_200_000)
  })

  test('is of one trust domain', async () => {
    await RegistryAuthority.open(await load(), OPTIONS, clock)
    const other = RegistryAuthority.open(await load(), { ...OPTIONS, trustDomain: 'other.test' }, clock)
    await expect(other).rejects.toThrow(`belongs to trust domain '${TRUST_DOMAIN}', not 'other.test'`)
  })
})

describe('a store of a version without intermediates', () => {
  async function older(): Promise<{ root: Authority; authority: RegistryAuthority }> {
    const root = olderRoot(clock.wallNow())
    const { certificate, privateKey } = root
    const record = { trustDomain: TRUST_DOMAIN, certificate, privateKey, sequence: 1 }
    await storage.transact([], [{ key: KEYS.authority('root'), value: JSON.stringify(record) }])
    return { root, authority: await RegistryAuthority.open(await load(), OPTIONS, clock) }
  }

  function leafOf(root: Authority): Buffer {
    const { publicKey } = newKey()
    const now = clock.wallNow()
    const spiffeId = serviceId(TRUST_DOMAIN, 'old')
    return new X509Certificate(
      issueCertificate(loadAuthority(root), { publicKey, spiffeId, notBefore: now, notAfter: now + 60_000 }),
    ).raw
  }

  test('keeps its root key, so tokens that pin it stay valid, and so do the leaves of the root', async () => {
    const { root, authority } = await older()
    expect(authority.fingerprint).toBe(rootFingerprint(root.certificate))
    expect(authority.sequence).toBeGreaterThan(1)
    const verifier = new PeerVerifier(clock, authority.bundle)
    expect(verifier.verify(leafOf(root))).toMatchObject({ ok: true, service: 'old' })
  })

  test('has leaves of the root until every process knows the intermediate, and then of that', async () => {
    const { root, authority } = await older()
    const before = authority.issue('web', newKey().publicKey)
    expect(new X509Certificate(before.certificate).verify(new X509Certificate(root.certificate).publicKey)).toBe(true)
    const { trust } = authority.store
    // Time alone does not do: older processes renew and understand only leaves of the root.
    const late = () => ({ ...FACTS, acknowledged: false, waitedMs: 1e12 })
    expect(await authority.store.change(advanceTrack('certificates', trust, late, ACTOR))).toBe(false)
    expect(await authority.store.change(advanceTrack('certificates', trust, () => FACTS, ACTOR))).toBe(true)
    const after = authority.issue('web', newKey().publicKey)
    const intermediate = new X509Certificate(authority.bundle.intermediates[0]!)
    expect(new X509Certificate(after.certificate).verify(intermediate.publicKey)).toBe(true)
    const verifier = new PeerVerifier(clock, authority.bundle)
    for (const { certificate } of [before, after])
      expect(verifier.verify(new X509Certificate(certificate).raw)).toMatchObject({ ok: true })
    // Older processes that come back verify the registry, too.
    const own = await authority.issueOwn({ dnsNames: [], ipAddresses: [] }, 1)
    expect(new X509Certificate(own.certificate).verify(new X509Certificate(root.certificate).publicKey)).toBe(true)
  })

  test('is taken over once by registries that start together', async () => {
    const root = olderRoot(clock.wallNow())
    const { certificate, privateKey } = root
    const record = { trustDomain: TRUST_DOMAIN, certificate, privateKey, sequence: 1 }
    await storage.transact([], [{ key: KEYS.authority('root'), value: JSON.stringify(record) }])
    const states = [await load(), await load()]
    const [first, second] = await Promise.all(states.map((state) => RegistryAuthority.open(state, OPTIONS, clock)))
    expect(first!.bundle).toEqual(second!.bundle)
    expect(states[1]!.trust.authorities.size).toBe(2)
  })
})

describe('a restored backup', () => {
  test('has a bundle that is newer than those that were distributed after it was made', async () => {
    const authority = await RegistryAuthority.open(await load(), OPTIONS, clock)
    const { items } = await storage.list('')
    // Two changes of the bundle that the backup does not know.
    for (let i = 0; i < 2; i++) await authority.store.change(() => ({ rotation: {} }))
    const seen = authority.sequence
    await storage.close()
    storage = new MemoryStorage()
    await storage.transact([], items)
    clock.advance(60_000)
    const restored = await RegistryAuthority.open(await load(), OPTIONS, clock)
    expect(restored.sequence).toBeGreaterThan(seen)
    expect(restored.bundle.roots).toEqual(authority.bundle.roots)
  })
})
