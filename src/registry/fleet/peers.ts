/** Asks the other registries on the store directly, by mutual TLS at their advertised URLs. */
import type { Clock } from '../../core/clock.ts'
import { askRegistry } from '../../discovery/registry/request.ts'
import type { Identity } from '../../identity/identity.ts'
import type { PeerVerifier } from '../../identity/peer-verifier.ts'
import { clientTlsOptions } from '../../identity/tls-options.ts'
import type { RegistryRecord } from './fleet-records.ts'

const TIMEOUT_MS = 2_000

/** One registry, as it tells of itself. */
export interface RegistryStatus extends RegistryRecord {
  /** What it was elected for, such as `reaper`. */
  readonly roles: readonly string[]
  readonly epoch: string
  /** Of the last change that it knows. */
  readonly revision: number
  readonly watchers: number
  /** Instances whose leases it counts. */
  readonly leases: number
  readonly ready: boolean
  /** Why it is not. */
  readonly reason?: string
}

export interface Credentials {
  readonly identity: Identity
  readonly verifier: PeerVerifier
}

export class Peers {
  readonly #clock: Clock
  readonly #credentials: () => Credentials | undefined

  /** `credentials`: our certificate in force. */
  constructor(clock: Clock, credentials: () => Credentials | undefined) {
    this.#clock = clock
    this.#credentials = credentials
  }

  /** @throws MeshError if it does not answer, or is not a registry of this mesh */
  async ask({ id, url }: RegistryRecord): Promise<RegistryStatus> {
    const credentials = this.#credentials()
    if (credentials === undefined) throw new Error('the registry has no certificate yet')
    const tls = clientTlsOptions(credentials.identity, credentials.verifier, { registry: true })
    const { status, body } = await askRegistry(
      { url, ip: undefined },
      tls,
      '/v1/registry',
      undefined,
      this.#clock,
      TIMEOUT_MS,
    )
    if (status !== 200) throw new Error(`it answers with HTTP ${status}`)
    if (body.id !== id) throw new Error(`another registry answers at ${url}`)
    return body as unknown as RegistryStatus
  }
}
