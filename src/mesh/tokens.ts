/**
 * Issues and verifies tokens, for hops that carry no client certificate. `jose` is loaded with the
 * first one.
 */

import { MeshError } from '../core/errors.ts'
import { requestKeys, requestToken } from '../discovery/registry/token-issuer.ts'
import { TOKEN_LIFE_MS } from '../discovery/registry/wire.ts'
import { JwtHolder } from '../identity/jwt/holder.ts'
import { JwtKeys } from '../identity/jwt/keys.ts'
import { JwtVerifier } from '../identity/jwt/verifier.ts'
import { clientTlsOptions } from '../identity/tls-options.ts'
import type { Duration } from '../options/duration.ts'
import { check, fields, optional, text, withDefault } from '../options/fields.ts'
import { duration } from '../options/quantities.ts'
import type { MeshContext } from './context.ts'

/** What a token is to be. */
export interface TokenOptions {
  /** Who will be shown it: the called service's name or SPIFFE id, or a URL outside the mesh. */
  readonly audience: string
  /**
   * How long it lives, from 1 s to 1 h. It never outlives our certificate. @defaultValue `'5m'`
   */
  readonly ttl?: Duration
}

/** What a token is verified against. */
export interface VerifyTokenOptions {
  /**
   * Whom the token must have been made for.
   * @defaultValue our own service, by its name or its SPIFFE id
   */
  readonly audience?: string
}

/** Who showed a token. */
export interface TokenIdentity {
  readonly spiffeId: string
  readonly service: string
  /** Wall clock, ms since 1970. */
  readonly expiresAt: number
}

const AUDIENCE = text(
  'an audience of visible characters, such as a SPIFFE id, a service or a URL',
  /^[\x21-\x7e]+$/,
  512,
)
const TTL = duration({ min: TOKEN_LIFE_MS.least, max: TOKEN_LIFE_MS.most })
const TOKEN = fields({ audience: AUDIENCE, ttl: withDefault(TTL, TOKEN_LIFE_MS.byDefault, '5m') })
const VERIFY = fields({ audience: optional(AUDIENCE) })

/** In the state directory: the last keys, for a start while the registry is away. */
const STATE = 'token-keys.json'

export class Tokens {
  readonly #shared: MeshContext
  readonly #holder: JwtHolder
  readonly #verifier: JwtVerifier

  /** @internal */
  constructor(shared: MeshContext) {
    this.#shared = shared
    const { settings, identity, verifier, addresses } = shared
    const { clock } = settings
    const issuer = {
      addresses,
      tls: () => clientTlsOptions(identity.current, verifier, { registry: true }),
      clock,
    }
    this.#holder = new JwtHolder((audience, ttlMs) => requestToken(issuer, { audience, ttlMs }), clock)
    let known = false
    const keys = new JwtKeys({
      clock,
      fetch: async () => {
        try {
          const set = await requestKeys(issuer)
          known = true
          await this.#keep(set)
          return set
        } catch (error) {
          const kept = known ? undefined : await this.#kept()
          if (kept === undefined) throw error
          return kept
        }
      },
    })
    identity.onRotate(() => keys.expect())
    this.#verifier = new JwtVerifier(keys, () => identity.current.trustDomain, clock)
  }

  async token(options: TokenOptions): Promise<string> {
    const { audience, ttl } = check(TOKEN, options, 'mesh.token')
    return this.#holder.get(audience, ttl)
  }

  async verify(token: string, options: VerifyTokenOptions = {}): Promise<TokenIdentity> {
    const { audience } = check(VERIFY, options, 'mesh.verifyToken')
    const { identity, settings, events, verifier } = this.#shared
    const audiences = audience === undefined ? [settings.service, identity.current.spiffeId] : [audience]
    let verdict = await this.#verifier.verify(token, audiences)
    if (verdict.ok && verifier.denies(verdict.spiffeId)) {
      verdict = { ok: false, reason: 'denied', detail: `An operator denied ${verdict.spiffeId} all access.` }
    }
    if (!verdict.ok) {
      events.emit('peer:refused', { side: 'server', reason: verdict.reason })
      const message = `The token was refused (${verdict.reason}). ${verdict.detail}`
      throw new MeshError(message, { code: 'identity-rejected', service: settings.service, cause: verdict })
    }
    const { spiffeId, service, expiresAt } = verdict
    return { spiffeId, service, expiresAt }
  }

  /** Keys that cannot be written to disk still verify tokens. */
  async #keep(set: unknown): Promise<void> {
    const { store, identity } = this.#shared
    const text = JSON.stringify({ trustDomain: identity.current.trustDomain, set })
    await store.writeState(STATE, Buffer.from(text)).catch(() => undefined)
  }

  async #kept(): Promise<unknown> {
    const { store, identity } = this.#shared
    try {
      const bytes = await store.readState(STATE)
      const { trustDomain, set } = JSON.parse(String(bytes)) as { trustDomain?: unknown; set?: unknown }
      return trustDomain === identity.current.trustDomain ? set : undefined
    } catch {
      return undefined
    }
  }
}
