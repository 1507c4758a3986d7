/**
 * Certificates for tests: valid ones from the shipped API, invalid ones from internals that no user
 * can reach.
 */
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { type Authority, createAuthority, issueCertificate } from '../../src/identity/certificate.ts'
import type { Identity } from '../../src/identity/identity.ts'
import { createIntermediate } from '../../src/identity/intermediate.ts'
import { privateKeyPem } from '../../src/identity/key.ts'
import { serviceId } from '../../src/identity/spiffe-id.ts'
import type { TrustBundle } from '../../src/identity/trust-bundle.ts'
import * as builder from '../../src/identity/x509/certificate-builder.ts'

export const TRUST_DOMAIN = 'mesh.test'
const HOUR_MS = 3_600_000

export function newKey(): { privateKey: KeyObject; publicKey: KeyObject } {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' })
}

export function newAuthority(now = Date.now(), trustDomain = TRUST_DOMAIN): Authority {
  return createAuthority({ trustDomain, notBefore: now - HOUR_MS, notAfter: now + 24 * HOUR_MS })
}

/** An intermediate of `root`, as a registry has one. */
export function newIntermediate(root: Authority, now = Date.now()): Authority {
  return createIntermediate(root, { notBefore: now - HOUR_MS, notAfter: now + 24 * HOUR_MS })
}

export interface AuthorityChoices {
  readonly notBefore?: number
  readonly notAfter?: number
  readonly commonName?: string
  readonly uris?: readonly string[]
  readonly ca?: boolean
  readonly pathLength?: number | 'absent'
  readonly keyUsage?: readonly number[] | 'absent'
  readonly more?: readonly Uint8Array[]
  readonly key?: ReturnType<typeof newKey>
}

/** An intermediate, or a root, with whatever is asked for; everything else is right. */
export function craftIntermediate(above: Authority | undefined, choices: AuthorityChoices = {}): Authority {
  const now = Date.now()
  const { privateKey, publicKey } = choices.key ?? newKey()
  const { uris = [`spiffe://${TRUST_DOMAIN}`], ca = true, pathLength = 0, commonName = 'intermediate' } = choices
  const usage = choices.keyUsage ?? [builder.KEY_USAGE.keyCertSign, builder.KEY_USAGE.crlSign]
  const keyId = builder.keyIdOf(publicKey)
  const name = builder.nameOf(commonName)
  const issuer = above ?? { name, keyId, signingKey: privateKey }
  const certificate = builder.buildCertificate(
    {
      serial: Buffer.from('50112233445566778899aabbccddeeff', 'hex'),
      issuer: issuer.name,
      subject: name,
      notBefore: choices.notBefore ?? now - HOUR_MS,
      notAfter: choices.notAfter ?? now + HOUR_MS,
      publicKey,
      extensions: [
        builder.basicConstraints(ca, pathLength === 'absent' ? undefined : pathLength),
        ...(usage === 'absent' ? [] : [builder.keyUsage(...usage)]),
        ...(uris.length === 0 ? [] : [builder.subjectAltName({ uris }, false)]),
        builder.subjectKeyIdentifier(keyId),
        builder.authorityKeyIdentifier(issuer.keyId),
        ...(choices.more ?? []),
      ],
    },
    issuer.signingKey,
  )
  const text = {
    privateKey: privateKeyPem(privateKey),
    certificate,
    chain: above === undefined ? [] : [certificate, ...above.chain],
  }
  const life = { notBefore: now - HOUR_MS, notAfter: now + HOUR_MS }
  const about = { pathLength: undefined, trustDomain: TRUST_DOMAIN, ...life }
  return { ...text, ...about, signingKey: privateKey, name, keyId }
}

/** A trust bundle of roots alone, unless `more` says otherwise. */
export function newBundle(roots: readonly string[], sequence: number, more: Partial<TrustBundle> = {}): TrustBundle {
  return { trustDomain: TRUST_DOMAIN, sequence, roots, intermediates: [], denied: [], ...more }
}

export interface Leaf {
  readonly key: string
  readonly cert: string
}

export interface LeafChoices {
  readonly now?: number
  readonly notBefore?: number
  readonly notAfter?: number
  readonly publicKey?: KeyObject
  readonly privateKey?: KeyObject
  readonly commonName?: string
  readonly uris?: readonly string[]
  readonly dnsNames?: readonly string[]
  readonly ca?: boolean | 'absent'
  /** `'absent'`: no such extension. */
  readonly keyUsage?: readonly number[] | 'absent'
  readonly extendedKeyUsage?: readonly string[] | 'absent'
  readonly more?: readonly Uint8Array[]
}

/** A leaf with whatever is asked for; everything else is right. */
export function craftLeaf(authority: Authority, choices: LeafChoices = {}): Leaf {
  const now = choices.now ?? Date.now()
  const fresh = newKey()
  const publicKey = choices.publicKey ?? fresh.publicKey
  const { uris = [serviceId(TRUST_DOMAIN, 'inventory')], dnsNames = [], commonName } = choices
  const usage = choices.keyUsage ?? [builder.KEY_USAGE.digitalSignature]
  const extended = choices.extendedKeyUsage ?? [builder.OID.serverAuth, builder.OID.clientAuth]
  const extensions = [
    ...(choices.ca === 'absent' ? [] : [builder.basicConstraints(choices.ca ?? false)]),
    ...(usage === 'absent' ? [] : [builder.keyUsage(...usage)]),
    ...(extended === 'absent' ? [] : [builder.extendedKeyUsage(...extended)]),
    ...(uris.length + dnsNames.length === 0
      ? []
      : [builder.subjectAltName({ uris, dnsNames }, commonName === undefined)]),
    builder.subjectKeyIdentifier(builder.keyIdOf(fresh.publicKey)),
    builder.authorityKeyIdentifier(authority.keyId),
    ...(choices.more ?? []),
  ]
  const cert = builder.buildCertificate(
    {
      serial: Buffer.from('40112233445566778899aabbccddeeff', 'hex'),
      issuer: authority.name,
      subject: commonName === undefined ? builder.EMPTY_NAME : builder.nameOf(commonName),
      notBefore: choices.notBefore ?? now - 60_000,
      notAfter: choices.notAfter ?? now + HOUR_MS,
      publicKey,
      extensions,
    },
    authority.signingKey,
  )
  return { key: privateKeyPem(choices.privateKey ?? fresh.privateKey), cert }
}

/** An identity as a registry would have issued it. */
export function newIdentity(authority: Authority, service: string, now = Date.now()): Identity {
  const { privateKey, publicKey } = newKey()
  const spiffeId = serviceId(authority.trustDomain, service)
  const [notBefore, notAfter] = [now - 60_000, now + HOUR_MS]
  return {
    spiffeId,
    ...newBundle([authority.certificate], 1, { trustDomain: authority.trustDomain }),
    service,
    privateKey: privateKeyPem(privateKey),
    certificate: issueCertificate(authority, { publicKey, spiffeId, notBefore, notAfter }),
    notBefore: Math.floor(notBefore / 1000) * 1000,
    notAfter: Math.floor(notAfter / 1000) * 1000,
    generation: 1,
  }
}
