/** What operators ask of the authority: rotate, go on without waiting, cancel, and import. */
import { createPrivateKey, X509Certificate } from 'node:crypto'
import type { Clock } from '../../core/clock.ts'
import { createIntermediateRequest } from '../../identity/intermediate.ts'
import { generateIdentityKey, privateKeyPem } from '../../identity/key.ts'
import type { Audit } from '../access/audit.ts'
import { ApiError } from '../api/error.ts'
import { type AuthorityRecord, KEYS } from '../records.ts'
import type { RegistryState } from '../state.ts'
import {
  authorityOf,
  findRoot,
  type Made,
  makeIntermediate,
  makeRoot,
  makeTokenKey,
  putAuthority,
  rootIdOf,
} from './authority-records.ts'
import { belowKnownRoot, ChainMistake, type IssuerChain, readChain } from './chain.ts'
import type { RotationFacts } from './rotation-facts.ts'
import {
  type Actor,
  advanceTrack,
  cancelTrack,
  publishAuthority,
  publishTokenKey,
  type Track,
} from './rotation-steps.ts'
import type { TrustStore } from './trust-store.ts'

export type Rotated = 'root' | 'intermediate' | 'tokens'

const REQUEST = 'request'

export class RotationCommands {
  readonly #store: TrustStore
  readonly #state: RegistryState
  readonly #facts: RotationFacts
  readonly #audit: Audit
  readonly #clock: Clock

  constructor(store: TrustStore, state: RegistryState, facts: RotationFacts, audit: Audit, clock: Clock) {
    this.#store = store
    this.#state = state
    this.#facts = facts
    this.#audit = audit
    this.#clock = clock
  }

  /** Begins a rotation. @throws ApiError `conflict`: one is under way, or no root key is here */
  async rotate(what: Rotated, by: string, source: string): Promise<void> {
    const actor = this.#actor(by, source)
    const wallNow = this.#clock.wallNow()
    const { trust, rotation } = this.#store
    if (what === 'tokens') {
      await this.#store.change(publishTokenKey(await makeTokenKey(wallNow), actor))
      return
    }
    const { active } = rotation.certificates
    const record = trust.authorities.get(active)!
    const rootId = rootIdOf(active, record)
    const known = trust.authorities.get(rootId)
    if (known?.privateKey === undefined) throw elsewhere(what)
    const root: Made<AuthorityRecord> =
      what === 'root' ? makeRoot(rotation.trustDomain, wallNow) : { id: rootId, record: known }
    if (authorityOf(root.record).notAfter <= wallNow) {
      throw new ApiError('conflict', "the root has ended; rotate it: 'inmesh ca rotate root'")
    }
    await this.#store.change(publishAuthority(trust, makeIntermediate(root, wallNow), root, actor))
  }

  /** Ends the stage that is under way, without waiting. @throws ApiError `conflict` if none is */
  async force(track: Track, by: string, source: string): Promise<void> {
    const actor = this.#actor(by, source)
    const facts = (succession: Parameters<RotationFacts['of']>[1]) => ({
      ...this.#facts.of(track, succession, 0),
      forced: true,
    })
    const { trust, rotation } = this.#store
    if (await this.#store.change(advanceTrack(track, trust, facts, actor))) return
    const { stage, next } = rotation[track]
    const why =
      stage === 'publish'
        ? `a registry has no key of ${next}; see 'inmesh ca status'`
        : 'no rotation is under way; begin one without --force'
    throw new ApiError('conflict', `the rotation of ${track} cannot go on: ${why}`)
  }

  async cancel(track: Track, by: string, source: string): Promise<void> {
    await this.#store.change(cancelTrack(track, this.#store.trust, this.#actor(by, source)))
  }

  /** A signing request for an intermediate, whose key stays here; the same until it is imported. */
  async request(by: string, source: string): Promise<string> {
    const { trust, rotation } = this.#store
    if (trust.authorities.get(REQUEST) === undefined) {
      const { privateKey } = await generateIdentityKey()
      const { trustDomain } = rotation
      const record: AuthorityRecord = {
        trustDomain,
        role: 'request',
        certificate: '',
        privateKey: privateKeyPem(privateKey),
        createdAt: this.#clock.wallNow(),
      }
      const noted = this.#audit.operations({ who: by, source, action: 'ca-csr', outcome: 'done' })
      // Another registry may have been first; then its key counts.
      await this.#state.write(
        [putAuthority({ id: REQUEST, record }), ...noted],
        [{ key: KEYS.authority(REQUEST), revision: 0 }],
      )
    }
    const { privateKey } = trust.authorities.get(REQUEST)!
    return createIntermediateRequest(createPrivateKey(privateKey!), rotation.trustDomain)
  }

  /** Publishes the intermediate that was signed for our request. Returns its id. */
  async import(pem: string, by: string, source: string): Promise<string> {
    const { trust, rotation } = this.#store
    const chain = belowKnown(this.#read(pem), trust)
    const { intermediate, root } = chain
    if (trust.authorities.has(intermediate.id)) {
      throw new ApiError('conflict', `the intermediate ${intermediate.id} is imported already`)
    }
    const privateKey = trust.authorities.get(REQUEST)?.privateKey
    const certificate = new X509Certificate(intermediate.record.certificate)
    if (privateKey === undefined || !certificate.checkPrivateKey(createPrivateKey(privateKey))) {
      const why = "it is for another key; sign the request of 'inmesh ca csr', and import its chain"
      throw new ApiError('invalid-request', `the chain is refused: ${why}`)
    }
    const next = { id: intermediate.id, record: { ...intermediate.record, privateKey } }
    const used = { key: KEYS.authority(REQUEST), value: undefined }
    const step = publishAuthority(trust, next, root, this.#actor(by, source), [used])
    await this.#store.change((now, at) => (now.trustDomain === rotation.trustDomain ? step(now, at) : undefined))
    return intermediate.id
  }

  #read(pem: string): IssuerChain {
    try {
      return readChain(pem, this.#clock.wallNow(), this.#store.rotation.trustDomain)
    } catch (error) {
      if (!(error instanceof ChainMistake)) throw error
      throw new ApiError('invalid-request', `the chain is refused: ${error.message}`)
    }
  }

  #actor(who: string, source: string): Actor {
    return { who, source, operations: (entry) => this.#audit.operations(entry) }
  }
}

/** With the id of a root that the store has already. */
export function belowKnown(chain: IssuerChain, trust: TrustStore['trust']): IssuerChain {
  return belowKnownRoot(chain, findRoot(trust, chain.root.record.certificate))
}

function elsewhere(what: Rotated): ApiError {
  const how =
    what === 'root'
      ? "make another by 'inmesh ca init', then sign the request of 'inmesh ca csr' with it and 'inmesh ca import' the chain"
      : "sign the request of 'inmesh ca csr' with it and 'inmesh ca import' the chain"
  return new ApiError('conflict', `the key of the root is kept elsewhere: ${how}`)
}
