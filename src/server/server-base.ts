/**
 * A server of the mesh, whatever it speaks: what is asked of every request, the requests in
 * progress, and how it goes away without losing one. The protocol is the business of its two heirs.
 */
import { type Clock, systemClock } from '../core/clock.ts'
import { MeshError } from '../core/errors.ts'
import type { IdentitySource } from '../identity/identity.ts'
import type { PeerVerifier } from '../identity/peer-verifier.ts'
import type { FaultRule } from '../resilience/fault-injection.ts'
import type { Stack } from '../resilience/stack.ts'
import { type EventSink, NO_EVENTS } from '../telemetry/events.ts'
import type { Acceptor, AcceptorHost, AcceptorSettings } from './acceptor.ts'
import type { Authorizer } from './authorization.ts'
import { DeadlineSweep, type Expirable } from './deadline-sweep.ts'
import { Drain, type Drainable, type DrainOptions, type DrainReport, type DrainState } from './drain.ts'
import { InFlight, type ListLink } from './in-flight.ts'
import type { RunInSpan } from './inbound-call.ts'

/** What a server needs from the mesh around it; plain values, so that a test needs no mesh. */
export interface ServerBaseDependencies {
  readonly service: string
  /** Needed unless `plaintext`. */
  readonly identity?: IdentitySource | undefined
  /** Shared with the rest of the mesh; made from the identity if absent. */
  readonly verifier?: PeerVerifier | undefined
  readonly authorizer: Authorizer
  readonly stack: Stack
  readonly clock?: Clock | undefined
  readonly events?: EventSink | undefined
  /** Runs a handler inside the span of its call: `CallTelemetry.within`. */
  readonly within?: RunInSpan | undefined
  /** What a handler threw or rejected with. @defaultValue a process warning */
  readonly onHandlerError?: ((error: unknown, method: string, path: string) => void) | undefined
}

/** Counts since the start, and what is there now. */
export interface ServerStats {
  readonly connections: number
  readonly inFlight: number
  readonly accepted: number
  /**
   * Of `accepted`: without TLS. In `permissive` mode, 0 means that `strict` would refuse nobody.
   */
  readonly plaintext: number
  /** By the peer's certificate, or a broken handshake. */
  readonly refused: number
}

/** One request in progress. */
interface Exchange<E> extends ListLink<E>, Expirable {
  /** The server has no more time for it. */
  abandon(): void
}

/** @throws MeshError `not-in-mesh` for a server that needs an identity where there is none */
export function assertIdentity(mode: string, { identity, service }: ServerBaseDependencies): void {
  if (mode === 'plaintext' || identity !== undefined) return
  throw new MeshError(`A '${mode}' server needs an identity, and this process has none.`, {
    code: 'not-in-mesh',
    service,
  })
}

export abstract class ServerBase<E extends Exchange<E>> implements AcceptorHost, Drainable {
  readonly service: string
  readonly clock: Clock
  readonly events: EventSink
  readonly within: RunInSpan | undefined
  readonly faults: readonly FaultRule[]
  readonly running = new InFlight<E>()
  readonly deadlines: DeadlineSweep
  /** Replace it to change who may call; requests from then on are judged by it. */
  authorizer: Authorizer
  /** Replace it to change limits and the default timeout; requests in progress keep theirs. */
  stack: Stack
  readonly #onHandlerError: ServerBaseDependencies['onHandlerError']
  readonly #drain: Drain

  constructor(faults: readonly FaultRule[], dependencies: ServerBaseDependencies) {
    this.service = dependencies.service
    this.clock = dependencies.clock ?? systemClock
    this.events = dependencies.events ?? NO_EVENTS
    this.within = dependencies.within
    this.authorizer = dependencies.authorizer
    this.stack = dependencies.stack
    this.#onHandlerError = dependencies.onHandlerError
    this.deadlines = new DeadlineSweep(this.clock, this.running)
    this.faults = faults
    this.#drain = new Drain(this, this.clock)
  }

  protected abstract readonly acceptor: Acceptor<AcceptorHost, AcceptorSettings>

  /** For whoever makes it. */
  listen(): Promise<void> {
    return this.acceptor.listen()
  }

  /** Where it listens. */
  get address(): string {
    return this.acceptor.address.address
  }

  get port(): number {
    return this.acceptor.address.port
  }

  get state(): DrainState {
    return this.#drain.state
  }

  get stats(): ServerStats {
    const { open, accepted, plaintext, refused } = this.acceptor
    return { connections: open, inFlight: this.running.size, accepted, plaintext, refused }
  }

  /**
   * Stops without losing a request; call it after the instance has been withdrawn from discovery.
   * Never rejects.
   */
  drain(options?: DrainOptions): Promise<DrainReport> {
    return this.#drain.start(options)
  }

  /** Stops at once: cancels what runs. Also ends a drain that is under way. */
  close(): Promise<DrainReport> {
    this.#drain.hasten()
    return this.#drain.start({ lameDuckMs: 0, graceMs: 0 })
  }

  /** For an exchange: user code threw, or its promise rejected. */
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
      // A listener that hears of a failure must not cause another.
    }
  }

  /** For an exchange. */
  exchangeEnded(): void {
    this.#drain.callEnded()
  }

  // What a drain needs.

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
    for (const exchange of left) exchange.abandon()
    return left.length
  }

  async closeConnections(): Promise<void> {
    this.deadlines.stop()
    await this.acceptor.close()
    this.events.emit('drain:step', { step: 'closed', running: 0 })
  }
}
