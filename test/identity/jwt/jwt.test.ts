/**
 * Tokens: what is believed, what is refused and why, and how often keys and tokens are asked for.
 */
import { createHmac } from 'node:crypto'
import fc from 'fast-check'
import { type CryptoKey, exportJWK, exportSPKI, generateKeyPair, type JWTHeaderParameters, SignJWT } from 'jose'
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type IssuedToken, JwtHolder, MOST_HELD } from '../../../src/identity/jwt/holder.ts'
import { JwtKeys } from '../../../src/identity/jwt/keys.ts'
import { type TokenVerdict, verifyJwtSvid } from '../../../src/identity/jwt/svid.ts'
import { JwtVerifier, MOST_REMEMBERED } from '../../../src/identity/jwt/verifier.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'

const TRUST_DOMAIN = 'mesh.test'
const SUBJECT = `spiffe://${TRUST_DOMAIN}/service/checkout`
const HEADER: JWTHeaderParameters = { alg: 'ES256', kid: 'k1', typ: 'JWT' }

let pair: { privateKey: CryptoKey; publicKey: CryptoKey }
let clock: FakeClock

beforeAll(async () => {
  pair = await generateKeyPair('ES256', { extractable: true })
})

beforeEach(() => {
  clock = new FakeClock()
})

interface Claims {
  readonly header?: JWTHeaderParameters
  readonly key?: CryptoKey | Uint8Array
  readonly [claim: string]: unknown
}

function seconds(fromNow: number): number {
  return Math.floor(clock.wallNow() / 1000) + fromNow
}

/** A good token but for what is said; `undefined` leaves a claim out. */
function craft({ header = HEADER, key = pair.privateKey, ...claims }: Claims = {}): Promise<string> {
  const all = { sub: SUBJECT, aud: 'inventory', iat: seconds(0), exp: seconds(300), ...claims }
  return new SignJWT(JSON.parse(JSON.stringify(all))).setProtectedHeader(header).sign(key)
}

function encode(part: object): string {
  return Buffer.from(JSON.stringify(part)).toString('base64url')
}

function verify(token: string): Promise<TokenVerdict> {
  return verifyJwtSvid(token, {
    audiences: ['inventory', `spiffe://${TRUST_DOMAIN}/service/inventory`],
    trustDomain: TRUST_DOMAIN,
    findKey: async (kid) => (kid === 'k1' ? pair.publicKey : undefined),
    now: clock.wallNow(),
  })
}

async function reasonOf(token: string | Promise<string>): Promise<string> {
  const verdict = await verify(await token)
  return verdict.ok ? 'accepted' : verdict.reason
}

describe('a token', () => {
  test('that the registry could have issued is believed, with one audience or several', async () => {
    expect(await verify(await craft())).toEqual({
      ok: true,
      spiffeId: SUBJECT,
      service: 'checkout',
      audiences: ['inventory'],
      expiresAt: seconds(300) * 1000,
    })
    expect(await reasonOf(craft({ aud: ['a', `spiffe://${TRUST_DOMAIN}/service/inventory`] }))).toBe('accepted')
    expect(await reasonOf(craft({ header: { alg: 'ES256', kid: 'k1' } }))).toBe('accepted')
    expect(await reasonOf(craft({ header: { ...HEADER, typ: 'JOSE' } }))).toBe('accepted')
  })

  test('is refused with another algorithm, also none and one whose secret is our public key', async () => {
    const claims = { sub: SUBJECT, aud: 'inventory', exp: seconds(300) }
    expect(await reasonOf(`${encode({ alg: 'none', kid: 'k1' })}.${encode(claims)}.`)).toBe('wrong-algorithm')
    const signed = `${encode({ alg: 'HS256', kid: 'k1' })}.${encode(claims)}`
    const spki = await exportSPKI(pair.publicKey)
    const mac = createHmac('sha256', spki).update(signed).digest('base64url')
    expect(await reasonOf(`${signed}.${mac}`)).toBe('wrong-algorithm')
    const rsa = await generateKeyPair('RS256')
    const header = { alg: 'RS256', kid: 'k1' }
    expect(await reasonOf(craft({ header, key: rsa.privateKey }))).toBe('wrong-algorithm')
  })

  test.each([
    ['expired', { exp: -31 }],
    ['accepted', { exp: -29 }],
    ['not-yet-valid', { nbf: 31 }],
    ['accepted', { nbf: 29 }],
  ])('is %s by our wall clock with %j', async (reason, offsets) => {
    const claims = Object.fromEntries(Object.entries(offsets).map(([claim, offset]) => [claim, seconds(offset)]))
    expect(await reasonOf(craft(claims))).toBe(reason)
  })

  test.each<[string, Record<string, unknown>]>([
    ['missing-claim', { exp: undefined }],
    ['missing-claim', { sub: undefined }],
    ['missing-claim', { aud: undefined }],
    ['malformed-token', { exp: 'tomorrow' }],
    ['malformed-token', { sub: 5 }],
    ['wrong-audience', { aud: 'prices' }],
    ['wrong-audience', { aud: [] }],
    ['wrong-audience', { aud: [['inventory']] }],
    ['wrong-audience', { aud: 'INVENTORY' }],
    ['foreign-trust-domain', { sub: 'spiffe://other.test/service/checkout' }],
    ['invalid-spiffe-id', { sub: 'checkout' }],
    ['invalid-spiffe-id', { sub: 'spiffe://mesh.test/service/checkout/' }],
    ['invalid-spiffe-id', { sub: 'spiffe://mesh.test' }],
    ['invalid-spiffe-id', { sub: 'spiffe://mesh.test/registry' }],
    ['no-key-id', { header: { alg: 'ES256' } }],
    ['unknown-key', { header: { alg: 'ES256', kid: 'k2' } }],
    ['malformed-token', { header: { ...HEADER, typ: 'at+jwt' } }],
    ['malformed-token', { header: { ...HEADER, jku: 'https://evil.example/keys' } }],
    ['malformed-token', { header: { ...HEADER, x5u: 'https://evil.example/keys' } }],
  ])('is refused as %s with %j', async (reason, claims) => {
    expect(await reasonOf(craft(claims))).toBe(reason)
  })

  test('is refused when another key signed it, or its claims were changed', async () => {
    const other = await generateKeyPair('ES256')
    expect(await reasonOf(craft({ key: other.privateKey }))).toBe('wrong-signature')
    const [head, , signature] = (await craft()).split('.')
    const claims = encode({ sub: SUBJECT, aud: 'inventory', exp: seconds(9_999) })
    expect(await reasonOf(`${head}.${claims}.${signature}`)).toBe('wrong-signature')
  })

  test('that is nonsense is refused, whatever it is, and never thrown about', async () => {
    const header = encode(HEADER)
    await fc.assert(
      fc.asyncProperty(fc.string(), fc.string(), fc.json(), async (a, b, json) => {
        for (const token of [
          a,
          `${a}.${b}`,
          `${header}.${a}.${b}`,
          `${header}.${Buffer.from(json).toString('base64url')}.`,
        ]) {
          expect(await reasonOf(token)).not.toBe('accepted')
        }
      }),
      { numRuns: 200 },
    )
    expect(await reasonOf(`${await craft()}${'A'.repeat(9_000)}`)).toBe('malformed-token')
  })
})

describe('keys', () => {
  let set: unknown
  let failing: boolean
  let keys: JwtKeys

  beforeEach(async () => {
    const jwk = await exportJWK(pair.publicKey)
    set = { keys: [{ ...jwk, kid: 'k1', alg: 'ES256', use: 'sig' }] }
    failing = false
    keys = new JwtKeys({
      clock,
      fetch: async () => {
        if (failing) throw new Error('no registry')
        return set
      },
    })
  })

  test('are fetched once for all who need them, and again for 10,000 unknown ids at most once per 30 s', async () => {
    const found = await Promise.all(Array.from({ length: 10 }, () => keys.find('k1')))
    expect(found.every((key) => key !== undefined)).toBe(true)
    expect(keys.fetches).toBe(1)
    for (let i = 0; i < 10_000; i++) expect(await keys.find(`x${i}`)).toBeUndefined()
    expect(keys.fetches).toBe(1)
    clock.advance(30_000)
    await Promise.all(Array.from({ length: 10_000 }, (_, i) => keys.find(`x${i}`)))
    expect(keys.fetches).toBe(2)
  })

  test('that are new are found 30 s after the last fetch, and those withdrawn go after 10 min', async () => {
    await keys.find('k1')
    const [old] = (set as { keys: object[] }).keys
    set = { keys: [old, { ...old, kid: 'k2' }] }
    clock.advance(30_000)
    expect(await keys.find('k2')).toBeDefined()
    set = { keys: [] }
    expect(await keys.find('k1')).toBeDefined()
    clock.advance(600_001)
    expect(await keys.find('k1')).toBeUndefined()
  })

  test('that are published are found at once after a change of the bundle, also if the first fetch fails', async () => {
    await keys.find('k1')
    const [old] = (set as { keys: object[] }).keys
    set = { keys: [old, { ...old, kid: 'k2' }] }
    clock.advance(5_000)
    expect(await keys.find('k2')).toBeUndefined()
    keys.expect()
    failing = true
    expect(await keys.find('k2')).toBeUndefined()
    failing = false
    clock.advance(1_000)
    expect(await keys.find('k2')).toBeDefined()
    // Strangers' ids cause no more than that.
    const { fetches } = keys
    clock.advance(5_000)
    for (let i = 0; i < 100; i++) await keys.find(`x${i}`)
    expect(keys.fetches).toBe(fetches)
  })

  test('stay in force while they cannot be fetched; without any, verifying fails as the fetch did', async () => {
    failing = true
    await expect(keys.find('k1')).rejects.toThrow('no registry')
    await expect(keys.find('k1')).rejects.toThrow('no registry')
    expect(keys.fetches).toBe(1)
    failing = false
    clock.advance(1_000)
    expect(await keys.find('k1')).toBeDefined()
    failing = true
    clock.advance(3_600_000)
    expect(await keys.find('k1')).toBeDefined()
    set = '<html>'
    failing = false
    clock.advance(3_600_000)
    expect(await keys.find('k1')).toBeDefined()
  })

  test('of other kinds are passed over', async () => {
    const [good] = (set as { keys: object[] }).keys
    const others = [null, 5, 'x', {}, { kty: 'RSA', n: 'AQAB', e: 'AQAB', kid: 'rsa' }, { ...good, kid: undefined }]
    set = { keys: [...others, { ...good, kid: 'off', x: 'AAAA' }, { ...good, kid: 'hs', alg: 'HS256' }, good] }
    expect(await keys.find('k1')).toBeDefined()
    for (const kid of ['rsa', 'off', 'hs']) expect(await keys.find(kid)).toBeUndefined()
  })

  test('decide about remembered tokens too: one whose key is withdrawn is refused', async () => {
    const verifier = new JwtVerifier(keys, () => TRUST_DOMAIN, clock)
    const token = await craft({ exp: seconds(3_600) })
    expect((await verifier.verify(token, ['inventory'])).ok).toBe(true)
    set = { keys: [] }
    clock.advance(600_001)
    expect(await verifier.verify(token, ['inventory'])).toMatchObject({ ok: false, reason: 'unknown-key' })
    expect(verifier.size).toBe(0)
  })

  test('verify a token once; what is remembered is bounded, ends with the token, and is for its audience only', async () => {
    const verifier = new JwtVerifier(keys, () => TRUST_DOMAIN, clock)
    const token = await craft()
    expect((await verifier.verify(token, ['inventory'])).ok).toBe(true)
    expect(verifier.size).toBe(1)
    expect((await verifier.verify(token, ['inventory'])).ok).toBe(true)
    expect(await verifier.verify(token, ['prices'])).toMatchObject({ reason: 'wrong-audience' })
    expect(verifier.size).toBe(1)
    for (const bad of ['x', await craft({ aud: 'prices' })]) await verifier.verify(bad, ['inventory'])
    expect(verifier.size).toBe(1)
    clock.advance(331_000)
    expect(await verifier.verify(token, ['inventory'])).toMatchObject({ reason: 'expired' })
    expect(verifier.size).toBe(0)
    const tokens = await Promise.all(Array.from({ length: MOST_REMEMBERED + 5 }, (_, jti) => craft({ jti: `${jti}` })))
    for (const one of tokens) await verifier.verify(one, ['inventory'])
    expect(verifier.size).toBe(MOST_REMEMBERED)
  })
})

describe('our own tokens', () => {
  let asked: string[]
  let failing: boolean
  let holder: JwtHolder

  beforeEach(() => {
    asked = []
    failing = false
    holder = new JwtHolder(async (audience, ttlMs): Promise<IssuedToken> => {
      asked.push(audience)
      if (failing) throw new Error('no registry')
      // The issuer's clock is an hour late, which must not matter.
      const wallNow = clock.wallNow() - 3_600_000
      return { token: `${audience} ${asked.length}`, expiresAt: wallNow + ttlMs, wallNow }
    }, clock)
  })

  test('are kept per audience until 80 % of their life are over, and asked for once by many at the same time', async () => {
    const many = await Promise.all(Array.from({ length: 100 }, () => holder.get('a', 100_000)))
    expect(new Set(many)).toEqual(new Set(['a 1']))
    expect(await holder.get('b', 100_000)).toBe('b 2')
    clock.advance(79_000)
    expect(await holder.get('a', 100_000)).toBe('a 1')
    clock.advance(1_000)
    expect(await holder.get('a', 100_000)).toBe('a 3')
    expect(await holder.get('a', 50_000)).toBe('a 4')
  })

  test('are used to their end while no new one can be had, which is tried every 5 s', async () => {
    await holder.get('a', 100_000)
    failing = true
    clock.advance(80_000)
    for (let i = 0; i < 10; i++) expect(await holder.get('a', 100_000)).toBe('a 1')
    expect(asked).toHaveLength(2)
    clock.advance(5_000)
    expect(await holder.get('a', 100_000)).toBe('a 1')
    expect(asked).toHaveLength(3)
    clock.advance(13_500)
    await expect(holder.get('a', 100_000)).rejects.toThrow('no registry')
  })

  test('are bounded in number', async () => {
    for (let i = 0; i < MOST_HELD + 10; i++) await holder.get(`a${i}`, 100_000)
    expect(holder.size).toBe(MOST_HELD)
  })
})
