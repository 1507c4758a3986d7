/**
 * Closes HTTP/2 connections that flood the server: streams reset at once, PING, SETTINGS, and
 * frames that carry no request. Node limits these late or not at all.
 */
import type { ServerHttp2Session, ServerHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'
import type { Clock } from '../core/clock.ts'
import { Overhead } from './http2-overhead.ts'

export type FloodReason = 'rapid-reset' | 'ping-flood' | 'settings-flood' | 'frame-flood'

export interface FloodLimits {
  /** How many more streams may be reset than served per window. Default 100. */
  readonly resets: number
  /** How many PINGs without other traffic, or SETTINGS, are allowed per window. Default 1,000. */
  readonly controlFrames: number
  /**
   * Bytes per window that carry no request and answer none of our frames. Default 131,072: some
   * 10,000 WINDOW_UPDATE, and 2 ms of decoding.
   */
  readonly overheadBytes: number
  /** Default 10,000 ms; a window is between half and all of it. */
  readonly windowMs: number
  /**
   * A stream reset after this age is a cancelled call: until then it occupied one of the
   * connection's concurrent streams. Default 1,000 ms, as in Envoy.
   */
  readonly youngMs: number
  /**
   * A stream reset before this age counts against {@link resets}, a later one against {@link
   * lateResets}.
   */
  readonly instantMs: number
  /** Default 0: with `instantMs` as long as `youngMs`, all are instant. */
  readonly lateResets: number
}

const LIMITS: FloodLimits = {
  resets: 100,
  controlFrames: 1_000,
  overheadBytes: 131_072,
  windowMs: 10_000,
  youngMs: 1_000,
  instantMs: 1_000,
  lateResets: 0,
}

/**
 * Limits for servers whose clients cancel attempts by policy (per-try timeouts, hedges), up to
 * hundreds a second. A flood resets thousands, each as soon as it is opened.
 */
export const LENIENT_LIMITS: Partial<FloodLimits> = Object.freeze({ resets: 1_000, instantMs: 100, lateResets: 10_000 })

/**
 * Options of a server whose sessions are all guarded. Node's own limit closes a connection that
 * cancels 1,000 streams at once or 33 a second, which a busy client with hedges does. These options
 * lift it.
 */
export const GUARDED_SERVER = {
  streamResetBurst: 1_000_000,
  streamResetRate: 1_000_000,
  // Node also refuses streams while a reset one is not destroyed yet, and ends the session after a
  // hundred.
  maxSessionRejectedStreams: 1_000_000,
} as const

/**
 * grpc-go pings once per round trip while it receives data, to estimate the bandwidth: thousands of
 * times per window on a fast network. Each such PING comes with an acknowledgement (17 bytes) and a
 * DATA frame with a gRPC message (14 or more); a flood has only the first.
 */
const BYTES_PER_PROBE = 28
/** ENHANCE_YOUR_CALM, as a number because importing `node:http2` loads it. */
const ENHANCE_YOUR_CALM = 11

const OPENED_AT = Symbol('openedAt')
type TimedStream = ServerHttp2Stream & { [OPENED_AT]?: number }

/** Counts of half a window. */
class WindowCounts {
  resets = 0
  lateResets = 0
  served = 0
  pings = 0
  settings = 0
  /** Bytes written on the connection before it began. */
  bytes = 0

  begin(bytes: number): void {
    this.resets = 0
    this.lateResets = 0
    this.served = 0
    this.pings = 0
    this.settings = 0
    this.bytes = bytes
  }
}

/** One per session, from {@link guardSession}; releases the session when it closes. */
export class FloodGuard {
  readonly #session: ServerHttp2Session
  readonly #clock: Clock
  readonly #onFlood: (reason: FloodReason) => void
  readonly #limits: FloodLimits
  readonly #onStreamClose: (this: ServerHttp2Stream) => void
  readonly #overhead: Overhead
  #now = new WindowCounts()
  #before = new WindowCounts()
  #beganAt: number
  #flooded = false
  #heard = 0

  constructor(
    session: ServerHttp2Session,
    clock: Clock,
    onFlood: (reason: FloodReason) => void,
    limits: Partial<FloodLimits>,
  ) {
    this.#session = session
    this.#clock = clock
    this.#onFlood = onFlood
    this.#limits = { ...LIMITS, ...limits }
    this.#beganAt = clock.now()
    const { overheadBytes, windowMs } = this.#limits
    this.#overhead = new Overhead(session, socketOf(session), overheadBytes, windowMs, this.#beganAt)
    // One function for all streams of a session (`this`) instead of a closure for each.
    const guard = this
    this.#onStreamClose = function () {
      guard.#closed(this)
    }
    session.on('stream', this.#opened)
    session.on('ping', this.#pinged)
    session.on('remoteSettings', this.#set)
    session.once('close', this.#stop)
  }

  /**
   * A flood was detected. The session is destroyed one turn of the event loop later; until then,
   * listeners check this and ignore the streams that still arrive.
   */
  get flooded(): boolean {
    return this.#flooded
  }

  /**
   * Called about twice a second, because frames without content are noticed only by their bytes.
   */
  look(): void {
    if (this.#flooded || this.#session.destroyed) return
    if (this.#overhead.exceeded(this.#clock.now())) this.#flood('frame-flood')
  }

  /** When {@link look} last found bytes to have moved. */
  get movedAt(): number {
    return this.#overhead.movedAt
  }

  /**
   * Grows with each stream, body chunk, PING and SETTINGS: with each complete message of the peer.
   */
  get heard(): number {
    return this.#heard + this.#overhead.pieces
  }

  readonly #opened = (stream: TimedStream, _headers: unknown, flags: number, rawHeaders: readonly string[]): void => {
    // Listens until the stream closes: an `error` without a listener ends the process.
    stream.on('error', ignore)
    const now = this.#clock.now()
    this.#turn(now)
    stream[OPENED_AT] = now
    this.#heard += 1
    this.#overhead.opened(stream, flags, rawHeaders)
    stream.on('close', this.#onStreamClose)
  }

  #closed(stream: TimedStream): void {
    // When the connection ends, so do its streams.
    if (this.#flooded || this.#session.destroyed) return
    this.#overhead.closed(stream)
    // A client that has waited for the response paid a round trip, and may cancel after the first
    // message. `aborted` does not tell: it is never set for HEAD, and the flooder chooses the code.
    if (stream.headersSent) {
      if (stream.rstCode === 0) this.#now.served += 1
      return
    }
    const now = this.#clock.now()
    const livedMs = now - stream[OPENED_AT]!
    const { youngMs, instantMs, resets, lateResets } = this.#limits
    if (livedMs >= youngMs) return
    this.#turn(now)
    const served = this.#now.served + this.#before.served
    if (livedMs < instantMs) this.#now.resets += 1
    else this.#now.lateResets += 1
    const instant = this.#now.resets + this.#before.resets - served
    const late = this.#now.lateResets + this.#before.lateResets - served
    if (instant > resets || late > lateResets) this.#flood('rapid-reset')
  }

  readonly #pinged = (): void => {
    this.#turn(this.#clock.now())
    this.#now.pings += 1
    this.#heard += 1
    const pings = this.#now.pings + this.#before.pings
    if (pings <= this.#limits.controlFrames) return
    if (this.#written() - this.#before.bytes < pings * BYTES_PER_PROBE) this.#flood('ping-flood')
  }

  readonly #set = (): void => {
    this.#turn(this.#clock.now())
    this.#now.settings += 1
    this.#heard += 1
    if (this.#now.settings + this.#before.settings > this.#limits.controlFrames) this.#flood('settings-flood')
  }

  readonly #stop = (): void => {
    this.#session.off('stream', this.#opened)
    this.#session.off('ping', this.#pinged)
    this.#session.off('remoteSettings', this.#set)
  }

  /** Starts the next half of the window if this one is over. */
  #turn(now: number): void {
    const passed = now - this.#beganAt
    const halfMs = this.#limits.windowMs / 2
    if (passed < halfMs) return
    const written = this.#written()
    const over = this.#before
    this.#before = this.#now
    this.#now = over
    this.#now.begin(written)
    if (passed >= this.#limits.windowMs) this.#before.begin(written)
    this.#beganAt = now
  }

  #written(): number {
    return this.#session.destroyed ? 0 : this.#session.socket.bytesWritten
  }

  #flood(reason: FloodReason): void {
    if (this.#flooded) return
    this.#flooded = true
    const session = this.#session
    const socket = socketOf(session)
    // This runs within a read of the session, where destroying it can abort the process.
    setImmediate(() => {
      // A session that is closing already would wait for the flooder to hang up.
      setImmediate(() => socket.destroy())
      try {
        this.#onFlood(reason)
      } finally {
        if (!session.destroyed) {
          session.goaway(ENHANCE_YOUR_CALM)
          session.destroy()
        }
      }
    })
  }
}

/**
 * What a session shows is a proxy that cannot be destroyed; its `off` returns the socket itself.
 */
function socketOf(session: ServerHttp2Session): Socket {
  return session.socket.off('close', ignore)
}

function ignore(): void {}

/**
 * Watches `session` until it closes, and destroys it on a flood. `onFlood` is called once, just
 * before.
 *
 * A connection with 10,000 cancelled calls stays open while about as many are served; the server
 * needs {@link GUARDED_SERVER}, because Node would close it. A listener behind the guard refuses
 * with a response, not with RST_STREAM: the resets of both sides look the same, and a client may
 * provoke ours. The server calls {@link FloodGuard.look} regularly.
 *
 * @example server.on('session', (session) => guardSession(session, systemClock, (reason) =>
 * log.warn({ reason }, 'flood')))
 */
export function guardSession(
  session: ServerHttp2Session,
  clock: Clock,
  onFlood: (reason: FloodReason) => void,
  limits: Partial<FloodLimits> = {},
): FloodGuard {
  return new FloodGuard(session, clock, onFlood, limits)
}
