/** Asks the other registries on the store directly, by mutual TLS at their advertised URLs. */
import type { Agent } from 'node:https'
import type { Clock } from '../../core/clock.ts'
import { askRegistry, type RegistryAnswer } from '../../discovery/registry/request.ts'
import type { Identity } from '../../identity/identity.ts'
import type { PeerVerifier } from '../../identity/peer-verifier.ts'
import { clientTlsOptions } from '../../identity/tls-options.ts'
import {
  type Checks,
  has,
  isBoolean,
  isCount,
  isNumber,
  isText,
  isTexts,
  maybe,
  OTHER_VERSION,
} from './answer-checks.ts'
import type { RegistryRecord } from './fleet-records.ts'
import { KeptConnections } from './kept-connections.ts'

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

const STATUS: Checks<RegistryStatus> = {
  id: isText,
  url: isText,
  version: isText,
  protocol: isNumber,
  startedAt: isNumber,
  sessions: isCount,
  roles: isTexts,
  epoch: isText,
  revision: isCount,
  watchers: isCount,
  leases: isCount,
  ready: isBoolean,
  reason: maybe(isText),
}

export interface Credentials {
  readonly identity: Identity
  readonly verifier: PeerVerifier
}

export class Peers {
  readonly #clock: Clock
  readonly #credentials: () => Credentials | undefined
  readonly #kept = new KeptConnections()

  /** `credentials`: our certificate in force. */
  constructor(clock: Clock, credentials: () => Credentials | undefined) {
    this.#clock = clock
    this.#credentials = credentials
  }

  /** @throws MeshError if it does not answer, or is not a registry of this mesh */
  async ask(peer: RegistryRecord): Promise<RegistryStatus> {
    const status = await this.get(peer, '/v1/registry', TIMEOUT_MS)
    if (!has<RegistryStatus>(status, STATUS)) throw new Error(OTHER_VERSION)
    return status
  }

  /**
   * The answer to a GET of another registry, which must be the one that was announced.
   *
   * @throws MeshError as {@link ask}
   */
  async get(
    { id, url }: RegistryRecord,
    path: string,
    timeoutMs: number,
    longest?: number,
  ): Promise<Readonly<Record<string, unknown>>> {
    const credentials = this.#credentials()
    if (credentials === undefined) throw new Error('the registry has no certificate yet')
    const tls = clientTlsOptions(credentials.identity, credentials.verifier, { registry: true })
    const target = { url, ip: undefined }
    const until = this.#clock.now() + timeoutMs
    const agent = this.#kept.agentFor(credentials.identity, credentials.verifier, tls)
    const ask = (kept: Agent | undefined): Promise<RegistryAnswer> =>
      askRegistry(
        target,
        kept === undefined ? tls : {},
        path,
        undefined,
        this.#clock,
        until - this.#clock.now(),
        undefined,
        longest,
        kept,
      )
    // A kept connection may have ended while the question was on its way.
    const answer = await ask(agent).catch((error: unknown) => {
      if (!isReset(error) || this.#kept.isClosed || this.#clock.now() >= until) throw error
      return ask(undefined)
    })
    if (answer.status !== 200) throw new Error(`it answers with HTTP ${answer.status}`)
    const { id: other = id, registry = other } = answer.body
    if (registry !== id) throw new Error(`another registry answers at ${url}`)
    return answer.body
  }
  close(): void {
    this.#kept.close()
  }
}

function isReset(error: unknown): boolean {
  const { code } = ((error instanceof Error ? error.cause : undefined) as { code?: unknown } | undefined) ?? {}
  return code === 'ECONNRESET' || code === 'EPIPE'
}
