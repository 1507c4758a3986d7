/**
 * Renews the certificate of this process, with a new key, at 60 to 75 % of its life by the
 * monotonic or the wall clock. Whatever the issuer sends is checked before it replaces a good
 * identity.
 *
 * - `fresh` → `renewing`: 60 to 75 % of the life are over, or the wall clock was put back before
 *   its beginning
 * - `renewing` → `fresh` | `waiting`: a certificate came, or none did
 * - `waiting` → `renewing`: the pause is over
 * - any → `closed`
 */
import { certificateTimeOf, LEAP_SPREAD_MS } from '../core/certificate-time.ts'
import { MeshError } from '../core/errors.ts'
import { WallTimer } from '../core/wall-timer.ts'
import { acceptCertificate, type Requester, requestCertificate } from './certificate-request.ts'
import type { Identity, IdentitySource } from './identity.ts'
import { formerRoots, makeIdentity } from './identity-check.ts'
import { rootFingerprint } from './join-token.ts'
import type { KeyStore } from './key-store.ts'
import { bundleMistake, frozenBundle, type TrustBundle } from './trust-bundle.ts'
import { issuedAt, SKEW_REPORTED_MS } from './validity.ts'

export type RotationEvent =
  | { readonly type: 'loaded' | 'issued' | 'renewed' | 'rejoined'; readonly identity: Identity }
  | { readonly type: 'bundle'; readonly identity: Identity }
  | { readonly type: 'bundle-refused'; readonly detail: string }
  | { readonly type: 'renewal-failed'; readonly error: unknown; readonly failures: number; readonly retryInMs: number }
  /** 90 % of the life is over, and nothing new has come. */
  | { readonly type: 'expiring'; readonly remainingMs: number; readonly identity: Identity }
  | { readonly type: 'expired'; readonly identity: Identity }
  | { readonly type: 'clock-skew'; readonly offsetMs: number }
  | { readonly type: 'store-failed' | 'listener-failed'; readonly error: unknown }

export interface RotationOptions extends Requester {
  readonly store: KeyStore
  /**
   * Of the registry's root, from the join token: a stored identity under another root is not used,
   * nor is a first one.
   */
  readonly fingerprint?: string | undefined
  readonly onEvent?: (event: RotationEvent) => void
}

/**
 * Share of a certificate's life after which it is renewed, the random spread added to it, and the
 * share after which a missing renewal is reported.
 */
const RENEW_FROM = 0.6
const RENEW_SPREAD = 0.15
const ALARM = 0.9
/**
 * Between tries; a short life has shorter ones, so that a leaf of 20 s still gets five tries before
 * its end.
 */
const FIRST_RETRY_MS = 1_000
const LONGEST_RETRY_MS = 30_000
const FIRST_RETRY_SHARE = 0.025
const LONGEST_RETRY_SHARE = 0.05
/**
 * After the end a registry that says no is asked on: an operator may give another token, or set a
 * clock.
 */
const LONGEST_REFUSED_RETRY_MS = 300_000
/** However little life is left, the issuer is not asked more often. */
const SOONEST_MS = 200
const ISSUE_TIMEOUT_MS = 10_000
const ISSUE_TIMEOUT_SHARE = 0.2

export class RotatingIdentity implements IdentitySource {
  /** Whether it came from the store: this process was a member before. */
  readonly restored: boolean
  readonly #options: RotationOptions
  readonly #listeners = new Set<(identity: Identity) => void>()
  #current: Identity
  /** From receipt to the end. */
  #lifeMs = 0
  /** Age at which it is renewed. */
  #renewMs = 0
  #receivedAt = 0
  #receivedWallAt = 0
  /** After a failure. */
  #retryAt: number | undefined
  /** Already told of the present identity. */
  #told: 'nothing' | 'expiring' | 'expired' = 'nothing'
  #failures = 0
  #renewing = false
  #closed = false
  #timer: WallTimer | undefined

  private constructor(options: RotationOptions, identity: Identity, restored: boolean) {
    this.restored = restored
    this.#options = options
    this.#current = identity
  }

  /**
   * From the store if it holds a valid identity, otherwise from the issuer, asked once: the caller
   * decides about trying again. Rejects with the issuer's error, or with a `MeshError`
   * (`identity-rejected`) if what it sent cannot be used.
   */
  static async start(options: RotationOptions, timeoutMs = ISSUE_TIMEOUT_MS): Promise<RotatingIdentity> {
    const { service, store, clock, fingerprint } = options
    const stored = await store.loadIdentity(service, fingerprint)
    if (stored !== undefined) {
      const rotation = new RotatingIdentity(options, stored, true)
      const from = issuedAt(stored)
      rotation.#schedule(stored.notAfter - from, Math.max(0, clock.wallNow() - from))
      rotation.#tell({ type: 'loaded', identity: stored })
      return rotation
    }
    const answer = await requestCertificate(options, undefined, Math.min(ISSUE_TIMEOUT_MS, timeoutMs))
    const { identity, lifeMs, offsetMs } = acceptCertificate(options, answer, undefined)
    if (fingerprint !== undefined && !identity.roots.some((root) => rootFingerprint(root) === fingerprint)) {
      const message = `None of the roots that the registry sent has the pinned fingerprint ${fingerprint}.`
      throw new MeshError(message, { code: 'identity-rejected', service })
    }
    const rotation = new RotatingIdentity(options, identity, false)
    rotation.#schedule(lifeMs, 0)
    rotation.#noteSkew(offsetMs)
    rotation.#tell({ type: 'issued', identity })
    await rotation.#save()
    return rotation
  }

  get current(): Identity {
    return this.#current
  }

  /** Whether a renewal runs right now. */
  get renewing(): boolean {
    return this.#renewing
  }

  onRotate(listener: (identity: Identity) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /**
   * The trust bundle has changed: the same key and certificate, another generation. Older or
   * unusable bundles are not taken. A bundle that no longer trusts our own certificate is in force
   * all the same, and ours is renewed at once.
   */
  updateBundle(bundle: TrustBundle): void {
    const { trustDomain, sequence } = this.#current
    if (this.#closed || bundle.sequence <= sequence) return
    const foreign = `it is of trust domain '${bundle.trustDomain}', this process is of '${trustDomain}'`
    const mistake = bundle.trustDomain === trustDomain ? bundleMistake(bundle) : foreign
    if (mistake !== undefined) {
      this.#tell({ type: 'bundle-refused', detail: mistake })
      return
    }
    const next = {
      ...this.#current,
      ...frozenBundle(bundle),
      ...formerRoots(this.#current, bundle.roots),
      generation: this.#current.generation + 1,
    }
    let trusted = true
    try {
      makeIdentity(next, next.generation, this.#options.clock)
    } catch {
      trusted = false
    }
    this.#swap(Object.freeze(next), 'bundle')
    void this.#save()
    // A denied identity gets no other certificate.
    const mayRenew = bundle.roots.length > 0 && !bundle.denied.includes(next.spiffeId)
    if (!trusted && mayRenew) void this.renew()
  }

  /**
   * Renews now; at most one renewal runs. Never rejects: a failure is an event, and tried again
   * later.
   */
  async renew(): Promise<void> {
    if (this.#closed || this.#renewing) return
    this.#renewing = true
    try {
      await this.#replace(this.#current)
    } catch (error) {
      if (this.#closed) return
      const retryInMs = this.#pauseMs(error)
      this.#failures += 1
      this.#retryAt = this.#options.clock.now() + retryInMs
      this.#tell({ type: 'renewal-failed', error, failures: this.#failures, retryInMs })
    } finally {
      this.#renewing = false
      this.#wait()
    }
  }

  /**
   * Joins again, as a new process does, although the current certificate is valid: the registry
   * that issued it is gone for good. Does nothing while a renewal runs.
   *
   * @throws MeshError of the issuer; the current identity stays in force
   */
  async rejoin(): Promise<void> {
    if (this.#closed || this.#renewing) return
    this.#renewing = true
    try {
      await this.#replace(undefined)
    } finally {
      this.#renewing = false
      this.#wait()
    }
  }

  /** `current`: the identity to ask with; `undefined`: by joining. */
  async #replace(current: Identity | undefined): Promise<void> {
    const timeoutMs = Math.max(SOONEST_MS, Math.min(ISSUE_TIMEOUT_MS, this.#lifeMs * ISSUE_TIMEOUT_SHARE))
    const issued = await requestCertificate(this.#options, current, timeoutMs)
    if (this.#closed) return
    const joined = current === undefined || issued.joined === true
    // Compared with the identity of this moment: the bundle may have changed meanwhile.
    const { identity, lifeMs, offsetMs } = acceptCertificate(this.#options, { ...issued, joined }, this.#current)
    this.#failures = 0
    this.#schedule(lifeMs, 0)
    this.#noteSkew(offsetMs)
    this.#swap(identity, joined ? 'rejoined' : 'renewed')
    await this.#save()
  }

  /** Stops renewing. The current identity stays readable. Safe to call more than once. */
  close(): void {
    this.#closed = true
    this.#timer?.stop()
    this.#listeners.clear()
  }

  #pauseMs(error: unknown): number {
    const refused = this.#told === 'expired' && error instanceof MeshError && error.code === 'join-refused'
    const first = Math.min(FIRST_RETRY_MS, this.#lifeMs * FIRST_RETRY_SHARE)
    const longest = Math.min(LONGEST_RETRY_MS, this.#lifeMs * LONGEST_RETRY_SHARE)
    const boundMs = refused ? LONGEST_REFUSED_RETRY_MS : longest
    const fullMs = Math.min(boundMs, first * 2 ** Math.min(this.#failures, 16))
    return Math.max(SOONEST_MS, fullMs * (0.5 + 0.5 * this.#options.clock.random()))
  }

  #schedule(lifeMs: number, agedMs: number): void {
    const { clock } = this.#options
    this.#lifeMs = lifeMs
    this.#renewMs = Math.max(agedMs + SOONEST_MS, lifeMs * (RENEW_FROM + RENEW_SPREAD * clock.random()))
    this.#receivedAt = clock.now() - agedMs
    this.#receivedWallAt = clock.wallNow() - agedMs
    this.#retryAt = undefined
    this.#told = 'nothing'
    this.#wait()
  }

  /**
   * By the clock that has gone further: one stands still in a machine that sleeps, the other may be
   * put back.
   */
  get #ageMs(): number {
    const { clock } = this.#options
    return Math.max(clock.now() - this.#receivedAt, clock.wallNow() - this.#receivedWallAt)
  }

  /** Until the next thing that is due. */
  #wait(): void {
    this.#timer?.stop()
    this.#timer = undefined
    if (this.#closed) return
    const { clock } = this.#options
    const ageMs = this.#ageMs
    const due: number[] = []
    if (this.#told !== 'expired') due.push(this.#lifeMs * (this.#told === 'nothing' ? ALARM : 1) - ageMs)
    if (!this.#renewing) due.push(this.#retryAt === undefined ? this.#renewMs - ageMs : this.#retryAt - clock.now())
    if (due.length > 0) this.#timer = new WallTimer(clock, Math.max(0, Math.min(...due)), () => this.#look())
  }

  #look(): void {
    const { clock } = this.#options
    const identity = this.#current
    const ageMs = this.#ageMs
    if (this.#told === 'nothing' && ageMs >= this.#lifeMs * ALARM) {
      this.#told = 'expiring'
      this.#tell({ type: 'expiring', remainingMs: Math.max(0, this.#lifeMs - ageMs), identity })
    }
    if (this.#told === 'expiring' && ageMs >= this.#lifeMs) {
      this.#told = 'expired'
      this.#tell({ type: 'expired', identity })
    }
    const early = clock.wallNow() < identity.notBefore
    const due = this.#retryAt === undefined ? early || ageMs >= this.#renewMs : clock.now() >= this.#retryAt
    // Every process of the mesh may be due at this moment.
    if (due && this.#retryAt === undefined && certificateTimeOf(clock).leaptAt !== undefined) {
      this.#retryAt = clock.now() + clock.random() * LEAP_SPREAD_MS
    } else if (due) void this.renew()
    this.#wait()
  }

  #swap(identity: Identity, type: 'renewed' | 'rejoined' | 'bundle'): void {
    this.#current = identity
    for (const listener of [...this.#listeners]) {
      try {
        listener(identity)
      } catch (error) {
        this.#tell({ type: 'listener-failed', error })
      }
    }
    this.#tell({ type, identity })
  }

  #noteSkew(offsetMs: number): void {
    if (Math.abs(offsetMs) > SKEW_REPORTED_MS) this.#tell({ type: 'clock-skew', offsetMs })
  }

  #tell(event: RotationEvent): void {
    try {
      this.#options.onEvent?.(event)
    } catch {
      // Observers watch and never decide.
    }
  }

  async #save(): Promise<void> {
    try {
      await this.#options.store.saveIdentity(this.#current)
    } catch (error) {
      this.#tell({ type: 'store-failed', error })
    }
  }
}
