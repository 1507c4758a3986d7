/**
 * The base of the HTTP and the gRPC server: authorization and limits in force, calls in flight, and
 * the drain.
 */
import { type Clock, systemClock } from '../core/clock.ts'
import type { LocalAddress } from '../core/endpoint.ts'
import { MeshError } from '../core/errors.ts'
import { DEFAULT_TRANSPORT, type TransportName, type TransportPreference } from '../core/transport.ts'
import type { IdentitySource } from '../identity/identity.ts'
import type { OverrideProofs } from '../identity/override-proofs.ts'
import type { PeerVerifier } from '../identity/peer-verifier.ts'
import type { LocalDirectory } from '../net/local-directory.ts'
import type { FaultRule } from '../resilience/fault-injection.ts'
import type { Stack } from '../resilience/stack.ts'
import { type EventSink, NO_EVENTS } from '../telemetry/events.ts'
import type { ServedCounts } from '../telemetry/traffic/served-counts.ts'
import type { Acceptor, AcceptorOwner } from './acceptor.ts'
import type { Authorizer } from './authorization/authorizer.ts'
import type { Connection } from './connection.ts'
import { DeadlineSweep } from './deadline-sweep.ts'
import { Drain, type Drainable, type DrainOptions, type DrainReport, type DrainState } from './drain.ts'
import type { Ending } from './ending.ts'
import { InFlight } from './in-flight.ts'
import type { RunInSpan } from './inbound-call.ts'
import type { ListeningServer } from './listening-server.ts'
import { loopWaitMs } from './loop-wait.ts'
import type { ServerMode } from './mode.ts'
import type { OrcaAudience } from './orca-audience.ts'
import { type ProcessLoad, processLoad } from './process-load.ts'
import type { ServedCall } from './served-call.ts'
import { ServerLoad } from './server-load.ts'

/** What a server needs from the mesh. Plain values, so that a test needs no mesh. */
export interface ServerBaseDependencies {
  readonly service: string
  /** Required unless the mode is `plaintext`. */
  readonly identity?: IdentitySource | undefined
  /** Shared with the rest of the mesh. @defaultValue one made from the identity */
  readonly verifier?: PeerVerifier | undefined
  readonly authorizer: Authorizer
  readonly stack: Stack
  /** What callers prefer. @defaultValue {@link DEFAULT_TRANSPORT} */
  readonly transport?: TransportPreference | undefined
  readonly clock?: Clock | undefined
  /** Where it listens beside its port. @defaultValue nowhere */
  readonly localDirectory?: LocalDirectory | undefined
  /** Whose connections it takes over. @defaultValue it listens itself */
  readonly taken?: ListeningServer | undefined
  readonly events?: EventSink | undefined
  /** Runs a handler inside the span of its call: `CallTelemetry.runInSpan`. */
  readonly runInSpan?: RunInSpan | undefined
  /** Counts what it answers. @defaultValue nothing is counted */
  readonly served?: ServedCounts | undefined
  /** Reads overrides of requests. @defaultValue they are dropped */
  readonly overrideProofs?: OverrideProofs | undefined
  /** How long requests wait for the event loop, in ms. @defaultValue measured */
  readonly loopWaitMs?: ((now: number) => number) | undefined
  /** How busy the process is. @defaultValue measured */
  readonly processLoad?: ProcessLoad | undefined
  /** Called when a handler or an authorizer fails. @defaultValue a process warning */
  readonly onHandlerError?: ((error: unknown, method: string, path: string) => void) | undefined
}

/** The options that all servers share. */
export interface ServerBaseSettings {
  readonly mode: ServerMode
  readonly faults: readonly FaultRule[]
  readonly orca: OrcaAudience
}

export interface ServerStats {
  /** Open connections. */
  readonly connections: number
  /** Calls in flight. */
  readonly inFlight: number
  /** Connections accepted since the start. */
  readonly accepted: number
  /** Accepted without TLS. In `permissive` mode, 0 means that `strict` would refuse no peer. */
  readonly plaintext: number
  /**
   * Not let in: for the peer's certificate or the lack of one, for plaintext, or for a failed
   * handshake.
   */
  readonly refused: number
}

/** @throws MeshError `not-in-mesh` if the mode requires an identity and there is none */
export function assertIdentity(mode: string, { identity, service }: ServerBaseDependencies): void {
  if (mode === 'plaintext' || identity !== undefined) return
  throw new MeshError(`A '${mode}' server needs an identity, and this process has none.`, {
    code: 'not-in-mesh',
    service,
  })
}

export abstract class ServerBase implements AcceptorOwner, Drainable {
  readonly service: string
  readonly clock: Clock
  readonly events: EventSink
  readonly runInSpan: RunInSpan | undefined
  readonly faults: readonly FaultRule[]
  readonly overrideProofs: OverrideProofs | undefined
  readonly localDirectory: LocalDirectory | undefined
  readonly taken: ListeningServer | undefined
  readonly running = new InFlight<ServedCall>()
  readonly deadlines: DeadlineSweep
  readonly load: ServerLoad
  readonly served: ServedCounts | undefined
  readonly isPlaintext: boolean
  /** Replaced when intentions change. It decides from the next request on. */
  authorizer: Authorizer
  /** Replaced when limits or the default timeout change. Calls in flight keep theirs. */
  stack: Stack
  readonly #onHandlerError: ServerBaseDependencies['onHandlerError']
  readonly #drain: Drain
  #transport: TransportPreference

  constructor({ mode, faults, orca }: ServerBaseSettings, dependencies: ServerBaseDependencies) {
    this.service = dependencies.service
    this.clock = dependencies.clock ?? systemClock
    this.events = dependencies.events ?? NO_EVENTS
    this.localDirectory = dependencies.localDirectory
    this.taken = dependencies.taken
    this.runInSpan = dependencies.runInSpan
    this.served = dependencies.served
    this.authorizer = dependencies.authorizer
    this.stack = dependencies.stack
    this.#transport = dependencies.transport ?? DEFAULT_TRANSPORT
    this.#onHandlerError = dependencies.onHandlerError
    this.deadlines = new DeadlineSweep(this.clock, this.running)
    this.isPlaintext = mode === 'plaintext'
    this.load = new ServerLoad({
      clock: this.clock,
      anonymous: this.isPlaintext,
      orca,
      process: dependencies.processLoad ?? processLoad,
      loopWaitMs: dependencies.loopWaitMs ?? loopWaitMs,
    })
    this.faults = faults
    this.overrideProofs = dependencies.overrideProofs
    this.#drain = new Drain(this, this.clock)
  }

  protected abstract readonly acceptor: Acceptor

  listen(): Promise<void> {
    return this.acceptor.listen()
  }

  /** The address on which it listens. */
  get address(): string {
    return this.acceptor.address.address
  }

  get port(): number {
    return this.acceptor.address.port
  }

  /** New connections follow; those that carry what is not offered any more are asked to leave. */
  set transport(preference: TransportPreference) {
    if (preference === this.#transport) return
    this.#transport = preference
    this.acceptor.offerChanged()
  }

  get transport(): TransportPreference {
    return this.#transport
  }

  /** What it offers, best first. */
  get transports(): readonly TransportName[] {
    return this.acceptor.transports
  }

  /** Its Unix socket; `undefined`: there is none. */
  get local(): LocalAddress | undefined {
    return this.acceptor.local
  }

  get state(): DrainState {
    return this.#drain.state
  }

  get stats(): ServerStats {
    const { open, accepted, plaintext, refused } = this.acceptor
    return { connections: open, inFlight: this.running.size, accepted, plaintext, refused }
  }

  /**
   * Stops without losing a request, after the instance has been withdrawn from discovery. Never
   * rejects.
   */
  drain(options?: DrainOptions): Promise<DrainReport> {
    return this.#drain.start(options)
  }

  /** Stops at once: cancels calls in flight, and ends a drain in progress. */
  close(): Promise<DrainReport> {
    this.#drain.hasten()
    return this.#drain.start({ lameDuckMs: 0, graceMs: 0 })
  }

  /** The registry knows of it. An application that ends its server itself uses `ending`. */
  inMesh(_ending: Ending): void {}

  /** For a call: user code threw, or its promise rejected. */
  handlerFailed(error: unknown, method: string, path = ''): void {
    try {
      if (this.#onHandlerError !== undefined) this.#onHandlerError(error, method, path)
      else {
        const what = error instanceof Error ? error.stack : String(error)
        process.emitWarning(
          `The handler of ${path === '' ? method : `${method} ${path}`} failed: ${what}`,
          'InmeshWarning',
        )
      }
    } catch {
      // A failing listener must not cause another failure.
    }
  }

  /** For the acceptor: the callers of these connections are denied. */
  denyCalls(connections: ReadonlySet<Connection>): void {
    for (const call of this.running) if (connections.has(call.connection)) call.deny()
  }

  /** For a call: it is over. */
  callEnded(): void {
    this.#drain.callEnded()
  }

  // Drainable.

  get inFlight(): number {
    return this.running.size
  }

  retire(): void {
    this.events.emit('drain:step', { step: 'lame-duck', running: this.running.size })
    this.acceptor.retire()
  }

  stopAccepting(): void {
    this.events.emit('drain:step', { step: 'finishing', running: this.running.size })
    this.acceptor.stopAccepting()
  }

  cancelAll(): number {
    const left = [...this.running]
    for (const call of left) call.abandon()
    return left.length
  }

  async closeConnections(): Promise<void> {
    this.deadlines.stop()
    await this.acceptor.close()
    this.events.emit('drain:step', { step: 'closed', running: 0 })
  }
}
