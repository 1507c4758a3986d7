/**
 * The records about trust, as the state holds them: authorities, token keys, the rotation, denied
 * identities, and how far each registry is.
 */
import type { AuthorityRecord, DenialRecord, SigningKeyRecord } from '../records.ts'
import type { ProgressRecord } from './progress.ts'
import type { RotationRecord } from './rotation-record.ts'

export class TrustRecords {
  readonly #authorities = new Map<string, AuthorityRecord>()
  readonly #signingKeys = new Map<string, SigningKeyRecord>()
  readonly #denials = new Map<string, DenialRecord>()
  readonly #progress = new Map<string, ProgressRecord>()
  readonly #listeners = new Set<() => void>()
  #rotation: { readonly record: RotationRecord; readonly revision: number } | undefined
  #changed = false

  get authorities(): ReadonlyMap<string, AuthorityRecord> {
    return this.#authorities
  }

  get signingKeys(): ReadonlyMap<string, SigningKeyRecord> {
    return this.#signingKeys
  }

  /** By SPIFFE id. */
  get denials(): ReadonlyMap<string, DenialRecord> {
    return this.#denials
  }

  /** By the id of the registry. */
  get progress(): ReadonlyMap<string, ProgressRecord> {
    return this.#progress
  }

  get rotation(): RotationRecord | undefined {
    return this.#rotation?.record
  }

  /** For comparing; 0: there is no record. */
  get rotationRevision(): number {
    return this.#rotation?.revision ?? 0
  }

  /** `undefined` deletes. Returns false for a kind of key that is not about trust. */
  set(kind: string, id: string, record: unknown, revision: number): boolean {
    switch (kind) {
      case 'ca':
        put(this.#authorities, id, record as AuthorityRecord | undefined)
        break
      case 'jwt':
        put(this.#signingKeys, id, record as SigningKeyRecord | undefined)
        break
      case 'deny':
        put(this.#denials, decodeURIComponent(id), record as DenialRecord | undefined)
        break
      case 'trust':
        put(this.#progress, id, record as ProgressRecord | undefined)
        break
      case 'rotation':
        this.#rotation = record === undefined ? undefined : { record: record as RotationRecord, revision }
        break
      default:
        return false
    }
    this.#changed = true
    return true
  }

  /** Calls the listeners if a record has changed since the last call: once per transaction. */
  notify(): void {
    if (!this.#changed) return
    this.#changed = false
    for (const listener of [...this.#listeners]) listener()
  }

  /** Returns how to stop. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }
}

function put<T>(map: Map<string, T>, id: string, record: T | undefined): void {
  if (record === undefined) map.delete(id)
  else map.set(id, record)
}
