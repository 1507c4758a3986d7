/** Seals the values of records with AES-256-GCM. A sealed value opens under its own key only. */
import { createCipheriv, createDecipheriv, createSecretKey, hash, type KeyObject, randomBytes } from 'node:crypto'

const CIPHER = 'aes-256-gcm'
const VERSION = 1
export const KEY_BYTES = 32
const NONCE_BYTES = 12
const TAG_BYTES = 16

/** A value at rest. Bytes are base64. */
export interface SealedValue {
  /** Version of the form. */
  readonly sealed: typeof VERSION
  /** Tells a wrong key from damage. */
  readonly keyId: string
  readonly nonce: string
  /** Ciphertext, then the tag. */
  readonly data: string
}

/** The value was changed after it was sealed. */
export class SealBroken extends Error {
  override readonly name = 'SealBroken'
}

export class SealingKey {
  readonly #key: KeyObject
  /** Says nothing about the key. */
  readonly id: string

  /** `key`: 32 bytes. They are copied. */
  constructor(key: Uint8Array) {
    this.#key = createSecretKey(key)
    this.id = hash('sha256', Buffer.concat([Buffer.from('inmesh seal key\0'), key]), 'hex').slice(0, 16)
  }

  /** As it is stored under `record`. */
  seal(record: string, value: string): string {
    const nonce = randomBytes(NONCE_BYTES)
    const cipher = createCipheriv(CIPHER, this.#key, nonce, { authTagLength: TAG_BYTES }).setAAD(bindingOf(record))
    const data = Buffer.concat([cipher.update(value, 'utf8'), cipher.final(), cipher.getAuthTag()])
    const sealed: SealedValue = {
      sealed: VERSION,
      keyId: this.id,
      nonce: nonce.toString('base64'),
      data: data.toString('base64'),
    }
    return JSON.stringify(sealed)
  }

  /** @throws SealBroken */
  open(record: string, { nonce, data }: SealedValue): string {
    const bytes = Buffer.from(data, 'base64')
    try {
      const decipher = createDecipheriv(CIPHER, this.#key, Buffer.from(nonce, 'base64'), { authTagLength: TAG_BYTES })
      decipher.setAAD(bindingOf(record)).setAuthTag(bytes.subarray(-TAG_BYTES))
      return decipher.update(bytes.subarray(0, -TAG_BYTES), undefined, 'utf8') + decipher.final('utf8')
    } catch {
      throw new SealBroken('its seal is broken')
    }
  }
}

/** `undefined`: not sealed. @throws SealBroken for a form that this version cannot read */
export function sealedValueOf(parsed: unknown): SealedValue | undefined {
  if (typeof parsed !== 'object' || parsed === null || !('sealed' in parsed)) return undefined
  const { sealed, keyId, nonce, data } = parsed as Partial<SealedValue>
  if (sealed === VERSION && [keyId, nonce, data].every((text) => typeof text === 'string')) return parsed as SealedValue
  throw new SealBroken(`its seal has a form that this version cannot read (${String(sealed).slice(0, 20)})`)
}

/** A value that is moved to another record does not open. */
function bindingOf(record: string): Buffer {
  return Buffer.from(`inmesh seal ${VERSION}\0${record}`)
}
