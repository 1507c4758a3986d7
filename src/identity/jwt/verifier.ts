/**
 * Verifies tokens and caches valid ones by hash: a verification costs as much as a call (0.2 ms).
 */
import { hash } from 'node:crypto'
import type { Clock } from '../../core/clock.ts'
import type { JwtKeys } from './keys.ts'
import { type AcceptedToken, checkAudience, LEEWAY_MS, type TokenVerdict, verifyJwtSvid } from './svid.ts'

/** One per calling process and audience; about 1.5 MB when full. */
export const MOST_REMEMBERED = 4_096

export class JwtVerifier {
  readonly #keys: JwtKeys
  readonly #trustDomain: () => string
  readonly #clock: Clock
  /** By the token's hash, least recently used first. */
  readonly #verified = new Map<string, AcceptedToken>()
  #generation = 0

  constructor(keys: JwtKeys, trustDomain: () => string, clock: Clock) {
    this.#keys = keys
    this.#trustDomain = trustDomain
    this.#clock = clock
  }

  /** Verified tokens that are remembered. */
  get size(): number {
    return this.#verified.size
  }

  /**
   * `audiences`: one of them must be in the token. Rejects only if there are no keys to verify
   * with.
   */
  async verify(token: string, audiences: readonly string[]): Promise<TokenVerdict> {
    await this.#keys.fresh()
    if (this.#generation !== this.#keys.generation) {
      this.#generation = this.#keys.generation
      this.#verified.clear()
    }
    const key = typeof token === 'string' ? hash('sha256', token, 'base64url') : ''
    const now = this.#clock.wallNow()
    const known = this.#verified.get(key)
    this.#verified.delete(key)
    if (known !== undefined && now < known.expiresAt + LEEWAY_MS) {
      this.#verified.set(key, known)
      return checkAudience(known, audiences)
    }
    const findKey = (keyId: string) => this.#keys.find(keyId)
    const verdict = await verifyJwtSvid(token, { audiences, trustDomain: this.#trustDomain(), findKey, now })
    if (verdict.ok && this.#generation === this.#keys.generation) {
      this.#verified.set(key, verdict)
      if (this.#verified.size > MOST_REMEMBERED) this.#verified.delete(this.#verified.keys().next().value!)
    }
    return verdict
  }
}
