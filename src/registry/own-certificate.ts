/**
 * The registry's own certificate: renewed in time and when the authority changes. To a caller that
 * knows one root only, and says so in the server name, it is shown under that root.
 */
import { createSecureContext, type SecureContext, type TlsOptions } from 'node:tls'
import type { Clock } from '../core/clock.ts'
import { WallTimer } from '../core/wall-timer.ts'
import type { Identity } from '../identity/identity.ts'
import { pinnedServerName } from '../identity/join-token.ts'
import { serverTlsOptions } from '../identity/tls-options.ts'
import type { RegistryAuthority } from './ca/authority.ts'

/** Of its life; the clients' random point is between 60 and 75 %. */
const RENEW_AT = 0.66
const SOONEST_MS = 500
const RETRY_MS = 30_000

export interface OwnCertificateListener {
  renewed(tls: TlsOptions): void
  failed(error: Error): void
}

type Select = (name: string, answer: (error: Error | null, context?: SecureContext) => void) => void

export class OwnCertificate {
  readonly #authority: RegistryAuthority
  readonly #names: { readonly dnsNames: readonly string[]; readonly ipAddresses: readonly string[] }
  readonly #clock: Clock
  readonly #listener: OwnCertificateListener
  readonly #stop: () => void
  #pinned: ReadonlyMap<string, SecureContext> = new Map()
  #usual: SecureContext | undefined
  #renewal: WallTimer | undefined
  #last: Promise<void> = Promise.resolve()
  #generation = 0
  #identity: Identity | undefined
  #closed = false

  constructor(
    authority: RegistryAuthority,
    names: { readonly dnsNames: readonly string[]; readonly ipAddresses: readonly string[] },
    clock: Clock,
    listener: OwnCertificateListener,
  ) {
    this.#authority = authority
    this.#names = names
    this.#clock = clock
    this.#listener = listener
    this.#stop = authority.onChange(() => {
      if (this.#generation > 0) this.#renew()
    })
  }

  /** The usual one; `undefined` before the start. */
  get identity(): Identity | undefined {
    return this.#identity
  }

  /** The first one. */
  async start(): Promise<TlsOptions> {
    return await this.#make()
  }

  /**
   * For `SNICallback`: the context of a pinned root, otherwise the usual one. Always of now: a
   * connection that was accepted before a change must not get a withdrawn certificate.
   */
  readonly select: Select = (name, answer) => answer(null, this.#pinned.get(name) ?? this.#usual)

  close(): void {
    this.#closed = true
    this.#stop()
    this.#renewal?.stop()
  }

  async #make(): Promise<TlsOptions> {
    this.#generation += 1
    const authority = this.#authority
    const identity = await authority.issueOwn(this.#names, this.#generation)
    const pinned = new Map<string, SecureContext>()
    if (authority.pins.length > 1) {
      for (const pin of authority.pins) {
        const under = await authority.issueOwn(this.#names, this.#generation, pin)
        pinned.set(pinnedServerName(pin), createSecureContext(optionsOf(under)))
      }
    }
    this.#pinned = pinned
    this.#usual = createSecureContext(optionsOf(identity))
    this.#identity = identity
    this.#renewIn(Math.max((identity.notAfter - this.#clock.wallNow()) * RENEW_AT, SOONEST_MS))
    return optionsOf(identity)
  }

  #renew(): void {
    this.#last = this.#last.then(async () => {
      if (this.#closed) return
      try {
        const tls = await this.#make()
        if (!this.#closed) this.#listener.renewed(tls)
      } catch (error) {
        this.#listener.failed(error as Error)
        this.#renewIn(RETRY_MS)
      }
    })
  }

  #renewIn(ms: number): void {
    this.#renewal?.stop()
    if (!this.#closed) this.#renewal = new WallTimer(this.#clock, ms, () => this.#renew())
  }
}

/** Joiners and operators have no certificate; `verifyPeer` judges one that is presented. */
function optionsOf(identity: Identity): TlsOptions {
  return { ...serverTlsOptions(identity, { sendRoots: true }), rejectUnauthorized: false }
}
