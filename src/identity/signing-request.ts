/**
 * PKCS#10 signing requests (RFC 2986) as proof that the sender holds a key. Names and extensions in
 * a request are ignored, because every name in a certificate comes from the registry.
 */
import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import { MeshError } from '../core/errors.ts'
import { readP256PublicKey } from './key.ts'
import { EMPTY_NAME, OID, signed, toPem } from './x509/certificate-builder.ts'
import {
  DerError,
  readBitString,
  readChildren,
  readDer,
  readObjectIdentifier,
  readSmallInteger,
} from './x509/der-reader.ts'
import * as der from './x509/der-writer.ts'

/** A request of ours has 350 bytes. */
const LONGEST_REQUEST = 16 * 1024
const LABEL = 'CERTIFICATE REQUEST'
const PEM = new RegExp(`^\\s*-----BEGIN ${LABEL}-----\\r?\\n([A-Za-z0-9+/=\\r\\n]+)-----END ${LABEL}-----\\s*$`)

/** A request in PEM, signed with `privateKey` (P-256). */
export function createSigningRequest(privateKey: KeyObject): string {
  return signedRequest(privateKey, EMPTY_NAME)
}

/** A request with a DER name and attributes. */
export function signedRequest(privateKey: KeyObject, name: Uint8Array, ...attributes: readonly Uint8Array[]): string {
  const spki = createPublicKey(privateKey).export({ type: 'spki', format: 'der' })
  const body = der.sequence(der.integer(0), name, spki, der.explicit(0, ...attributes))
  return toPem(LABEL, signed(body, privateKey))
}

/**
 * The public key of a request, if its sender holds the private one and it is P-256. Throws a
 * `MeshError` with the code `join-refused` for everything else.
 */
export function readSigningRequest(pem: string): KeyObject {
  const refuse = (why: string): never => {
    throw new MeshError(`The signing request was refused: ${why}.`, { code: 'join-refused' })
  }
  if (typeof pem !== 'string') return refuse('it is no text')
  if (pem.length > LONGEST_REQUEST) return refuse(`it has more than ${LONGEST_REQUEST} bytes`)
  const match = PEM.exec(pem)
  if (match === null) return refuse(`it is not one PEM block labelled ${LABEL}`)
  try {
    const [body, algorithm, signature, ...rest] = readChildren(
      readDer(Buffer.from(match[1]!, 'base64')),
      der.TAG.sequence,
    )
    const [version, name, key, attributes, ...more] = readChildren(body, der.TAG.sequence)
    readSmallInteger(version)
    readChildren(name, der.TAG.sequence)
    readChildren(attributes, 0xa0)
    if (rest.length > 0 || more.length > 0) return refuse('it has more parts than a request has')
    const publicKey = readP256PublicKey(key!.bytes) ?? refuse('its key is not a P-256 key')
    if (readObjectIdentifier(readChildren(algorithm, der.TAG.sequence)[0]) !== OID.ecdsaWithSha256) {
      return refuse('it is not signed with ECDSA and SHA-256')
    }
    const { bytes, unusedBits } = readBitString(signature)
    if (unusedBits !== 0 || !verify('sha256', body!.bytes, publicKey, bytes)) return refuse('its signature is wrong')
    return publicKey
  } catch (error) {
    if (error instanceof MeshError) throw error
    return refuse(error instanceof DerError ? `it is not DER (${error.message})` : 'it cannot be read')
  }
}
