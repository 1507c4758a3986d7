/**
 * Creates the root of a trust domain and issues X.509-SVIDs. The caller gives every name, and must
 * never take one from a request.
 */
import { createPublicKey, generateKeyPairSync, type KeyObject, randomBytes, X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'
import { type Issue, OptionsError, show } from '../options/fields.ts'
import { isP256, privateKeyPem, readP256PrivateKey } from './key.ts'
import { authorityId, isTrustDomain, parseSpiffeId } from './spiffe-id.ts'
import * as builder from './x509/certificate-builder.ts'
import { readCertificate } from './x509/certificate-reader.ts'
import { readCertificatePem } from './x509/pem.ts'

/**
 * A root or an intermediate with its key. The texts are what is stored; the rest is derived from
 * them.
 */
export interface Authority {
  readonly trustDomain: string
  /** PEM, PKCS#8. */
  readonly privateKey: string
  /** PEM; of an intermediate, those between it and its root may follow. */
  readonly certificate: string
  /** PEM, one text each: the intermediates that its leaves are sent with. Empty for a root. */
  readonly chain: readonly string[]
  /** How many authorities may stand below it; `undefined`: any number. */
  readonly pathLength: number | undefined
  readonly notBefore: number
  readonly notAfter: number
  readonly signingKey: KeyObject
  /** The name that its certificates carry as issuer, DER. */
  readonly name: Uint8Array
  readonly keyId: Uint8Array
}

export interface AuthorityOptions {
  readonly trustDomain: string
  /** Wall-clock instants in ms. */
  readonly notBefore: number
  readonly notAfter: number
  /** Default: `inmesh root of <trust domain>`. */
  readonly commonName?: string
}

export interface CertificateOptions {
  /** P-256. */
  readonly publicKey: KeyObject
  /** The one URI name; in the authority's trust domain, with a path. */
  readonly spiffeId: string
  /** Wall-clock instants in ms; nothing outlives the authority, so `notAfter` is cut to its end. */
  readonly notBefore: number
  readonly notAfter: number
  /** For clients that know no SPIFFE, such as a browser. */
  readonly dnsNames?: readonly string[]
  readonly ipAddresses?: readonly string[]
}

const DNS_NAME =
  /^(?=.{1,253}$)(?:\*\.)?[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/
/** RFC 5280 bounds a common name to 64 characters. */
const LONGEST_COMMON_NAME = 64

/** Positive, 127 random bits behind a fixed first one, so that the length never varies. */
export function newSerial(): Buffer {
  const serial = randomBytes(16)
  serial[0] = (serial[0]! & 0x7f) | 0x40
  return serial
}

export function checkPeriod(notBefore: number, notAfter: number, issues: Issue[]): void {
  if (!Number.isFinite(notBefore) || notBefore < 0) {
    issues.push({ path: ['notBefore'], message: `expected an instant in ms since 1970, got ${show(notBefore)}` })
  } else if (!Number.isFinite(notAfter) || Math.floor(notAfter / 1000) <= Math.floor(notBefore / 1000)) {
    issues.push({
      path: ['notAfter'],
      message: `expected an instant at least 1 s after notBefore, got ${show(notAfter)}`,
    })
  }
}

/**
 * Makes a root: P-256, self-signed, to sign leaves and intermediates that sign leaves. Throws an
 * `OptionsError`.
 */
export function createAuthority(options: AuthorityOptions): Authority {
  const { trustDomain, notBefore, notAfter } = options
  const commonName = options.commonName ?? `inmesh root of ${trustDomain}`.slice(0, LONGEST_COMMON_NAME)
  const issues: Issue[] = []
  if (!isTrustDomain(trustDomain)) {
    issues.push({
      path: ['trustDomain'],
      message: `expected lower-case letters, digits, '.', '-', '_', got ${show(trustDomain)}`,
    })
  }
  if (commonName.length === 0 || commonName.length > LONGEST_COMMON_NAME) {
    issues.push({
      path: ['commonName'],
      message: `expected 1 to ${LONGEST_COMMON_NAME} characters, got ${show(commonName)}`,
    })
  }
  checkPeriod(notBefore, notAfter, issues)
  if (issues.length > 0) throw new OptionsError('createAuthority', issues)

  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return selfSigned(privateKey, builder.nameOf(commonName), { trustDomain, notBefore, notAfter })
}

/**
 * Another certificate for the name and the key of `root`: what it signed stays valid, and tokens
 * that pin it find it. Roots of versions without intermediates may have none below them until they
 * are renewed. Throws an `OptionsError`.
 */
export function renewRoot(
  root: Authority,
  period: { readonly notBefore: number; readonly notAfter: number },
): Authority {
  const issues: Issue[] = []
  checkPeriod(period.notBefore, period.notAfter, issues)
  if (root.chain.length > 0) issues.push({ path: ['root'], message: 'expected a root, got an intermediate' })
  if (issues.length > 0) throw new OptionsError('renewRoot', issues)
  return selfSigned(root.signingKey, root.name, { trustDomain: root.trustDomain, ...period })
}

function selfSigned(
  privateKey: KeyObject,
  name: Uint8Array,
  { trustDomain, notBefore, notAfter }: AuthorityOptions,
): Authority {
  const publicKey = createPublicKey(privateKey)
  const certificate = builder.buildCertificate(
    {
      serial: newSerial(),
      issuer: name,
      subject: name,
      notBefore,
      notAfter,
      publicKey,
      extensions: [
        builder.basicConstraints(true, 1),
        builder.keyUsage(builder.KEY_USAGE.keyCertSign, builder.KEY_USAGE.crlSign),
        builder.subjectAltName({ uris: [authorityId(trustDomain)] }, false),
        builder.subjectKeyIdentifier(builder.keyIdOf(publicKey)),
      ],
    },
    privateKey,
  )
  return loadAuthority({ privateKey: privateKeyPem(privateKey), certificate })
}

/**
 * An authority from its two stored texts. Throws an `OptionsError` if they are no authority or do
 * not belong together.
 */
export function loadAuthority(stored: { readonly privateKey: string; readonly certificate: string }): Authority {
  const refuse = (field: string, message: string): never => {
    throw new OptionsError('certificate authority', [{ path: [field], message }])
  }
  const signingKey = readP256PrivateKey(stored.privateKey) ?? refuse('privateKey', 'expected a P-256 key in PEM')
  try {
    const all = readCertificatePem(stored.certificate)?.map((der) => new X509Certificate(der))
    const x509 = all?.[0]
    if (x509 === undefined)
      return refuse('certificate', 'expected certificates in PEM, and only white space around them')
    const facts = readCertificate(x509.raw)
    const id = facts.uris.length === 1 ? parseSpiffeId(facts.uris[0]!) : undefined
    if (
      !facts.ca ||
      facts.keyUsage?.includes(builder.KEY_USAGE.keyCertSign) === false ||
      id === undefined ||
      id.path !== ''
    ) {
      return refuse('certificate', 'expected a CA certificate whose one URI name is a SPIFFE ID without a path')
    }
    if (!x509.checkPrivateKey(signingKey)) return refuse('privateKey', 'expected the key of this certificate')
    const chain = all!.filter((one) => !one.checkIssued(one)).map((one) => one.toString())
    return {
      chain: Object.freeze(chain),
      pathLength: facts.pathLength,
      trustDomain: id.trustDomain,
      privateKey: stored.privateKey,
      certificate: stored.certificate,
      notBefore: facts.notBefore,
      notAfter: facts.notAfter,
      signingKey,
      name: facts.subject,
      keyId: facts.subjectKeyId ?? builder.keyIdOf(createPublicKey(signingKey)),
    }
  } catch (error) {
    if (error instanceof OptionsError) throw error
    return refuse('certificate', `expected a certificate in PEM (${(error as Error).message})`)
  }
}

/**
 * Signs an X.509-SVID for server and client use; returns PEM, the leaf first, then the authority's
 * chain. The subject is empty, so that no peer can fall back to a common name. Throws an
 * `OptionsError`.
 */
export function issueCertificate(authority: Authority, options: CertificateOptions): string {
  const { publicKey, spiffeId, dnsNames = [], ipAddresses = [], notBefore } = options
  const notAfter = Math.min(options.notAfter, authority.notAfter)
  const issues: Issue[] = []
  const id = parseSpiffeId(spiffeId)
  if (id === undefined || id.path === '' || id.trustDomain !== authority.trustDomain) {
    const message = `expected a SPIFFE ID with a path in trust domain ${authority.trustDomain}, got ${show(spiffeId)}`
    issues.push({ path: ['spiffeId'], message })
  }
  if (!isP256(publicKey)) issues.push({ path: ['publicKey'], message: 'expected a P-256 key' })
  for (const [i, name] of dnsNames.entries()) {
    if (!DNS_NAME.test(name)) issues.push({ path: ['dnsNames', i], message: `expected a DNS name, got ${show(name)}` })
  }
  for (const [i, address] of ipAddresses.entries()) {
    if (isIP(address) === 0 || address.includes('%')) {
      issues.push({ path: ['ipAddresses', i], message: `expected an IP address, got ${show(address)}` })
    }
  }
  checkPeriod(notBefore, notAfter, issues)
  if (issues.length > 0) throw new OptionsError('issueCertificate', issues)

  const leaf = builder.buildCertificate(
    {
      serial: newSerial(),
      issuer: authority.name,
      subject: builder.EMPTY_NAME,
      notBefore,
      notAfter,
      publicKey,
      extensions: [
        builder.basicConstraints(false),
        builder.keyUsage(builder.KEY_USAGE.digitalSignature),
        builder.extendedKeyUsage(builder.OID.serverAuth, builder.OID.clientAuth),
        builder.subjectAltName({ uris: [spiffeId], dnsNames, ipAddresses }, true),
        builder.subjectKeyIdentifier(builder.keyIdOf(publicKey)),
        builder.authorityKeyIdentifier(authority.keyId),
      ],
    },
    authority.signingKey,
  )
  return [leaf, ...authority.chain].join('')
}
