/**
 * Builds and signs X.509 certificates (RFC 5280) from parts. Checks nothing; `certificate.ts` does.
 */
import { createHash, type KeyObject, sign } from 'node:crypto'
import { isIPv4 } from 'node:net'
import * as der from './der-writer.ts'

export const OID = Object.freeze({
  commonName: '2.5.4.3',
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKeyIdentifier: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
  extensionRequest: '1.2.840.113549.1.9.14',
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
})

/** Bits of the key usage extension (RFC 5280 4.2.1.3). */
export const KEY_USAGE = Object.freeze({ digitalSignature: 0, keyCertSign: 5, crlSign: 6 })

export interface CertificateParts {
  /** Big-endian, positive. */
  readonly serial: Uint8Array
  /** DER names. */
  readonly issuer: Uint8Array
  readonly subject: Uint8Array
  /** Wall-clock instants in ms; certificates know whole seconds only. */
  readonly notBefore: number
  readonly notAfter: number
  readonly publicKey: KeyObject
  /** DER, made by the functions below. */
  readonly extensions: readonly Uint8Array[]
}

export const EMPTY_NAME: Uint8Array = der.sequence()

const ECDSA_WITH_SHA256 = der.sequence(der.objectIdentifier(OID.ecdsaWithSha256))

/** Signs `parts`; returns PEM. */
export function buildCertificate(parts: CertificateParts, signingKey: KeyObject): string {
  const body = der.sequence(
    der.explicit(0, der.integer(2)),
    der.integer(parts.serial),
    ECDSA_WITH_SHA256,
    parts.issuer,
    der.sequence(der.time(parts.notBefore), der.time(parts.notAfter)),
    parts.subject,
    parts.publicKey.export({ type: 'spki', format: 'der' }),
    ...(parts.extensions.length === 0 ? [] : [der.explicit(3, der.sequence(...parts.extensions))]),
  )
  return toPem('CERTIFICATE', signed(body, signingKey))
}

/** A signed structure: body, algorithm, signature. */
export function signed(body: Uint8Array, signingKey: KeyObject): Buffer {
  return der.sequence(body, ECDSA_WITH_SHA256, der.bitString(sign('sha256', body, signingKey)))
}

export function toPem(label: string, bytes: Uint8Array): string {
  const lines = Buffer.from(bytes)
    .toString('base64')
    .replace(/.{64}(?=.)/g, '$&\n')
  return `-----BEGIN ${label}-----\n${lines}\n-----END ${label}-----\n`
}

/** A name of one common name. */
export function nameOf(commonName: string): Buffer {
  return der.sequence(der.set(der.sequence(der.objectIdentifier(OID.commonName), der.utf8String(commonName))))
}

/** The SHA-1 of the key's bits, RFC 5280 4.2.1.2 method 1: a name for a key, not a protection. */
export function keyIdOf(key: KeyObject): Buffer {
  // All our keys are P-256: the bits are the last 65 bytes, an uncompressed point.
  const spki = key.export({ type: 'spki', format: 'der' })
  return createHash('sha1').update(spki.subarray(-65)).digest()
}

function extension(oid: string, critical: boolean, value: Uint8Array): Buffer {
  return der.sequence(der.objectIdentifier(oid), ...(critical ? [der.boolean(true)] : []), der.octetString(value))
}

export function basicConstraints(ca: boolean, pathLength?: number): Buffer {
  const parts = ca ? [der.boolean(true), ...(pathLength === undefined ? [] : [der.integer(pathLength)])] : []
  return extension(OID.basicConstraints, true, der.sequence(...parts))
}

/** `bits` are numbers of {@link KEY_USAGE}; at most 7. */
export function keyUsage(...bits: readonly number[]): Buffer {
  const byte = bits.reduce((sum, bit) => sum | (0x80 >> bit), 0)
  const unused = byte === 0 ? 0 : 31 - Math.clz32(byte & -byte)
  return extension(OID.keyUsage, true, der.bitString(byte === 0 ? Buffer.alloc(0) : Buffer.from([byte]), unused))
}

export function extendedKeyUsage(...oids: readonly string[]): Buffer {
  return extension(OID.extendedKeyUsage, false, der.sequence(...oids.map((oid) => der.objectIdentifier(oid))))
}

export interface AlternativeNames {
  readonly uris?: readonly string[]
  readonly dnsNames?: readonly string[]
  readonly ipAddresses?: readonly string[]
}

export function subjectAltName(names: AlternativeNames, critical: boolean): Buffer {
  const value = der.sequence(
    ...(names.uris ?? []).map((uri) => der.implicit(6, Buffer.from(uri, 'latin1'))),
    ...(names.dnsNames ?? []).map((name) => der.implicit(2, Buffer.from(name, 'latin1'))),
    ...(names.ipAddresses ?? []).map((address) => der.implicit(7, ipBytes(address))),
  )
  return extension(OID.subjectAltName, critical, value)
}

export function subjectKeyIdentifier(keyId: Uint8Array): Buffer {
  return extension(OID.subjectKeyIdentifier, false, der.octetString(keyId))
}

export function authorityKeyIdentifier(keyId: Uint8Array): Buffer {
  return extension(OID.authorityKeyIdentifier, false, der.sequence(der.implicit(0, keyId)))
}

/** `address` must be a valid IP address without a zone. */
function ipBytes(address: string): Buffer {
  if (isIPv4(address)) return Buffer.from(address.split('.').map(Number))
  // The URL parser writes every IPv6 address in hexadecimal groups only.
  const [head = '', tail] = new URL(`http://[${address}]/`).hostname.slice(1, -1).split('::')
  const groups = (text: string | undefined) => (text ? text.split(':').map((group) => Number.parseInt(group, 16)) : [])
  const [before, after] = [groups(head), groups(tail)]
  const all = [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after]
  return Buffer.from(all.flatMap((group) => [group >> 8, group & 0xff]))
}
