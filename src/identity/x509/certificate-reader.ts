/**
 * Reads a certificate's DER: Node exposes neither key usage bits nor an unambiguous list of names.
 * Judges nothing.
 */
import { parseSpiffeId } from '../spiffe-id.ts'
import { OID } from './certificate-builder.ts'
import {
  DerError,
  type DerNode,
  readBitString,
  readBoolean,
  readChildren,
  readContent,
  readDer,
  readInteger,
  readObjectIdentifier,
  readSmallInteger,
  readTime,
} from './der-reader.ts'
import { TAG } from './der-writer.ts'
import { readCertificatePem } from './pem.ts'

export interface CertificateFacts {
  readonly notBefore: number
  readonly notAfter: number
  /** DER name. */
  readonly subject: Uint8Array
  readonly uris: readonly string[]
  readonly ca: boolean
  /** Of an authority: how many authorities may stand below it. `undefined`: any number. */
  readonly pathLength: number | undefined
  /** Bit numbers that are set; `undefined` if the extension is absent. */
  readonly keyUsage: readonly number[] | undefined
  /** OIDs; `undefined` if the extension is absent. */
  readonly extendedKeyUsage: readonly string[] | undefined
  /** `undefined` if the extension is absent. */
  readonly subjectKeyId: Uint8Array | undefined
  readonly signatureAlgorithm: string
  /** OIDs of critical extensions that this reader does not understand. */
  readonly unknownCritical: readonly string[]
}

/** Far above any real leaf; a peer's certificate is read before it is trusted. */
const LONGEST_CERTIFICATE = 64 * 1024

interface Extension {
  readonly critical: boolean
  readonly value: Uint8Array
}

/** Throws a {@link DerError} for anything that is not one well-formed X.509 v3 certificate. */
export function readCertificate(raw: Uint8Array): CertificateFacts {
  if (raw.length > LONGEST_CERTIFICATE) throw new DerError(`a certificate of more than ${LONGEST_CERTIFICATE} bytes`)
  const [body, outerAlgorithm, signature, ...rest] = readChildren(readDer(raw), TAG.sequence)
  readBitString(signature)
  if (rest.length > 0) throw new DerError('a certificate of more than three parts')
  const parts = readChildren(body, TAG.sequence)
  const [version, serial, algorithm, issuer, validity, subject, key, ...optional] = parts
  if (readSmallInteger(readChildren(version, 0xa0)[0]) !== 2) throw new DerError('a certificate that is not version 3')
  readInteger(serial)
  readChildren(issuer, TAG.sequence)
  readChildren(subject, TAG.sequence)
  readChildren(key, TAG.sequence)
  const [notBefore, notAfter, ...more] = readChildren(validity, TAG.sequence)
  if (more.length > 0) throw new DerError('a validity of more than two times')
  const signatureAlgorithm = readObjectIdentifier(readChildren(algorithm, TAG.sequence)[0])
  if (!Buffer.from(algorithm!.bytes).equals(outerAlgorithm?.bytes ?? Buffer.alloc(0))) {
    throw new DerError('two different signature algorithms')
  }
  const extensions = readExtensions(optional)
  const read = <T>(oid: string, parse: (value: DerNode) => T): T | undefined => {
    const found = extensions.get(oid)
    return found === undefined ? undefined : parse(readDer(found.value))
  }
  return {
    notBefore: readTime(notBefore),
    notAfter: readTime(notAfter),
    subject: subject!.bytes,
    uris: read(OID.subjectAltName, readUris) ?? [],
    ...(read(OID.basicConstraints, readConstraints) ?? { ca: false, pathLength: undefined }),
    keyUsage: read(OID.keyUsage, readBits),
    extendedKeyUsage: read(OID.extendedKeyUsage, (node) =>
      readChildren(node, TAG.sequence).map((child) => readObjectIdentifier(child)),
    ),
    subjectKeyId: read(OID.subjectKeyIdentifier, (node) => readContent(node, TAG.octetString)),
    signatureAlgorithm,
    unknownCritical: [...extensions].filter(([oid, e]) => e.critical && !UNDERSTOOD.has(oid)).map(([oid]) => oid),
  }
}

const UNDERSTOOD: ReadonlySet<string> = new Set([
  OID.subjectAltName,
  OID.basicConstraints,
  OID.keyUsage,
  OID.extendedKeyUsage,
  OID.subjectKeyIdentifier,
  OID.authorityKeyIdentifier,
])

/** The explicitly tagged last part; unique ids may come before it. */
function readExtensions(optional: readonly DerNode[]): Map<string, Extension> {
  const found = new Map<string, Extension>()
  for (const [i, part] of optional.entries()) {
    if (part.tag === 0x81 || part.tag === 0x82) continue
    const list = readChildren(part, 0xa3)
    if (i !== optional.length - 1 || list.length !== 1) throw new DerError('parts after the extensions')
    for (const entry of readChildren(list[0], TAG.sequence)) {
      const fields = readChildren(entry, TAG.sequence)
      if (fields.length !== 2 && fields.length !== 3) throw new DerError('an extension that cannot be')
      const oid = readObjectIdentifier(fields[0])
      if (found.has(oid)) throw new DerError('an extension that is there twice')
      const critical = fields.length === 3 && readBoolean(fields[1])
      found.set(oid, { critical, value: readContent(fields.at(-1), TAG.octetString) })
    }
  }
  return found
}

/** Names of other kinds are allowed in any number. */
function readUris(node: DerNode): readonly string[] {
  return readChildren(node, TAG.sequence)
    .filter((name) => name.tag === 0x86)
    .map((name) => Buffer.from(name.content).toString('latin1'))
}

function readConstraints(node: DerNode): Pick<CertificateFacts, 'ca' | 'pathLength'> {
  const parts = [...readChildren(node, TAG.sequence)]
  const ca = parts[0]?.tag === TAG.boolean && readBoolean(parts.shift())
  const pathLength = parts.length === 0 ? undefined : readSmallInteger(parts.shift())
  if (parts.length > 0) throw new DerError('basic constraints of more than two parts')
  return { ca, pathLength }
}

function readBits(node: DerNode): readonly number[] {
  const { bytes, unusedBits } = readBitString(node)
  const bits: number[] = []
  for (let bit = 0; bit < bytes.length * 8 - unusedBits; bit++) {
    if ((bytes[bit >> 3]! & (0x80 >> (bit & 7))) !== 0) bits.push(bit)
  }
  return bits
}

/**
 * The trust domain that a root in PEM names by its one URI name; `undefined` if it names none.
 * Never throws.
 */
export function trustDomainOf(root: string): string | undefined {
  try {
    const [der, ...more] = readCertificatePem(root) ?? []
    if (der === undefined || more.length > 0) return undefined
    const { uris } = readCertificate(der)
    const id = uris.length === 1 ? parseSpiffeId(uris[0]!) : undefined
    return id?.path === '' ? id.trustDomain : undefined
  } catch {
    return undefined
  }
}
