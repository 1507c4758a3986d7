/**
 * Opens one session with a registry that has several addresses. The first registry that greets us
 * wins, and the other connections are closed.
 */
import type { Clock } from '../../core/clock.ts'
import type { ConnectionListener, SessionConnection } from './connection.ts'
import { StaggeredStart } from './staggered-start.ts'
import type { ServerMessage } from './wire.ts'

export interface DialHost {
  /** @throws the error that prevents a connection */
  open(address: string, listener: ConnectionListener): SessionConnection
  /** The registry has greeted us. Called once, before its first message. */
  connected(address: string, connection: SessionConnection): void
  message(address: string, message: ServerMessage): void
  rejected(reason: string): void
  unreachable(address: string, reason: string): void
  /** No address answers. */
  failed(): void
  /** The connection that won has ended. */
  lost(address: string, reason: string): void
}

export class RegistryDial {
  readonly #host: DialHost
  readonly #search: StaggeredStart
  readonly #open = new Set<SessionConnection>()
  #winner: SessionConnection | undefined
  #closed = false

  constructor(addresses: readonly string[], clock: Clock, host: DialHost) {
    this.#host = host
    this.#search = new StaggeredStart(addresses, clock, (address) => this.#connect(address))
  }

  start(): void {
    this.#search.next()
  }

  /** Closes every connection, the winner included. The host hears nothing more. */
  close(): void {
    this.#closed = true
    this.#search.stop()
    for (const connection of this.#open) connection.close()
    this.#winner?.close()
  }

  /** Closes for good. Resolves when the registry has received it, after 500 ms at the latest. */
  async leave(watched: Iterable<string>): Promise<void> {
    const left = this.#winner?.leave(watched)
    this.close()
    await left
  }

  #connect(address: string): void {
    let connection: SessionConnection | undefined
    try {
      connection = this.#host.open(address, {
        message: (message) => {
          if (!this.#closed && connection !== undefined) this.#message(address, connection, message)
        },
        rejected: (reason) => this.#host.rejected(reason),
        closed: (reason) => this.#onClosed(address, connection, reason),
      })
    } catch (error) {
      this.#onClosed(address, undefined, error instanceof Error ? error.message : 'cannot connect')
      return
    }
    this.#open.add(connection)
  }

  #message(address: string, connection: SessionConnection, message: ServerMessage): void {
    if (this.#winner === undefined && message.type === 'welcome') {
      this.#search.stop()
      this.#winner = connection
      this.#open.delete(connection)
      for (const other of this.#open) other.close()
      this.#host.connected(address, connection)
    }
    if (this.#winner !== undefined && connection !== this.#winner) return
    this.#host.message(address, message)
    if (message.type === 'goaway') connection.close()
  }

  #onClosed(address: string, connection: SessionConnection | undefined, reason: string): void {
    if (connection !== undefined) this.#open.delete(connection)
    if (this.#closed) return
    if (this.#winner !== undefined) {
      if (connection === this.#winner) this.#host.lost(address, reason)
      return
    }
    this.#host.unreachable(address, reason)
    if (!this.#search.exhausted) this.#search.next()
    else if (this.#open.size === 0) this.#host.failed()
  }
}
