/**
 * Probes a TCP endpoint: it is healthy if a connection opens. What our own rules or limits refuse
 * leaves the verdict open.
 */
import type { Timer } from '../../core/clock.ts'
import type { ErrorCode } from '../../core/errors.ts'
import type { Outcome } from '../../core/outcome.ts'
import { type Probe, type ProbeListener, TIMED_OUT } from '../health-checks.ts'
import type { Transport } from '../transport.ts'
import type { ConnectionUser, TcpConnection } from './connection.ts'
import type { TcpPool } from './pool.ts'

const OPEN: ReadonlySet<ErrorCode> = new Set(['closed', 'overloaded', 'permission-denied', 'refused-by-peer'])

/** A probe of TCP endpoints. */
export function tcpHealth(transport: Transport<TcpPool>): Probe {
  return (endpoint, timeoutMs, done) => {
    const probe = new TcpProbe(transport, done)
    probe.begin(transport.poolOf(endpoint), timeoutMs)
    return () => probe.cancel()
  }
}

class TcpProbe implements ConnectionUser {
  readonly #transport: Transport
  readonly #done: ProbeListener
  #pool: TcpPool | undefined
  #connection: TcpConnection | undefined
  #timer: Timer | undefined
  #over = false

  constructor(transport: Transport, done: ProbeListener) {
    this.#transport = transport
    this.#done = done
  }

  begin(pool: TcpPool, timeoutMs: number): void {
    this.#timer = this.#transport.clock.startBackgroundTimer(timeoutMs, timeUp, this)
    this.#pool = pool
    pool.take(this)
  }

  cancel(): void {
    this.#over = true
    this.#stop()
  }

  timeUp(): void {
    // Before its turn, the endpoint was not asked.
    this.#end(this.#connection === undefined ? undefined : false, TIMED_OUT)
  }

  dialing(connection: TcpConnection): void {
    this.#connection = connection
  }

  opened(): void {
    this.#end(true, 'connected')
  }

  failed({ code }: Outcome): void {
    this.#end(code !== undefined && OPEN.has(code) ? undefined : false, code ?? 'connect-failed')
  }

  #end(healthy: boolean | undefined, reason: string): void {
    if (this.#over) return
    this.cancel()
    this.#done(healthy, reason)
  }

  #stop(): void {
    if (this.#timer !== undefined) this.#transport.clock.stopTimer(this.#timer)
    this.#timer = undefined
    this.#pool?.leave(this)
    this.#connection?.destroy()
  }
}

function timeUp(probe: TcpProbe): void {
  probe.timeUp()
}
