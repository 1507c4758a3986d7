/**
 * The TCP server: connections behind mutual TLS, intentions, limits and a drain, for a handler or
 * forwarded to a target.
 */
import type { Socket } from 'node:net'
import type { CallKind } from '../../core/call.ts'
import type { Timer } from '../../core/clock.ts'
import { CONNECT } from '../../core/protocol.ts'
import type { TcpMeter, TcpMetrics } from '../../telemetry/tcp-metrics.ts'
import { Acceptor } from '../acceptor.ts'
import { LingeringClose, type RefusalAnswer } from '../lingering-close.ts'
import { assertIdentity, ServerBase, type ServerBaseDependencies } from '../server-base.ts'
import { type TcpHandler, TcpServerCall, type TcpServerCallHost } from './call.ts'
import type { TcpConnection } from './connection.ts'
import { resolveTcpServer, type TcpServerOptions, type TcpServerSettings } from './options.ts'
import { TcpProtocol, type TcpProtocolHost } from './protocol.ts'

/** How often bytes are counted and idle connections looked for. */
const LOOK_MS = 1_000

export interface TcpServerDependencies extends ServerBaseDependencies {
  /** @defaultValue nothing is counted */
  readonly metrics?: TcpMetrics | undefined
}

/**
 * Listens, and resolves with the running server. `handler`: `undefined` with a target.
 *
 * @throws OptionsError for wrong options; the system's error if it cannot listen
 */
export async function serveTcp(
  handler: TcpHandler | undefined,
  options: TcpServerOptions,
  dependencies: TcpServerDependencies,
): Promise<TcpServer> {
  const settings = resolveTcpServer(options)
  assertIdentity(settings.mode, dependencies)
  const server = new TcpServer(handler, settings, dependencies)
  await server.listen()
  return server
}

/** A listening server; made by {@link serveTcp}. */
export class TcpServer extends ServerBase implements TcpServerCallHost, TcpProtocolHost {
  readonly handler: TcpHandler | undefined
  readonly settings: TcpServerSettings
  readonly kind: CallKind
  protected readonly acceptor: Acceptor
  readonly #metrics: TcpMetrics | undefined
  readonly #lingering: LingeringClose
  #looker: Timer | undefined

  constructor(handler: TcpHandler | undefined, settings: TcpServerSettings, dependencies: TcpServerDependencies) {
    super({ mode: settings.mode, faults: [], orca: false }, dependencies)
    this.handler = handler
    this.settings = settings
    const { service } = this
    this.kind = Object.freeze({ service, method: CONNECT, protocol: 'tcp', streaming: true, idempotent: false })
    this.#metrics = dependencies.metrics
    this.#lingering = new LingeringClose(this.clock)
    const protocols = [new TcpProtocol(this)]
    this.acceptor = new Acceptor(this, settings, protocols, dependencies.identity, dependencies.verifier)
  }

  /** For the protocol. */
  serve(connection: TcpConnection): void {
    // Also over TLS: the two directions end apart.
    connection.socket.allowHalfOpen = true
    new TcpServerCall(this, connection).serve()
    this.#looker ??= this.clock.startBackgroundTimer(LOOK_MS, look, this)
  }

  /** For a call. */
  linger(socket: Socket, answer: RefusalAnswer): void {
    this.#lingering.close(socket, answer)
  }

  /** For a call. */
  opened(peer: string | undefined): TcpMeter | undefined {
    return this.#metrics?.opened(peer, this.clock.now())
  }

  /** @internal */
  look(): void {
    const now = this.clock.now()
    for (const call of this.running) (call as TcpServerCall).look(now)
    this.#looker = this.running.size > 0 ? this.clock.startBackgroundTimer(LOOK_MS, look, this) : undefined
  }
}

function look(server: TcpServer): void {
  server.look()
}
