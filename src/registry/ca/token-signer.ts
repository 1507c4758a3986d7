/**
 * Signs JWT-SVIDs, for hops without a client certificate, and tells the keys that verify them. The
 * subject comes from the caller's certificate.
 */
import { createPrivateKey, createPublicKey, hash, type KeyObject } from 'node:crypto'
import type { Clock } from '../../core/clock.ts'
import { type JwtResponse, TOKEN_LIFE_MS } from '../../discovery/registry/wire.ts'
import { serviceId } from '../../identity/spiffe-id.ts'
import type { Peer } from '../access/access.ts'
import { RateLimit } from '../access/rate-limit.ts'
import { ApiError } from '../api/error.ts'
import type { SigningKeyRecord } from '../records.ts'
import { trustedOf } from './succession.ts'
import type { TrustStore } from './trust-store.ts'

/**
 * A process asks once per audience and four minutes. Signing costs 0.2 ms.
 */
const PER_SERVICE_AND_SOURCE = { perSecond: 20, burst: 200 }
const IN_ALL = { perSecond: 500, burst: 1_000 }

/** One public key as `GET /v1/jwks` tells it (RFC 7517). */
export interface PublicJwk {
  readonly kty: 'EC'
  readonly crv: 'P-256'
  readonly x: string
  readonly y: string
  readonly kid: string
  readonly alg: 'ES256'
  readonly use: 'sig'
}

interface TokenKey {
  readonly key: KeyObject
  readonly jwk: PublicJwk
}

export class TokenSigner {
  readonly #store: TrustStore
  readonly #clock: Clock
  readonly #perCaller: RateLimit
  readonly #inAll: RateLimit
  readonly #keys = new WeakMap<SigningKeyRecord, TokenKey>()

  constructor(store: TrustStore, clock: Clock) {
    this.#store = store
    this.#clock = clock
    this.#perCaller = new RateLimit(PER_SERVICE_AND_SOURCE.perSecond, PER_SERVICE_AND_SOURCE.burst, clock)
    this.#inAll = new RateLimit(IN_ALL.perSecond, IN_ALL.burst, clock)
  }

  /** The one that signs first, then the next or the former one. */
  get jwks(): readonly PublicJwk[] {
    return trustedOf(this.#store.rotation.tokens).flatMap((id) => this.#keyOf(id)?.jwk ?? [])
  }

  /**
   * A token of `peer` for one audience. It never outlives the certificate that it was asked with.
   */
  async sign(peer: Peer, audience: string, ttlMs: number = TOKEN_LIFE_MS.byDefault): Promise<JwtResponse> {
    const { service, source, notAfter } = peer
    if (service === undefined) {
      throw new ApiError('identity-required', 'a token is issued to a service, by its certificate')
    }
    if (!this.#perCaller.take(`${service} ${source}`) || !this.#inAll.take()) {
      throw new ApiError('rate-limited', 'too many tokens; keep one for most of its life')
    }
    const now = this.#clock.wallNow()
    const issuedAt = Math.floor(now / 1000)
    const endsAt = Math.floor(Math.min(now + ttlMs, notAfter) / 1000)
    const { trustDomain, tokens } = this.#store.rotation
    const spiffeId = serviceId(trustDomain, service)
    const { SignJWT } = await import('jose')
    const { key, jwk } = this.#keyOf(tokens.active)!
    const token = await new SignJWT()
      .setProtectedHeader({ alg: 'ES256', kid: jwk.kid, typ: 'JWT' })
      .setSubject(spiffeId)
      .setAudience(audience)
      .setIssuedAt(issuedAt)
      .setExpirationTime(endsAt)
      .sign(key)
    return { token, spiffeId, audience, expiresAt: endsAt * 1000, wallNow: now }
  }

  #keyOf(id: string): TokenKey | undefined {
    const record = this.#store.trust.signingKeys.get(id)
    if (record === undefined) return undefined
    let known = this.#keys.get(record)
    if (known === undefined) {
      const key = createPrivateKey(record.privateKey)
      known = { key, jwk: publicJwk(key) }
      this.#keys.set(record, known)
    }
    return known
  }
}

function publicJwk(privateKey: KeyObject): PublicJwk {
  const { crv, kty, x, y } = createPublicKey(privateKey).export({ format: 'jwk' })
  // RFC 7638: these members, in this order.
  const kid = hash('sha256', JSON.stringify({ crv, kty, x, y }), 'base64url')
  return { kty: 'EC', crv: 'P-256', x: x!, y: y!, kid, alg: 'ES256', use: 'sig' }
}
