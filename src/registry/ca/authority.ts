/**
 * The certificate authority: its root and the certificates it signs. Every name comes from the
 * registry, never from a request.
 */
import type { KeyObject } from 'node:crypto'
import type { Clock } from '../../core/clock.ts'
import { type Authority, createAuthority, issueCertificate, loadAuthority } from '../../identity/certificate.ts'
import type { Identity } from '../../identity/identity.ts'
import type { JoinResponse } from '../../identity/issued-certificate.ts'
import { rootFingerprint } from '../../identity/join-token.ts'
import { generateIdentityKey } from '../../identity/key.ts'
import { readSigningRequest } from '../../identity/signing-request.ts'
import { registryId, serviceId } from '../../identity/spiffe-id.ts'
import type { TrustBundle } from '../../identity/trust-bundle.ts'
import { BACKDATED_MS } from '../../identity/validity.ts'
import { OptionsError } from '../../options/fields.ts'
import { RateLimit } from '../access/rate-limit.ts'
import { ApiError } from '../api/error.ts'
import { type AuthorityRecord, KEYS } from '../records.ts'
import type { RegistryState } from '../state.ts'

const DEFAULT_TRUST_DOMAIN = 'inmesh.local'
const ROOT_LIFE_MS = 10 * 365 * 24 * 3_600_000

/** A joiner has 5 s by default. */
const SIGNING_WAIT_MS = 3_000
const SHARE_OF_SERVICE = 0.8

export interface AuthorityOptions {
  /** `undefined`: the stored one, or the default for a new mesh. */
  readonly trustDomain: string | undefined
  readonly certificateLifeMs: number
  readonly signingsPerSecond: number
}

export class RegistryAuthority {
  readonly #authority: Authority
  readonly #options: AuthorityOptions
  readonly #clock: Clock
  readonly #signings: RateLimit
  readonly #ofService: RateLimit
  readonly fingerprint: string
  readonly sequence: number

  /**
   * Loads the root, or makes it. Throws an `OptionsError` if the stored one is damaged or another
   * mesh's.
   */
  static async open(state: RegistryState, options: AuthorityOptions, clock: Clock): Promise<RegistryAuthority> {
    if (state.authority === undefined) {
      const now = clock.wallNow()
      const { trustDomain, certificate, privateKey } = createAuthority({
        trustDomain: options.trustDomain ?? DEFAULT_TRUST_DOMAIN,
        notBefore: now - BACKDATED_MS,
        notAfter: now + ROOT_LIFE_MS,
      })
      const record: AuthorityRecord = { trustDomain, certificate, privateKey, sequence: 1 }
      // Another registry on the same store may have been first; then its root counts.
      await state.write(
        [{ key: KEYS.authority, value: JSON.stringify(record) }],
        [{ key: KEYS.authority, revision: 0 }],
      )
    }
    const stored = state.authority!
    if (options.trustDomain !== undefined && stored.trustDomain !== options.trustDomain) {
      const message = `the data directory belongs to trust domain '${stored.trustDomain}', not '${options.trustDomain}'`
      throw new OptionsError('startRegistry', [{ path: ['trustDomain'], message }])
    }
    return new RegistryAuthority(stored, options, clock)
  }

  private constructor(stored: AuthorityRecord, options: AuthorityOptions, clock: Clock) {
    this.#authority = loadAuthority(stored)
    this.#options = options
    this.#clock = clock
    this.#signings = new RateLimit(options.signingsPerSecond, options.signingsPerSecond, clock)
    const ofService = Math.ceil(options.signingsPerSecond * SHARE_OF_SERVICE)
    this.#ofService = new RateLimit(ofService, ofService, clock)
    this.fingerprint = rootFingerprint(stored.certificate)
    this.sequence = stored.sequence
  }

  get trustDomain(): string {
    return this.#authority.trustDomain
  }

  get roots(): readonly string[] {
    return [this.#authority.certificate]
  }

  /** What every verifier of the mesh goes by. */
  get bundle(): TrustBundle {
    return { trustDomain: this.trustDomain, sequence: this.sequence, roots: this.roots, intermediates: [], denied: [] }
  }

  get notAfter(): number {
    return this.#authority.notAfter
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
    const now = this.#clock.wallNow()
    const certificate = issueCertificate(this.#authority, {
      publicKey,
      spiffeId: serviceId(this.trustDomain, service),
      notBefore: now - BACKDATED_MS,
      notAfter: now + this.#options.certificateLifeMs,
    })
    return { ...this.bundle, certificate, wallNow: now }
  }

  /** The registry's own, with the names under which browsers and scripts reach it. */
  async issueOwn(
    names: { dnsNames: readonly string[]; ipAddresses: readonly string[] },
    generation: number,
  ): Promise<Identity> {
    const { privateKey, publicKey } = await generateIdentityKey()
    const notBefore = this.#clock.wallNow() - BACKDATED_MS
    const notAfter = Math.min(this.#clock.wallNow() + this.#options.certificateLifeMs, this.#authority.notAfter)
    const spiffeId = registryId(this.trustDomain)
    return {
      ...this.bundle,
      spiffeId,
      service: 'registry',
      privateKey: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
      certificate: issueCertificate(this.#authority, { publicKey, spiffeId, notBefore, notAfter, ...names }),
      notBefore,
      notAfter,
      generation,
    }
  }
}
