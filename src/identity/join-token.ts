/**
 * Join and admin tokens: `inmesh-<kind>.<secret>.<fingerprint>`. The fingerprint pins the
 * registry's root, so first contact is verified both ways.
 */
import { createHash, randomBytes, timingSafeEqual, X509Certificate } from 'node:crypto'

export type TokenKind = 'join' | 'admin'

export interface Token {
  readonly kind: TokenKind
  /** 160 random bits, base64url. Never stored by the registry, never logged. */
  readonly secret: string
  /** SHA-256 of the root's public key (SPKI), base64url. */
  readonly fingerprint: string
}

const SECRET_BYTES = 20
const PATTERN = /^inmesh-(join|admin)\.([A-Za-z0-9_-]{27})\.([A-Za-z0-9_-]{43})$/
/** More certificates than this are not looked at. */
const LONGEST_CHAIN = 8

export function createToken(kind: TokenKind, fingerprint: string): Token {
  return { kind, secret: randomBytes(SECRET_BYTES).toString('base64url'), fingerprint }
}

/** The text that a user carries. */
export function formatToken(token: Token): string {
  return `inmesh-${token.kind}.${token.secret}.${token.fingerprint}`
}

/**
 * `undefined` for anything that is no token. White space around it is forgiven: tokens come from
 * files and terminals.
 */
export function parseToken(text: string): Token | undefined {
  const match = text.length <= 256 ? PATTERN.exec(text.trim()) : null
  return match === null ? undefined : { kind: match[1] as TokenKind, secret: match[2]!, fingerprint: match[3]! }
}

/**
 * What the registry stores: SHA-256, hexadecimal. The secret is random, so neither salt nor
 * slowness is needed.
 */
export function tokenHash(secret: string): string {
  return createHash('sha256').update(secret).digest('hex')
}

/**
 * A new token as the registry issues it: the text is shown once, the hash is stored, the id names
 * it to operators.
 */
export function issueToken(kind: TokenKind, fingerprint: string): { text: string; hash: string; id: string } {
  const token = createToken(kind, fingerprint)
  const hash = tokenHash(token.secret)
  return { text: formatToken(token), hash, id: hash.slice(0, 12) }
}

/** Compares two hashes in constant time. */
export function sameHash(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)]
  return left.length === right.length && timingSafeEqual(left, right)
}

/**
 * SHA-256 of the certificate's public key, base64url: stable when a root is renewed with the same
 * key. Throws if it is no certificate.
 */
export function rootFingerprint(certificate: string | X509Certificate): string {
  const { publicKey } = typeof certificate === 'string' ? new X509Certificate(certificate) : certificate
  return createHash('sha256')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest('base64url')
}

/**
 * The server name (SNI) with which a registry is asked for a certificate under this root: of two
 * roots it shows the one that the asker knows.
 */
export function pinnedServerName(fingerprint: string): string {
  return `pin-${Buffer.from(fingerprint, 'base64url').toString('hex').slice(0, 32)}.registry`
}

/**
 * The root with this fingerprint among `presented`, if it is an authority that signed itself; PEM.
 */
export function verifyPinnedRoot(
  presented: readonly (string | X509Certificate)[],
  fingerprint: string,
): string | undefined {
  for (const candidate of presented.slice(0, LONGEST_CHAIN)) {
    try {
      const root = typeof candidate === 'string' ? new X509Certificate(candidate) : candidate
      if (!root.ca || !sameHash(rootFingerprint(root), fingerprint)) continue
      if (root.checkIssued(root) && root.verify(root.publicKey)) return root.toString()
    } catch {
      // Not a certificate, or a key of an unknown kind: not the one we look for.
    }
  }
  return undefined
}
