/** Which keys and signatures of certificates are strong enough. */
import type { X509Certificate } from 'node:crypto'
import type { CertificateFacts } from './x509/certificate-reader.ts'

/** ECDSA, RSA (PKCS#1 and PSS) with SHA-2, Ed25519. SHA-1 is not among them. */
const SIGNATURES: ReadonlySet<string> = new Set([
  '1.2.840.10045.4.3.2',
  '1.2.840.10045.4.3.3',
  '1.2.840.10045.4.3.4',
  '1.2.840.113549.1.1.10',
  '1.2.840.113549.1.1.11',
  '1.2.840.113549.1.1.12',
  '1.2.840.113549.1.1.13',
  '1.3.101.112',
])
const CURVES: ReadonlySet<string> = new Set(['prime256v1', 'secp384r1', 'secp521r1'])
const SMALLEST_RSA = 2048

/** Why the certificate's key or signature is too weak, in a sentence; `undefined` if neither is. */
export function weaknessOf(x509: X509Certificate, { signatureAlgorithm }: CertificateFacts): string | undefined {
  if (!SIGNATURES.has(signatureAlgorithm)) {
    return `The certificate's signature algorithm ${signatureAlgorithm} is not accepted.`
  }
  let kind = 'unreadable'
  try {
    const { asymmetricKeyType, asymmetricKeyDetails } = x509.publicKey
    kind = asymmetricKeyType ?? kind
    if (kind === 'ed25519') return undefined
    if (kind === 'ec' && CURVES.has(asymmetricKeyDetails?.namedCurve ?? '')) return undefined
    if ((kind === 'rsa' || kind === 'rsa-pss') && (asymmetricKeyDetails?.modulusLength ?? 0) >= SMALLEST_RSA)
      return undefined
  } catch {
    // A key of a kind that OpenSSL does not know.
  }
  return `The certificate's key (${kind}) is too weak or of an unknown kind.`
}
