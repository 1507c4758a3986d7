/** P-256 keys: the only kind that identities of this mesh have. */
import { createPrivateKey, createPublicKey, generateKeyPair, type KeyObject } from 'node:crypto'
import { promisify } from 'node:util'

const generate = promisify(generateKeyPair)

/**
 * Every P-256 public key in DER: this, then the two coordinates. Other encodings of the same key
 * are not accepted.
 */
const P256_PREFIX = Buffer.from('3059301306072a8648ce3d020106082a8648ce3d03010703420004', 'hex')

export interface KeyPair {
  readonly privateKey: KeyObject
  readonly publicKey: KeyObject
}

/** A new key, made off the event loop. */
export async function generateIdentityKey(): Promise<KeyPair> {
  return await generate('ec', { namedCurve: 'P-256' })
}

/** `undefined` unless this is a P-256 public key (SPKI in DER) whose point lies on the curve. */
export function readP256PublicKey(spki: Uint8Array): KeyObject | undefined {
  if (spki.length !== P256_PREFIX.length + 64) return undefined
  if (!P256_PREFIX.equals(spki.subarray(0, P256_PREFIX.length))) return undefined
  try {
    return createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' })
  } catch {
    return undefined
  }
}

/** `undefined` unless this is a P-256 private key in PEM. */
export function readP256PrivateKey(pem: string): KeyObject | undefined {
  try {
    const key = createPrivateKey(pem)
    return isP256(key) ? key : undefined
  } catch {
    return undefined
  }
}

export function isP256(key: KeyObject): boolean {
  return key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === 'prime256v1'
}

export function privateKeyPem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString()
}
