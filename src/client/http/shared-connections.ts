/**
 * The connections of one endpoint that carry many calls each. One is enough until it has no room or
 * holds its calls up; batching makes one busy connection cheaper than several idle ones.
 */
import type { Clock } from '../../core/clock.ts'
import { hasEnded } from '../peer-end.ts'
import type { PooledConnection } from './pooled-connection.ts'

export class SharedConnections {
  /** More would only divide what one write could carry. */
  static readonly MOST = 4

  readonly #clock: Clock
  readonly #list: PooledConnection[] = []

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get size(): number {
    return this.#list.length
  }

  /** Those without calls. */
  get unused(): number {
    return this.#list.filter(({ running }) => running === 0).length
  }

  /** Whether each of them holds its calls up. */
  get strained(): boolean {
    return this.#list.length > 0 && this.#list.every((connection) => connection.strained)
  }

  /** Whether one of them may have room again in a moment. */
  get hesitant(): boolean {
    return this.#list.some((connection) => connection.hesitant)
  }

  add(connection: PooledConnection): void {
    this.#list.push(connection)
  }

  delete(connection: PooledConnection): void {
    const at = this.#list.indexOf(connection)
    if (at >= 0) this.#list.splice(at, 1)
  }

  /** The one with the fewest calls, if it has room. Those that are over retire. */
  free(): PooledConnection | undefined {
    const list = this.#list
    let best: PooledConnection | undefined
    for (let i = list.length - 1; i >= 0; i--) {
      const connection = list[i]!
      if (isOver(connection, this.#clock)) {
        list.splice(i, 1)
        connection.finish()
      } else if (connection.room > 0 && (best === undefined || connection.running < best.running)) best = connection
    }
    return best
  }

  /** Retires those that are over, and all but one of those that are idle for long. */
  sweep(now: number, idleTimeoutMs: number, spareConnections: number): void {
    for (const connection of [...this.#list]) {
      const spare = this.#list.length === 1 && spareConnections > 0
      const unused = connection.running === 0 && now - connection.idleSince >= idleTimeoutMs
      if (!isOver(connection, this.#clock) && (spare || !unused)) continue
      this.delete(connection)
      connection.finish()
    }
  }

  /** Takes no more calls on any. */
  finish(): void {
    for (const connection of this.#list.splice(0)) connection.finish()
  }
}

/** Whether a connection takes no more calls: it retires, or its peer's certificate has expired. */
export function isOver({ retireAt, endsAt }: PooledConnection, clock: Clock): boolean {
  if (retireAt !== Number.POSITIVE_INFINITY && clock.now() >= retireAt) return true
  return endsAt !== Number.POSITIVE_INFINITY && hasEnded(endsAt, clock)
}
