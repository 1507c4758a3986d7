/**
 * All sessions: their limits, their heartbeats and their end.
 */
import type { ServerHttp2Stream } from 'node:http2'
import { certificateTimeOf } from '../core/certificate-time.ts'
import type { Timer } from '../core/clock.ts'
import type { ServerMessage } from '../discovery/registry/wire.ts'
import type { Registrant } from './registrar.ts'
import { Session } from './session.ts'
import type { SessionHost } from './session-host.ts'

const MOST_SESSIONS = 10_000
/** One service may not take all sessions. */
const MOST_PER_SERVICE = 5_000
/** Told to processes when the registry goes away or is full; they add their own jitter. */
const RETRY_AFTER_MS = 500
const AWAY_WITHIN_MS = 3_000

export class Sessions {
  readonly #host: SessionHost
  readonly #sessions = new Set<Session>()
  readonly #ofService = new Map<string, number>()
  readonly #sweepMs: number
  #timer: Timer

  constructor(host: SessionHost) {
    this.#host = host
    this.#sweepMs = Math.min(1_000, host.registrar.leases.beatMs)
    this.#timer = host.clock.startBackgroundTimer(this.#sweepMs, () => this.#sweep(), undefined)
  }

  get all(): Iterable<Session> {
    return this.#sessions
  }

  get size(): number {
    return this.#sessions.size
  }

  [Symbol.iterator](): IterableIterator<Session> {
    return this.#sessions.values()
  }

  /** To all that have been greeted. */
  tell(message: ServerMessage): void {
    const line = Buffer.from(`${JSON.stringify(message)}\n`)
    for (const session of this.#sessions) session.tell(line)
  }

  open(stream: ServerHttp2Stream, who: Registrant, notAfter: number): void {
    const { service } = who
    const ofService = (this.#ofService.get(service) ?? 0) + 1
    this.#ofService.set(service, ofService)
    const session = new Session(this.#host, stream, who, notAfter, (closed) => this.#closed(closed))
    this.#sessions.add(session)
    if (this.#sessions.size > MOST_SESSIONS || ofService > MOST_PER_SERVICE) session.goAway(RETRY_AFTER_MS * 20)
  }

  /** All processes should go to another registry, over a few seconds; those that find one do. */
  sendAway(): void {
    for (const session of [...this.#sessions]) {
      if (session.movable) session.sendAway(AWAY_WITHIN_MS)
      else session.goAway(RETRY_AFTER_MS)
    }
  }

  /** Ends the sessions of denied identities. */
  deny(spiffeIds: ReadonlySet<string>): void {
    for (const session of [...this.#sessions]) {
      const { spiffeId } = session.who
      if (spiffeIds.has(spiffeId)) session.end('identity-denied', `an operator denied ${spiffeId} all access`)
    }
  }

  close(): void {
    this.#host.clock.stopTimer(this.#timer)
    for (const session of [...this.#sessions]) session.goAway(RETRY_AFTER_MS)
  }

  #closed(session: Session): void {
    const { service } = session.who
    if (!this.#sessions.delete(session)) return
    const left = this.#ofService.get(service)! - 1
    if (left === 0) this.#ofService.delete(service)
    else this.#ofService.set(service, left)
  }

  #sweep(): void {
    this.#timer = this.#host.clock.startBackgroundTimer(this.#sweepMs, () => this.#sweep(), undefined)
    const { leases } = this.#host.registrar
    const now = certificateTimeOf(this.#host.clock).now()
    for (const session of [...this.#sessions]) {
      // Twice the lease: its instances were given up long before.
      if (leases.silentMs(session.heardAt) > 2 * leases.leaseMs) session.end('too-slow', 'no heartbeat in time')
      else if (now > session.notAfter) session.goAway(0)
    }
  }
}
