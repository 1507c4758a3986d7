/**
 * Verifies a JWT-SVID of our trust domain. Refuses every choice that a token could make for its
 * verifier, before its signature counts.
 */
import type { CryptoKey, JWTPayload } from 'jose'
import { show } from '../../options/fields.ts'
import { parseSpiffeId, serviceOf } from '../spiffe-id.ts'

/** Why a token was refused. Stable: errors, events and metrics carry these words. */
export type TokenRefusal =
  | 'malformed-token'
  | 'wrong-algorithm'
  | 'no-key-id'
  | 'unknown-key'
  | 'wrong-signature'
  | 'missing-claim'
  | 'expired'
  | 'not-yet-valid'
  | 'wrong-audience'
  | 'invalid-spiffe-id'
  | 'foreign-trust-domain'
  | 'denied'

export interface AcceptedToken {
  readonly ok: true
  readonly spiffeId: string
  readonly service: string
  readonly audiences: readonly string[]
  /** Wall clock, ms. */
  readonly expiresAt: number
}

export interface RefusedToken {
  readonly ok: false
  readonly reason: TokenRefusal
  /** A sentence with values; what a stranger wrote is quoted and short. */
  readonly detail: string
}

export type TokenVerdict = AcceptedToken | RefusedToken

export interface VerifySvidOptions {
  /** One of them must be in the token. */
  readonly audiences: readonly string[]
  readonly trustDomain: string
  /** `undefined`: there is no such key. */
  readonly findKey: (keyId: string) => Promise<CryptoKey | undefined>
  /** Wall clock, ms. */
  readonly now: number
}

/** The only algorithm that the registry signs with: P-256 and SHA-256. */
const ALGORITHM = 'ES256'
/** Of ours none has 600 bytes; jose itself has no limit. */
const LONGEST_TOKEN = 8 * 1024
/** For clocks that differ; above it the registry client reports the difference. */
export const LEEWAY_MS = 30_000
/** JWT-SVID.md 2: no other header parameter. In particular no `jwk`, `jku`, `x5u`, `crit`. */
const HEADERS: ReadonlySet<string> = new Set(['alg', 'kid', 'typ'])
const TYPES: readonly unknown[] = [undefined, 'JWT', 'JOSE']

export function refuseToken(reason: TokenRefusal, detail: string): RefusedToken {
  return { ok: false, reason, detail }
}

/** Never throws for what a token says; rejects only if `findKey` does. */
export async function verifyJwtSvid(token: string, options: VerifySvidOptions): Promise<TokenVerdict> {
  if (typeof token !== 'string' || token.length === 0) return refuseToken('malformed-token', 'There is no token.')
  if (token.length > LONGEST_TOKEN) {
    return refuseToken('malformed-token', `The token has more than ${LONGEST_TOKEN} characters.`)
  }
  // Loading jose takes 35 ms and 15 MB, so it waits for the first token.
  const { decodeProtectedHeader, errors, jwtVerify } = await import('jose')
  let header: Readonly<Record<string, unknown>>
  try {
    header = decodeProtectedHeader(token)
  } catch {
    return refuseToken('malformed-token', 'The text is no token.')
  }
  const { alg, kid, typ } = header
  if (alg !== ALGORITHM)
    return refuseToken('wrong-algorithm', `The token is signed with ${show(alg)}, not ${ALGORITHM}.`)
  if (typeof kid !== 'string' || kid === '') return refuseToken('no-key-id', 'The token does not name its key (kid).')
  const foreign = Object.keys(header).find((name) => !HEADERS.has(name))
  if (foreign !== undefined || !TYPES.includes(typ)) {
    return refuseToken('malformed-token', `The header ${show(foreign ?? 'typ')} is not one of a JWT-SVID.`)
  }
  const key = await options.findKey(kid)
  if (key === undefined) return refuseToken('unknown-key', `No key of this mesh has the id ${show(kid)}.`)
  try {
    const { payload } = await jwtVerify(token, key, {
      algorithms: [ALGORITHM],
      requiredClaims: ['sub', 'aud', 'exp'],
      currentDate: new Date(options.now),
      clockTolerance: LEEWAY_MS / 1000,
    })
    return judge(payload, options)
  } catch (error) {
    if (error instanceof errors.JWSSignatureVerificationFailed) {
      return refuseToken('wrong-signature', 'The signature is not that of the key that the token names.')
    }
    if (error instanceof errors.JWTExpired) return refuseToken('expired', 'The token has expired.')
    if (error instanceof errors.JWTClaimValidationFailed) {
      if (error.claim === 'nbf' && error.reason === 'check_failed') {
        return refuseToken('not-yet-valid', 'The token is not valid yet.')
      }
      const reason = error.reason === 'missing' ? 'missing-claim' : 'malformed-token'
      return refuseToken(reason, `The claim ${show(error.claim)} is missing or wrong.`)
    }
    return refuseToken('malformed-token', 'The text is no token.')
  }
}

function judge({ sub, aud, exp }: JWTPayload, { audiences, trustDomain }: VerifySvidOptions): TokenVerdict {
  const named: readonly unknown[] = Array.isArray(aud) ? aud : [aud]
  if (typeof sub !== 'string' || typeof exp !== 'number') {
    return refuseToken('malformed-token', "The claims 'sub' and 'exp' are not what they must be.")
  }
  const id = parseSpiffeId(sub)
  if (id === undefined) return refuseToken('invalid-spiffe-id', `${show(sub)} is no SPIFFE id.`)
  if (id.trustDomain !== trustDomain) {
    return refuseToken('foreign-trust-domain', `${show(sub)} is not of the trust domain ${show(trustDomain)}.`)
  }
  const service = serviceOf(sub, trustDomain)
  if (service === undefined) return refuseToken('invalid-spiffe-id', `${show(sub)} names no service.`)
  const accepted: AcceptedToken = {
    ok: true,
    spiffeId: sub,
    service,
    audiences: named.filter((one) => typeof one === 'string'),
    expiresAt: exp * 1000,
  }
  return checkAudience(accepted, audiences)
}

/** The one check that depends on who asks, so a verified token has to pass it each time. */
export function checkAudience(token: AcceptedToken, audiences: readonly string[]): TokenVerdict {
  if (token.audiences.some((one) => audiences.includes(one))) return token
  return refuseToken('wrong-audience', `The token is for ${show(token.audiences.join(', '))}, not for us.`)
}
