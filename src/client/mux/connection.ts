/**
 * One `inmesh/1` connection to an endpoint, shared by many calls. It is made of a dial whose peer
 * has agreed to the transport, and it takes calls once the peer has announced its limits.
 *
 * - opening -> ready: the peer's SETTINGS have arrived
 * - ready -> leaving: the peer sent GOAWAY, or its pool replaces it; what runs on it ends there
 * - any -> closed: the socket closed
 */
import type { Clock } from '../../core/clock.ts'
import { MUX } from '../../core/transport.ts'
import { MuxSession, type SessionEvents } from '../../mux/session.ts'
import { MUX_DEFAULTS, type MuxSettings } from '../../mux/settings.ts'
import { GOAWAY, type GoAwayCode, MAX_WINDOW } from '../../mux/wire.ts'
import { reasonOfRefusal, refusedByServer } from '../../net/identity-refusal.ts'
import { refusedByAlert } from '../certificate-alert.ts'
import type { ConnectSpan } from '../connect-span.ts'
import type { Dial } from '../dial.ts'
import { retirementOf, type ShownCertificate } from '../peer-end.ts'
import { PeerWatch } from './peer-watch.ts'

/** Owns a connection and is notified of its transitions. Must not throw. */
export interface MuxConnectionOwner {
  /** It takes calls; it was made of `dial`. */
  ready(connection: MuxConnection, dial: Dial): void
  /** A call on it has ended. */
  roomChanged(connection: MuxConnection): void
  /** It takes no more calls; those on it may still end well. */
  leaving(connection: MuxConnection): void
  /** It closed after it was ready. Before that, its dial fails. */
  closed(connection: MuxConnection): void
}

/**
 * A client serves no streams. While calls run, it asks every second, so a peer that died without
 * closing is noticed 10 s later; a loop that only stalls has as much time.
 */
const CLIENT_SETTINGS: MuxSettings = Object.freeze({
  ...MUX_DEFAULTS,
  maxStreams: 0,
  takesLoad: true,
  // Unread answers never hold up others: the client itself has opened each stream that fills it.
  connectionWindow: MAX_WINDOW,
  pingTimeoutMs: 10_000,
})

export class MuxConnection implements SessionEvents {
  readonly transport = MUX
  /** Instant from which it takes no calls; `Infinity` until it must be replaced. */
  retireAt: number
  /** End of the peer's certificate, wall clock. */
  readonly peer: ShownCertificate | undefined
  endsAt: number
  /** Since when no call runs on it. */
  idleSince: number
  readonly session: MuxSession
  protected readonly dial: Dial
  readonly #clock: Clock
  readonly #owner: MuxConnectionOwner
  readonly #watch: PeerWatch
  #ready = false
  /** It keeps the process alive. */
  #held = false

  constructor(owner: MuxConnectionOwner, dial: Dial, clock: Clock, settings = CLIENT_SETTINGS) {
    this.#owner = owner
    this.#clock = clock
    this.dial = dial
    this.peer = dial.peer
    this.endsAt = dial.peer?.endsAt ?? Number.POSITIVE_INFINITY
    this.retireAt = Math.min(dial.retireAt, retirementOf(this.endsAt, clock))
    this.idleSince = clock.now()
    this.session = new MuxSession(dial.socket, 'client', settings, clock, this)
    this.#watch = new PeerWatch(this.session, clock)
    dial.reader = this.session
  }

  get connecting(): ConnectSpan {
    return this.dial.connecting
  }

  /** Calls that it takes besides those that run. None while the peer owes a sign of life. */
  get room(): number {
    return this.#watch.hesitant ? 0 : this.session.room
  }

  /** It takes no calls until the peer gives a sign of life, or is found silent. */
  get hesitant(): boolean {
    return this.#watch.hesitant && !this.#watch.silent
  }

  /** The peer owes an answer, and sends nothing at all. */
  get silent(): boolean {
    return this.#watch.silent
  }

  /** Calls that run on it. */
  get running(): number {
    return this.session.open
  }

  /** Whether another connection would carry more than it alone. */
  get strained(): boolean {
    return this.#watch.strained
  }

  /** Whether a call may begin on it. */
  get usable(): boolean {
    return this.#ready && !this.session.leaving && !this.dial.socket.destroyed
  }

  /** Calls begin on it in this turn, and the process stays alive for them. */
  begun(): void {
    if (!this.#held) {
      this.#held = true
      this.dial.socket.ref()
    }
    if (this.session.open > 1) this.#watch.begun()
  }

  /** The peer takes no more calls on it. */
  protected leave(): void {
    this.retireAt = 0
    this.#owner.leaving(this)
  }

  /** Takes no more calls, and closes after those that run. */
  finish(): void {
    this.retireAt = 0
    this.session.end()
  }

  /** Closes at once, whatever runs on it. */
  close(): void {
    this.session.destroy()
  }

  /** Closes at once, because of its peer. */
  cut(cause: Error): void {
    this.session.destroy(cause)
  }

  /** Housekeeping, about once a second: asks a silent peer for a sign of life. */
  tick(now: number): void {
    this.session.tick(now)
    this.#watch.tick(now)
  }

  // The session's events.

  settled(): void {
    this.#ready = true
    this.dial.established()
    // A rotation may have come while it was opened.
    this.retireAt = Math.min(this.retireAt, this.dial.retireAt)
    this.dial.socket.unref()
    this.#owner.ready(this, this.dial)
  }

  roomChanged(): void {
    if (this.session.open === 0) {
      this.idleSince = this.#clock.now()
      this.#held = false
      this.dial.socket.unref()
    }
    this.#owner.roomChanged(this)
  }

  /** A silent peer took no calls; now it does again, though no call has ended. */
  pingAnswered(): void {
    this.#owner.roomChanged(this)
  }

  goingAway(_lastStream: number, code: number, reason: string): void {
    if (code === GOAWAY.IDENTITY_REFUSED) this.dial.rejected(refusedByServer(reasonOfRefusal(reason) ?? reason))
    else if (this.#ready) this.leave()
    else this.dial.close()
  }

  broken(_code: GoAwayCode, _reason: string): void {
    // The socket closes, and the streams say why.
  }

  requestArrived(): void {
    // The session refuses it, since a client announces no streams.
  }

  closed(cause: Error | undefined): void {
    if (!this.#ready) return
    const refusal = cause === undefined ? undefined : refusedByAlert(cause)
    if (refusal !== undefined) this.dial.rejected(refusal)
    this.#owner.closed(this)
  }
}
