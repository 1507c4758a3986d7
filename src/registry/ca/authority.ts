/**
 * The certificate authority of this registry: the trust bundle, and what it signs. Every
 * name comes from the registry, never from a request.
 */
import { type KeyObject, X509Certificate } from 'node:crypto'
import type { Clock } from '../../core/clock.ts'
import { type Authority, issueCertificate } from '../../identity/certificate.ts'
import type { Identity } from '../../identity/identity.ts'
import type { JoinResponse } from '../../identity/issued-certificate.ts'
import { generateIdentityKey, privateKeyPem } from '../../identity/key.ts'
import { readSigningRequest } from '../../identity/signing-request.ts'
import { registryId, serviceId } from '../../identity/spiffe-id.ts'
import type { TrustBundle } from '../../identity/trust-bundle.ts'
import { BACKDATED_MS } from '../../identity/validity.ts'
import { OptionsError } from '../../options/fields.ts'
import { RateLimit } from '../access/rate-limit.ts'
import { ApiError } from '../api/error.ts'
import type { RegistryState } from '../state.ts'
import { authorityOf } from './authority-records.ts'
import type { ExternalIssuer, ExternalIssuers } from './external-issuer.ts'
import { trustedOf } from './succession.ts'
import { TrustStore } from './trust-store.ts'
import { bundleFrom, issuerUnder, ownIssuerOf, pinsOf } from './trusted.ts'

/** A joiner has 5 s by default. */
const SIGNING_WAIT_MS = 3_000
const SHARE_OF_SERVICE = 0.8

export interface AuthorityOptions {
  /** `undefined`: the stored one, or the default for a new mesh. */
  readonly trustDomain: string | undefined
  readonly certificateLifeMs: number
  readonly signingsPerSecond: number
  readonly external?: ExternalIssuers | undefined
}

export class RegistryAuthority {
  readonly store: TrustStore
  readonly #options: AuthorityOptions
  readonly #state: RegistryState
  readonly #clock: Clock
  readonly #signings: RateLimit
  readonly #ofService: RateLimit
  readonly #listeners = new Set<() => void>()
  readonly #stop: () => void
  #external: readonly ExternalIssuer[]
  #bundle: TrustBundle
  #known: string
  /** Monotonic: when the store was last known to be in reach. */
  #contactAt: number

  /**
   * Loads the authority, or makes it. Throws an `OptionsError` if the stored one is damaged or
   * another mesh's.
   */
  static async open(state: RegistryState, options: AuthorityOptions, clock: Clock): Promise<RegistryAuthority> {
    const { trustDomain, certificateLifeMs, external } = options
    const store = await TrustStore.open(
      state,
      { trustDomain, lifeMs: certificateLifeMs, external: external?.[0] },
      clock,
    )
    const authority = new RegistryAuthority(store, state, options, clock)
    authority.#checkKey()
    await authority.#announceLife()
    return authority
  }

  private constructor(store: TrustStore, state: RegistryState, options: AuthorityOptions, clock: Clock) {
    this.store = store
    this.#state = state
    this.#options = options
    this.#clock = clock
    this.#external = options.external ?? []
    this.#signings = new RateLimit(options.signingsPerSecond, options.signingsPerSecond, clock)
    const ofService = Math.ceil(options.signingsPerSecond * SHARE_OF_SERVICE)
    this.#ofService = new RateLimit(ofService, ofService, clock)
    this.#contactAt = clock.now()
    this.#bundle = this.#read()
    this.#known = this.#facts()
    this.#stop = state.trust.onChange(() => this.#changed())
    for (const id of this.holds) this.#signerOf(id)
  }

  get trustDomain(): string {
    return this.#bundle.trustDomain
  }

  /** What every verifier of the mesh goes by. */
  get bundle(): TrustBundle {
    return this.#bundle
  }

  get roots(): readonly string[] {
    return this.#bundle.roots
  }

  get sequence(): number {
    return this.#bundle.sequence
  }

  get certificateLifeMs(): number {
    return this.#options.certificateLifeMs
  }

  /** Wall clock, ms: the ends of the root in use and of the authority that signs below it. */
  get ends(): { readonly root: number; readonly issuer: number } {
    const { trust, rotation } = this.store
    const endOf = (certificate: string): number => Date.parse(new X509Certificate(certificate).validTo)
    const issuer = trust.authorities.get(rotation.certificates.active)
    return { root: endOf(this.roots[0]!), issuer: endOf(issuer!.certificate) }
  }

  /** What new tokens pin: the fingerprint of the root in use. */
  get fingerprint(): string {
    return this.pins[0]!
  }

  /** What valid tokens pin. */
  get pins(): readonly string[] {
    return pinsOf(this.store.trust, this.store.rotation)
  }

  /** Ids of the trusted authorities that this registry can sign with. */
  get holds(): readonly string[] {
    return trustedOf(this.store.rotation.certificates).filter((id) => this.#holds(id))
  }

  /** Called when the bundle, who signs, or our keys have changed. Returns how to stop. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** The files of `--ca-dir` have changed. */
  useExternal(external: ExternalIssuers): void {
    this.#external = external
    this.#changed()
  }

  /** What the directory has now, the current one first. */
  get external(): readonly ExternalIssuer[] {
    return this.#external
  }

  close(): void {
    this.#stop()
    this.#listeners.clear()
  }

  /** The key of a signing request. Throws `csr-invalid`. */
  readRequest(csr: string): KeyObject {
    try {
      return readSigningRequest(csr)
    } catch (error) {
      throw new ApiError('csr-invalid', error instanceof Error ? error.message : 'the signing request cannot be read')
    }
  }

  /**
   * Takes one signing from the limit, or throws. Processes that start together wait for their turn;
   * one service cannot take all of it. Ask only for those who have proved who they are.
   */
  async admitSigning(service: string): Promise<void> {
    const own = await this.#ofService.takeInTurn(SIGNING_WAIT_MS, service)
    if (own && (await this.#signings.takeInTurn(SIGNING_WAIT_MS))) return
    const { signingsPerSecond } = this.#options
    throw new ApiError('rate-limited', `more than ${signingsPerSecond} certificates a second; try again later`)
  }

  /** A certificate for `service`. Whether the asker is that service has been decided before. */
  issue(service: string, publicKey: KeyObject): JoinResponse {
    const issuer = this.#signerOf(this.store.rotation.certificates.active)
    const certificate = issueCertificate(issuer, {
      publicKey,
      spiffeId: serviceId(this.trustDomain, service),
      ...this.#period(issuer),
    })
    return { ...this.bundle, certificate, wallNow: this.#clock.wallNow() }
  }

  /**
   * The registry's own, with the names under which browsers and scripts reach it. `pin`: under the
   * root with this fingerprint.
   */
  async issueOwn(
    names: { dnsNames: readonly string[]; ipAddresses: readonly string[] },
    generation: number,
    pin?: string,
  ): Promise<Identity> {
    const { trust, rotation } = this.store
    const wanted = pin === undefined ? undefined : issuerUnder(trust, rotation, pin, (id) => this.#holds(id))
    const issuer = this.#signerOf(wanted ?? this.#ownIssuer())
    const { privateKey, publicKey } = await generateIdentityKey()
    const spiffeId = registryId(this.trustDomain)
    const period = this.#period(issuer)
    return {
      ...this.bundle,
      spiffeId,
      service: 'registry',
      privateKey: privateKeyPem(privateKey),
      certificate: issueCertificate(issuer, { publicKey, spiffeId, ...period, ...names }),
      ...period,
      generation,
    }
  }

  #checkKey(): void {
    const { active } = this.store.rotation.certificates
    if (this.#holds(active)) return
    const message =
      this.#external.length === 0
        ? `is missing: the key of the intermediate in use (${active}) is not in the store; give the directory where it is`
        : `the intermediate in use is another one (${active}), and its key is neither there nor in the store; keep it there as former.key and former.pem until 'inmesh ca status' shows that it is withdrawn`
    throw new OptionsError('startRegistry', [{ path: ['caDir'], message }])
  }

  /** A registry that got its key later, or lost it, has what it holds. */
  #ownIssuer(): string {
    const wanted = ownIssuerOf(this.store.trust, this.store.rotation)
    return this.#holds(wanted) ? wanted : (this.holds[0] ?? wanted)
  }

  #externalOf(id: string): ExternalIssuer | undefined {
    return this.#external.find(({ intermediate }) => intermediate.id === id)
  }

  #holds(id: string): boolean {
    if (this.#externalOf(id) !== undefined) return true
    return this.store.trust.authorities.get(id)?.privateKey !== undefined
  }

  #signerOf(id: string): Authority {
    const external = this.#externalOf(id)
    if (external !== undefined) return external.authority
    const record = this.store.trust.authorities.get(id)
    if (record?.privateKey !== undefined) return authorityOf(record)
    throw new ApiError('storage-unavailable', `this registry has no key of the authority '${id}'; give it by --ca-dir`)
  }

  /**
   * Of a certificate from now on. Cut off from the store, this registry may not know that another
   * authority is in use, so what it signs ends before the one it uses is withdrawn.
   */
  #period({ notAfter }: Authority): { notBefore: number; notAfter: number } {
    const { certificateLifeMs } = this.#options
    const now = this.#clock.wallNow()
    const { writable, engine } = this.#state.store.status()
    if (writable || engine !== 'etcd') this.#contactAt = this.#clock.now()
    const cutOffMs = this.#clock.now() - this.#contactAt
    const lifeMs = Math.min(certificateLifeMs, 2 * certificateLifeMs - cutOffMs)
    const end = Math.min(now + lifeMs, notAfter)
    if (end <= now) {
      const why =
        lifeMs <= 0 ? 'the store has been out of reach for too long' : 'the certificate of the authority has ended'
      throw new ApiError('storage-unavailable', `no certificate can be issued: ${why}`)
    }
    return { notBefore: now - BACKDATED_MS, notAfter: end }
  }

  #facts(): string {
    const { sequence, certificates, tokens } = this.store.rotation
    const ids = [certificates, tokens].map(({ active, next, former }) => [active, next, former])
    return JSON.stringify([sequence, ids, this.holds])
  }

  #read(): TrustBundle {
    const denied = [...this.store.trust.denials.keys()].sort()
    return bundleFrom(this.store.trust, this.store.rotation, denied)
  }

  /** What processes report changes nothing, and neither does how long a stage lasts. */
  #changed(): void {
    const facts = this.#facts()
    if (facts === this.#known) return
    this.#known = facts
    this.#bundle = this.#read()
    for (const listener of [...this.#listeners]) listener()
  }

  /** Before the first signature: no authority is withdrawn while something it signed lives. */
  async #announceLife(): Promise<void> {
    const { certificateLifeMs } = this.#options
    await this.store.change(({ certificates }) =>
      certificates.lifeMs >= certificateLifeMs
        ? undefined
        : { rotation: { certificates: { ...certificates, lifeMs: certificateLifeMs } }, isBundle: false },
    )
  }
}
