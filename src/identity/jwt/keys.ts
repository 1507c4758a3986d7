/**
 * The public keys that verify tokens, fetched on first use. An unknown key id causes a fetch at
 * most every 30 s, and one more after each change of the trust bundle.
 */
import type { CryptoKey, JWK } from 'jose'
import type { Clock } from '../../core/clock.ts'

/** An unknown key id causes at most one refetch in this time, whatever a caller sends. */
const COOLDOWN_MS = 30_000
const LONGEST_AGE_MS = 600_000
/** While there are no keys at all, nothing can be verified, so it is tried sooner. */
const FIRST_COOLDOWN_MS = 1_000
/** A registry has one or two. */
const MOST_KEYS = 64

export interface JwtKeysOptions {
  /** A JSON Web Key Set, unchecked. */
  readonly fetch: () => Promise<unknown>
  readonly clock: Clock
}

export class JwtKeys {
  /** How often keys were asked for. */
  fetches = 0
  /** Counts up when the keys have changed. */
  generation = 0
  readonly #fetch: () => Promise<unknown>
  readonly #clock: Clock
  #keys: ReadonlyMap<string, CryptoKey> | undefined
  #text = ''
  #fetchedAt = Number.NEGATIVE_INFINITY
  #askedAt = Number.NEGATIVE_INFINITY
  #running: Promise<void> | undefined
  #failure: unknown
  /** The registry has published another key since the last fetch. */
  #expected = false

  constructor(options: JwtKeysOptions) {
    this.#fetch = options.fetch
    this.#clock = options.clock
  }

  /**
   * Resolves when the keys are young enough, or cannot be had younger. Rejects as `fetch` did if
   * there are none.
   */
  async fresh(): Promise<void> {
    if (this.#keys === undefined) {
      if (this.#running !== undefined || this.#mayAsk(FIRST_COOLDOWN_MS)) await this.#refresh()
      if (this.#keys === undefined) throw this.#failure
    } else if (this.#clock.now() - this.#fetchedAt > LONGEST_AGE_MS && this.#mayAsk(COOLDOWN_MS)) {
      await this.#refresh()
    }
  }

  /** The trust bundle has changed: an unknown key id may be one of a key that is published now. */
  expect(): void {
    this.#expected = true
  }

  async find(keyId: string): Promise<CryptoKey | undefined> {
    await this.fresh()
    const known = this.#keys?.get(keyId)
    if (known !== undefined) return known
    if (this.#running !== undefined || this.#mayAsk(COOLDOWN_MS)) await this.#refresh()
    return this.#keys?.get(keyId)
  }

  #mayAsk(pauseMs: number): boolean {
    const sinceMs = this.#clock.now() - this.#askedAt
    return sinceMs >= (this.#expected ? Math.min(pauseMs, FIRST_COOLDOWN_MS) : pauseMs)
  }

  /** All who need it wait for one fetch. */
  #refresh(): Promise<void> {
    this.#running ??= this.#load().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  async #load(): Promise<void> {
    this.#askedAt = this.#clock.now()
    this.fetches += 1
    const expected = this.#expected
    try {
      // One that is published during the fetch may be missing in the answer.
      this.#expected = false
      const found = readKeys(await this.#fetch())
      const text = JSON.stringify(found)
      if (this.#keys === undefined || text !== this.#text) {
        this.#keys = await importKeys(found)
        this.#text = text
        this.generation += 1
      }
      this.#fetchedAt = this.#clock.now()
    } catch (error) {
      this.#expected ||= expected
      this.#failure = error
    }
  }
}

interface PublicKey {
  readonly kid: string
  readonly x: string
  readonly y: string
}

/**
 * Entries of other kinds are for others, and passed over (SPIFFE_Trust_Domain_and_Bundle.md 4.2.1).
 * Throws if it is no set.
 */
function readKeys(set: unknown): readonly PublicKey[] {
  const { keys } = (typeof set === 'object' && set !== null ? set : {}) as { keys?: unknown }
  if (!Array.isArray(keys) || keys.length > MOST_KEYS) throw new TypeError('the registry sent no key set')
  const found: PublicKey[] = []
  for (const one of keys as readonly unknown[]) {
    if (typeof one !== 'object' || one === null) continue
    const { kty, crv, kid, alg, x, y } = one as JWK
    if (kty !== 'EC' || crv !== 'P-256' || (alg !== undefined && alg !== 'ES256')) continue
    if (typeof kid === 'string' && typeof x === 'string' && typeof y === 'string') found.push({ kid, x, y })
  }
  return found
}

async function importKeys(found: readonly PublicKey[]): Promise<Map<string, CryptoKey>> {
  const { importJWK } = await import('jose')
  const keys = new Map<string, CryptoKey>()
  for (const { kid, x, y } of found) {
    try {
      keys.set(kid, (await importJWK({ kty: 'EC', crv: 'P-256', x, y }, 'ES256')) as CryptoKey)
    } catch {
      // No point of the curve: as if it were not there.
    }
  }
  return keys
}
