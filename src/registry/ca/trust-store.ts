/**
 * The records about trust in the store: made at the first start, taken over from an older version,
 * and changed by one transaction for each step. Registries that do so at the same moment end with
 * one result.
 */
import type { Clock } from '../../core/clock.ts'
import { OptionsError } from '../../options/fields.ts'
import { ApiError } from '../api/error.ts'
import { type AuthorityRecord, KEYS } from '../records.ts'
import type { RegistryState } from '../state.ts'
import type { Operation } from '../storage/storage.ts'
import {
  type Made,
  makeIntermediate,
  makeRoot,
  makeTokenKey,
  putAuthority,
  putTokenKey,
  renewedRoot,
} from './authority-records.ts'
import type { ExternalIssuer } from './external-issuer.ts'
import { nextSequence, type RotationRecord } from './rotation-record.ts'
import { begin, steady } from './succession.ts'
import type { TrustRecords } from './trust-records.ts'

const DEFAULT_TRUST_DOMAIN = 'inmesh.local'
/** The first root and token key of a store; of an older version the only ones. */
const FIRST_ROOT = 'root'
const FIRST_TOKEN_KEY = 'key'
/** Other registries change the record, too. */
const MOST_TRIES = 20

/** Of the bundle that a step makes. */
export interface Moment {
  readonly sequence: number
  readonly wallNow: number
}

export interface TrustStep {
  readonly rotation: Partial<RotationRecord>
  readonly operations?: readonly Operation[]
  /** Whether the trust bundle changes. Default true. */
  readonly isBundle?: boolean
}

export interface TrustStoreOptions {
  /** `undefined`: the stored one, or the default for a new mesh. */
  readonly trustDomain: string | undefined
  /** Of the certificates that this registry issues. */
  readonly lifeMs: number
  /** Signs in place of authorities of the store. */
  readonly external?: ExternalIssuer | undefined
}

export class TrustStore {
  readonly trust: TrustRecords
  readonly #state: RegistryState
  readonly #clock: Clock

  /** @throws OptionsError if the store is another mesh's */
  static async open(state: RegistryState, options: TrustStoreOptions, clock: Clock): Promise<TrustStore> {
    const store = new TrustStore(state, clock)
    if (state.trust.rotation === undefined) await store.#begin(options)
    const { trustDomain } = store.rotation
    if (options.trustDomain !== undefined && trustDomain !== options.trustDomain) {
      const message = `the store belongs to trust domain '${trustDomain}', not '${options.trustDomain}'`
      throw new OptionsError('startRegistry', [{ path: ['trustDomain'], message }])
    }
    await store.#renumber()
    return store
  }

  private constructor(state: RegistryState, clock: Clock) {
    this.#state = state
    this.trust = state.trust
    this.#clock = clock
  }

  get rotation(): RotationRecord {
    return this.trust.rotation!
  }

  /**
   * Writes the step that `next` finds due, again if another registry was first; `undefined`: none
   * is, and the answer is false.
   */
  async change(next: (rotation: RotationRecord, at: Moment) => TrustStep | undefined): Promise<boolean> {
    for (let tries = 0; tries < MOST_TRIES; tries++) {
      const { rotation, trust } = this
      const wallNow = this.#clock.wallNow()
      const sequence = nextSequence(rotation, wallNow)
      const step = next(rotation, { sequence, wallNow })
      if (step === undefined) return false
      const numbered = step.isBundle === false ? {} : { sequence, epoch: this.#state.epoch }
      const value = JSON.stringify({ ...rotation, ...numbered, ...step.rotation })
      const operations = [{ key: KEYS.rotation, value }, ...(step.operations ?? [])]
      const { ok } = await this.#state.write(operations, [{ key: KEYS.rotation, revision: trust.rotationRevision }])
      if (ok) return true
    }
    throw new ApiError('conflict', 'other registries change the authority at the same time; try again')
  }

  /** Of several registries the first one's records count. */
  async #begin({ trustDomain, lifeMs, external }: TrustStoreOptions): Promise<void> {
    const older = this.trust.authorities.get(FIRST_ROOT)
    const made =
      older === undefined
        ? await this.#makeNew(external?.trustDomain ?? trustDomain ?? DEFAULT_TRUST_DOMAIN, lifeMs, external)
        : await this.#takeOver(older, lifeMs)
    const operations = [{ key: KEYS.rotation, value: JSON.stringify(made.rotation) }, ...made.operations]
    await this.#state.write(operations, [{ key: KEYS.rotation, revision: 0 }])
  }

  async #makeNew(
    trustDomain: string,
    lifeMs: number,
    external: ExternalIssuer | undefined,
  ): Promise<{ rotation: RotationRecord; operations: Operation[] }> {
    const wallNow = this.#clock.wallNow()
    // Named as in earlier versions, for scripts that read the first keys.
    const root = external?.root ?? { ...makeRoot(trustDomain, wallNow), id: FIRST_ROOT }
    const intermediate = external?.intermediate ?? makeIntermediate(root, wallNow)
    const key = { ...(await makeTokenKey(wallNow)), id: FIRST_TOKEN_KEY }
    const at = { sequence: 1, wallNow, lifeMs }
    return {
      rotation: {
        trustDomain,
        sequence: at.sequence,
        epoch: this.#state.epoch,
        certificates: steady(intermediate.id, at),
        tokens: steady(key.id, at),
      },
      operations: [putAuthority(root), putAuthority(intermediate), putTokenKey(key)],
    }
  }

  /**
   * The root of an older version signs leaves until every process knows its intermediate. Its key
   * stays, so tokens that pin it find it.
   */
  async #takeOver(
    older: AuthorityRecord,
    lifeMs: number,
  ): Promise<{ rotation: RotationRecord; operations: Operation[] }> {
    const wallNow = this.#clock.wallNow()
    const root: Made<AuthorityRecord> = { id: FIRST_ROOT, record: renewedRoot(older, wallNow) }
    const intermediate = makeIntermediate(root, wallNow)
    const operations = [putAuthority(root), putAuthority(intermediate)]
    let tokenKey = FIRST_TOKEN_KEY
    if (!this.trust.signingKeys.has(FIRST_TOKEN_KEY)) {
      const made = await makeTokenKey(wallNow)
      operations.push(putTokenKey(made))
      tokenKey = made.id
    }
    const at = { sequence: nextSequence({ sequence: older.sequence ?? 0 }, wallNow), wallNow, lifeMs }
    return {
      rotation: {
        trustDomain: older.trustDomain,
        sequence: at.sequence,
        epoch: this.#state.epoch,
        certificates: begin(steady(FIRST_ROOT, at), intermediate.id, { ...at, patient: true })!,
        tokens: steady(tokenKey, at),
      },
      operations,
    }
  }

  /** Processes have seen later bundles than this store knows, if it is a restored backup. */
  async #renumber(): Promise<void> {
    if (this.rotation.epoch === this.#state.epoch) return
    await this.change(({ epoch }) => (epoch === this.#state.epoch ? undefined : { rotation: {} }))
  }
}
