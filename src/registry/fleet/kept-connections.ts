/**
 * Connections to the other registries, kept for the next question. A new certificate or trust
 * bundle of ours opens new ones.
 */
import { Agent } from 'node:https'
import type { TLSSocket } from 'node:tls'
import type { Identity } from '../../identity/identity.ts'
import type { PeerVerifier } from '../../identity/peer-verifier.ts'
import { registryId } from '../../identity/spiffe-id.ts'
import type { clientTlsOptions } from '../../identity/tls-options.ts'

type Tls = ReturnType<typeof clientTlsOptions>

/** To one registry; more questions wait. */
const MOST_TO_ONE = 8
const MOST_IDLE_TO_ONE = 2
/** Pages ask every 5 s. */
const IDLE_MS = 15_000

export class KeptConnections {
  #agent: VerifyingAgent | undefined
  #identity: Identity | undefined
  isClosed = false

  /** For questions by this certificate. @throws Error once it is closed */
  agentFor(identity: Identity, verifier: PeerVerifier, tls: Tls): Agent {
    if (this.isClosed) throw new Error('this registry closes')
    if (this.#agent === undefined || this.#identity !== identity) {
      this.#agent?.retire()
      this.#agent = new VerifyingAgent(
        tls,
        (certificate) => verifier.verifyId(certificate, registryId(identity.trustDomain)).ok,
      )
      this.#identity = identity
    }
    return this.#agent
  }

  /** Questions on the way fail. */
  close(): void {
    this.isClosed = true
    this.#agent?.destroy()
  }
}

class VerifyingAgent extends Agent {
  readonly #isTrusted: (certificate: Buffer) => boolean
  /** Node tells the certificate of a client's connection once. */
  readonly #certificates = new WeakMap<TLSSocket, Buffer>()
  #isRetired = false

  constructor(tls: Tls, isTrusted: (certificate: Buffer) => boolean) {
    // A resumed session would skip verification.
    super({
      // Of the agent: Node shares no connection that a request checks by itself.
      ...tls,
      keepAlive: true,
      maxSockets: MOST_TO_ONE,
      maxFreeSockets: MOST_IDLE_TO_ONE,
      maxCachedSessions: 0,
      timeout: IDLE_MS,
    })
    this.#isTrusted = isTrusted
  }

  /** Ends its idle connections, and those in use after their answers. */
  retire(): void {
    this.#isRetired = true
    for (const sockets of Object.values(this.freeSockets)) for (const socket of sockets ?? []) socket.destroy()
  }

  /** Whether a connection is kept after an answer. */
  override keepSocketAlive(socket: TLSSocket): boolean {
    if (this.#isRetired) return false
    return (super.keepSocketAlive as unknown as (socket: TLSSocket) => boolean).call(this, socket)
  }

  /** A connection is used again: its peer may have been denied meanwhile. */
  override reuseSocket(socket: TLSSocket, request: Parameters<Agent['reuseSocket']>[1]): void {
    super.reuseSocket(socket, request)
    const certificate = this.#certificates.get(socket) ?? socket.getPeerX509Certificate()?.raw
    if (certificate === undefined || !this.#isTrusted(certificate)) socket.destroy()
    else this.#certificates.set(socket, certificate)
  }
}
