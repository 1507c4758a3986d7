/** The pools of a transport that have connections, and what is done to all of them. */
import type { Clock } from '../core/clock.ts'
import { Sweeper, type Swept } from '../core/sweeper.ts'
import type { ClientIdentity } from './client-identity.ts'
import { type FollowingPool, followIdentity } from './retirement.ts'

/** The connections of one endpoint. */
export interface KeptPool extends FollowingPool {
  /** Connections in all states. */
  readonly connections: number
  sweep(now: number): void
  /** Calls in flight have `graceMs` to finish. */
  close(graceMs: number): void
}

/** Interval of the housekeeping, while there are connections. */
const SWEEP_MS = 1_000

export class PoolSet<P extends KeptPool> implements Swept, Iterable<P> {
  readonly #pools = new Set<P>()
  readonly #sweeper: Sweeper
  readonly #stopFollowing: (() => void) | undefined

  /** `spreadMs`: after a rotation, all connections are replaced within this time. */
  constructor(clock: Clock, identity: ClientIdentity | undefined, spreadMs: number) {
    this.#sweeper = new Sweeper(clock, SWEEP_MS, this)
    this.#stopFollowing = followIdentity(identity, clock, spreadMs, this.#pools)
  }

  [Symbol.iterator](): Iterator<P> {
    return this.#pools[Symbol.iterator]()
  }

  /** `pool` has connections, until it is deleted. */
  add(pool: P): void {
    this.#pools.add(pool)
    this.#sweeper.start()
  }

  delete(pool: P): void {
    this.#pools.delete(pool)
  }

  /** Connections in all states, to all endpoints. */
  get connections(): number {
    let sum = 0
    for (const { connections } of this.#pools) sum += connections
    return sum
  }

  /** Closes all pools. Calls in flight have `graceMs` to finish. */
  close(graceMs: number): void {
    this.#stopFollowing?.()
    for (const pool of [...this.#pools]) pool.close(graceMs)
    this.#sweeper.stop()
  }

  sweep(now: number): boolean {
    for (const pool of [...this.#pools]) pool.sweep(now)
    return this.#pools.size > 0
  }
}
