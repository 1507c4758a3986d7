/** Connections that carry one call each, and none now. The last one used is used next. */
import type { Clock } from '../../core/clock.ts'
import type { PooledConnection } from './pooled-connection.ts'
import { isOver } from './shared-connections.ts'

export class IdleConnections {
  readonly #clock: Clock
  readonly #list: PooledConnection[] = []

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get size(): number {
    return this.#list.length
  }

  push(connection: PooledConnection): void {
    this.#list.push(connection)
  }

  pop(): PooledConnection | undefined {
    for (;;) {
      const connection = this.#list.pop()
      if (connection === undefined) return undefined
      if (isOver(connection, this.#clock)) connection.close()
      else if (connection.usable) return connection
    }
  }

  delete(connection: PooledConnection): void {
    const at = this.#list.indexOf(connection)
    if (at >= 0) this.#list.splice(at, 1)
  }

  /** Closes those that retire or are idle for long, least recently used first. */
  sweep(now: number, idleTimeoutMs: number, spareConnections: number): void {
    for (let i = this.#list.length - 1; i >= 0; i--) {
      const connection = this.#list[i]!
      const spare = this.#list.length - i <= spareConnections
      if (now < connection.retireAt && (spare || now - connection.idleSince < idleTimeoutMs)) continue
      this.#list.splice(i, 1)
      connection.close()
    }
  }

  close(): void {
    for (const connection of this.#list.splice(0)) connection.close()
  }
}
