/**
 * Ends calls whose caller's certificate has expired, unless the same identity holds a connection
 * with a valid one. A caller that renewed its certificate keeps its long streams.
 */
import { certificateTimeOf } from '../core/certificate-time.ts'
import type { Clock } from '../core/clock.ts'
import { Sweeper, type Swept } from '../core/sweeper.ts'
import { EndedGrace, LOOK_EVERY_MS } from '../identity/ended-grace.ts'
import type { Connection } from './connection.ts'

export class CertificateExpiry implements Swept {
  readonly #clock: Clock
  readonly #connections: () => Iterable<Connection>
  readonly #sweeper: Sweeper
  readonly #grace = new EndedGrace()

  constructor(clock: Clock, connections: () => Iterable<Connection>) {
    this.#clock = clock
    this.#connections = connections
    this.#sweeper = new Sweeper(clock, LOOK_EVERY_MS, this)
  }

  /** A connection with a certificate has been added. */
  watch(): void {
    this.#sweeper.start()
  }

  stop(): void {
    this.#sweeper.stop()
  }

  /** @internal An idle connection stays: its next request is answered as not executed. */
  sweep(at: number): boolean {
    const graceMs = this.#grace.at(at)
    const now = certificateTimeOf(this.#clock).now()
    const valid = new Set<string>()
    let certified = false
    for (const { caller, expiresAt } of this.#connections()) {
      if (caller === undefined) continue
      certified = true
      if (now < expiresAt) valid.add(caller.spiffeId)
    }
    for (const { caller, expiresAt, inFlight, socket } of this.#connections()) {
      if (caller === undefined || valid.has(caller.spiffeId)) continue
      if (inFlight > 0 && now >= expiresAt + graceMs) socket.destroy()
    }
    return certified
  }
}
