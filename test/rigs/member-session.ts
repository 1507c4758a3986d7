/**
 * The session of a member, as `joinMesh` opens it, without the rest of a mesh: with its identity
 * from a real registry, and with what it reported.
 */
import { systemClock } from '../../src/core/clock.ts'
import { RegistryAddresses, type ResolveName } from '../../src/discovery/registry/addresses.ts'
import { RegistryClient, type RegistryClientOptions } from '../../src/discovery/registry/client.ts'
import { registryIssuer } from '../../src/discovery/registry/issuer.ts'
import type { ServiceView } from '../../src/discovery/registry/service-view.ts'
import { KeyStore } from '../../src/identity/key-store.ts'
import { PeerVerifier } from '../../src/identity/peer-verifier.ts'
import { RotatingIdentity } from '../../src/identity/rotation.ts'
import { clientTlsOptions } from '../../src/identity/tls-options.ts'
import { instance } from './instance.ts'
import type { Credentials } from './registry-session.ts'

export interface MemberOptions extends Partial<Pick<RegistryClientOptions, 'protocol' | 'restored'>> {
  readonly resolve?: ResolveName
  /** The registry to try first. */
  readonly at?: string
  /** It has its certificate from its last run, and no registry has told it of others. */
  readonly restarted?: boolean
}

/** What the session reported. */
export type Told =
  | { readonly what: 'connected'; readonly registry: string }
  | { readonly what: 'lost'; readonly registry: string; readonly reason: string }
  | { readonly what: 'unreachable'; readonly registry: string; readonly reason: string }
  | { readonly what: 'unlisted'; readonly id: string; readonly why: string }
  | { readonly what: 'rejected' | 'refused'; readonly reason: string }

let members = 0

export class Member {
  readonly client: RegistryClient
  readonly addresses: RegistryAddresses
  readonly process: string
  readonly told: Told[]
  readonly #identity: RotatingIdentity
  readonly #service: string

  private constructor(
    addresses: RegistryAddresses,
    identity: RotatingIdentity,
    service: string,
    { protocol, restored }: MemberOptions,
  ) {
    this.addresses = addresses
    this.#identity = identity
    this.#service = service
    this.process = `${service}-${++members}`
    this.told = []
    const { told } = this
    this.client = new RegistryClient({
      addresses,
      service,
      process: this.process,
      clock: systemClock,
      ...(protocol !== undefined && { protocol }),
      ...(restored !== undefined && { restored }),
      tls: () => this.tls(),
      observer: {
        connected: (registry) => told.push({ what: 'connected', registry }),
        lost: (registry, reason) => told.push({ what: 'lost', registry, reason }),
        unreachable: (registry, reason) => told.push({ what: 'unreachable', registry, reason }),
        rejected: (reason) => told.push({ what: 'rejected', reason }),
        applied: () => {},
        policyRefused: (_service, reason) => told.push({ what: 'rejected', reason }),
        instanceRefused: (_service, reason) => told.push({ what: 'rejected', reason }),
        bundle: () => 0,
        refused: (code, message) => told.push({ what: 'refused', reason: `${code}: ${message}` }),
        unlisted: ({ id }, why) => told.push({ what: 'unlisted', id, why }),
        skew: () => {},
      },
    })
  }

  /** Joins a `--dev` registry on loopback, and opens a session. */
  static async open(urls: readonly string[], service: string, options: MemberOptions = {}): Promise<Member> {
    const addresses = new RegistryAddresses(urls, systemClock, options.resolve)
    const identity = await RotatingIdentity.start(
      {
        service,
        store: await KeyStore.open({ directory: undefined, clock: systemClock }),
        clock: systemClock,
        issue: registryIssuer({
          addresses,
          service,
          joinToken: { ask: async () => undefined, spent: () => {} },
          clock: systemClock,
        }),
      },
      20_000,
    )
    const known = options.restarted === true ? new RegistryAddresses(urls, systemClock, options.resolve) : addresses
    const member = new Member(known, identity, service, options)
    if (options.at !== undefined) addresses.answered({ url: options.at, ip: undefined })
    member.client.start()
    return member
  }

  /** The same, with its first session at `first`. */
  static at(first: string, urls: readonly string[], service: string, options: MemberOptions = {}): Promise<Member> {
    return Member.open(urls, service, { ...options, at: first })
  }

  /** The registries that have greeted it, in order. */
  get registries(): readonly string[] {
    return this.told.flatMap((one) => (one.what === 'connected' ? [one.registry] : []))
  }

  tls(): ReturnType<typeof clientTlsOptions> {
    const { current } = this.#identity
    return clientTlsOptions(current, new PeerVerifier(systemClock, current), { registry: true })
  }

  /** Its certificate and key. */
  credentials(): Credentials {
    const { privateKey, certificate } = this.#identity.current
    return { key: privateKey, cert: certificate }
  }

  register(id: string, port: number): Promise<void> {
    return this.client.register(instance(this.#service, id, { port }))
  }

  watch(service: string): void {
    this.client.watches.watchEndpoints(service, () => {})
  }

  view(service: string): ServiceView | undefined {
    return this.client.watches.views.get(service)
  }

  /** Ids of the instances of `service` that it knows. */
  known(service: string): readonly string[] {
    return (this.view(service)?.endpoints.instances ?? []).map(({ id }) => id).sort()
  }

  async close(): Promise<void> {
    await this.client.close()
    this.#identity.close()
  }
}
