/**
 * Opens one session with one of several registries. The first registry that greets us wins, and the
 * other connections are closed.
 */
import type { Clock } from '../../core/clock.ts'
import type { ConnectionListener, SessionConnection } from './connection.ts'
import { StaggeredStart } from './staggered-start.ts'
import type { RegistryTarget } from './target.ts'
import type { ServerMessage } from './wire.ts'

export interface DialHost {
  /** @throws the error that prevents a connection */
  open(target: RegistryTarget, listener: ConnectionListener): SessionConnection
  /** The registry has greeted us. Called once, before its first message. */
  connected(target: RegistryTarget, connection: SessionConnection): void
  message(target: RegistryTarget, message: ServerMessage): void
  rejected(reason: string): void
  /** `url` as given; all addresses of its name have failed. */
  unreachable(url: string, reason: string): void
  /** No address answers. */
  failed(): void
  /** The connection that won has ended. */
  lost(target: RegistryTarget, reason: string): void
}

export class RegistryDial {
  readonly #host: DialHost
  readonly #targets: () => Promise<readonly RegistryTarget[]>
  readonly #clock: Clock
  #search: StaggeredStart<RegistryTarget> | undefined
  /** By address as given: how many of its targets have not failed. */
  readonly #left = new Map<string, number>()
  readonly #open = new Set<SessionConnection>()
  #winner: SessionConnection | undefined
  #closed = false

  /** `targets`: in the order to try them. */
  constructor(targets: () => Promise<readonly RegistryTarget[]>, clock: Clock, host: DialHost) {
    this.#targets = targets
    this.#clock = clock
    this.#host = host
  }

  start(): void {
    void this.#targets().then((targets) => {
      if (this.#closed) return
      for (const { url } of targets) this.#left.set(url, (this.#left.get(url) ?? 0) + 1)
      this.#search = new StaggeredStart(targets, this.#clock, (target) => this.#connect(target))
      this.#search.next()
    })
  }

  /** Closes every connection, the winner included. The host hears nothing more. */
  close(): void {
    this.#closed = true
    this.#search?.stop()
    for (const connection of this.#open) connection.close()
    this.#winner?.close()
  }

  /** Closes for good. Resolves when the registry has received it, after 500 ms at the latest. */
  async leave(watched: Iterable<string>): Promise<void> {
    this.#closed = true
    const left = this.#winner?.leave(watched)
    this.close()
    await left
  }

  #connect(target: RegistryTarget): void {
    let connection: SessionConnection | undefined
    try {
      connection = this.#host.open(target, {
        message: (message) => {
          if (!this.#closed && connection !== undefined) this.#message(target, connection, message)
        },
        rejected: (reason) => this.#host.rejected(reason),
        closed: (reason) => this.#onClosed(target, connection, reason),
      })
    } catch (error) {
      this.#onClosed(target, undefined, error instanceof Error ? error.message : 'cannot connect')
      return
    }
    this.#open.add(connection)
  }

  #message(target: RegistryTarget, connection: SessionConnection, message: ServerMessage): void {
    if (this.#winner === undefined && message.type === 'welcome') {
      this.#search?.stop()
      this.#winner = connection
      this.#open.delete(connection)
      for (const other of this.#open) other.close()
      this.#host.connected(target, connection)
    }
    if (this.#winner !== undefined && connection !== this.#winner) return
    this.#host.message(target, message)
    if (message.type === 'goaway' && message.gently !== true) connection.close()
  }

  #onClosed(target: RegistryTarget, connection: SessionConnection | undefined, reason: string): void {
    if (connection !== undefined) this.#open.delete(connection)
    if (this.#closed) return
    if (this.#winner !== undefined) {
      if (connection === this.#winner) this.#host.lost(target, reason)
      return
    }
    const left = this.#left.get(target.url)! - 1
    this.#left.set(target.url, left)
    if (left === 0) this.#host.unreachable(target.url, reason)
    if (this.#search?.exhausted === false) this.#search.next()
    else if (this.#open.size === 0) this.#host.failed()
  }
}
