/**
 * From a list of addresses to one session: the next address is tried beside one that is silent, and
 * the first registry that greets us wins. Dialing ends when one has won or all have failed.
 */
import type { Clock, Timer } from '../../core/clock.ts'
import type { ConnectionListener, SessionConnection } from './connection.ts'
import { STAGGER_MS } from './first-address.ts'
import type { ServerMessage } from './wire.ts'

export interface DialHost {
  /** @throws whatever keeps it from connecting */
  open(address: string, listener: ConnectionListener): SessionConnection
  /** It greeted us; told once, before its first message. */
  connected(address: string, connection: SessionConnection): void
  message(address: string, message: ServerMessage): void
  rejected(reason: string): void
  unreachable(address: string, reason: string): void
  /** No address answers. */
  failed(): void
  /** The connection that had won is gone. */
  lost(address: string, reason: string): void
}

export class RegistryDial {
  readonly #queue: string[]
  readonly #clock: Clock
  readonly #host: DialHost
  readonly #open = new Set<SessionConnection>()
  #winner: SessionConnection | undefined
  #stagger: Timer | undefined
  #closed = false

  constructor(addresses: readonly string[], clock: Clock, host: DialHost) {
    this.#queue = [...addresses]
    this.#clock = clock
    this.#host = host
  }

  start(): void {
    this.#next()
  }

  /** Also the connection that has won. The host hears nothing more. */
  close(): void {
    this.#closed = true
    this.#stop()
    for (const connection of this.#open) connection.close()
    this.#winner?.close()
  }

  /** The same, for good; resolves when the registry has been told, within 500 ms. */
  async leave(watched: Iterable<string>): Promise<void> {
    const told = this.#winner?.leave(watched)
    this.close()
    await told
  }

  #next(): void {
    this.#stop()
    const address = this.#queue.shift()
    if (address === undefined || this.#closed) return
    if (this.#queue.length > 0) {
      this.#stagger = this.#clock.startBackgroundTimer(STAGGER_MS, () => this.#next(), undefined)
    }
    let connection: SessionConnection | undefined
    try {
      connection = this.#host.open(address, {
        message: (message) => {
          if (!this.#closed && connection !== undefined) this.#message(address, connection, message)
        },
        rejected: (reason) => this.#host.rejected(reason),
        closed: (reason) => this.#gone(address, connection, reason),
      })
    } catch (error) {
      this.#gone(address, undefined, error instanceof Error ? error.message : 'cannot connect')
      return
    }
    this.#open.add(connection)
  }

  #message(address: string, connection: SessionConnection, message: ServerMessage): void {
    if (this.#winner === undefined && message.type === 'welcome') {
      this.#stop()
      this.#winner = connection
      this.#open.delete(connection)
      for (const other of this.#open) other.close()
      this.#host.connected(address, connection)
    }
    if (this.#winner !== undefined && connection !== this.#winner) return
    this.#host.message(address, message)
    if (message.type === 'goaway') connection.close()
  }

  #gone(address: string, connection: SessionConnection | undefined, reason: string): void {
    if (connection !== undefined) this.#open.delete(connection)
    if (this.#closed) return
    if (this.#winner !== undefined) {
      if (connection === this.#winner) this.#host.lost(address, reason)
      return
    }
    this.#host.unreachable(address, reason)
    if (this.#queue.length > 0) this.#next()
    else if (this.#open.size === 0) this.#host.failed()
  }

  #stop(): void {
    if (this.#stagger !== undefined) this.#clock.stopTimer(this.#stagger)
    this.#stagger = undefined
  }
}
