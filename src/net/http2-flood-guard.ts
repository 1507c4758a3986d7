/**
 * Cuts an HTTP/2 connection that floods its server: streams opened and reset at once (by the
 * client, or by us because it provoked that), PING, SETTINGS, and bytes of any frames that carry no
 * request. Node bounds these late or not at all.
 */
import type { ServerHttp2Session, ServerHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'
import type { Clock } from '../core/clock.ts'
import { Overhead } from './http2-overhead.ts'

export type FloodReason = 'rapid-reset' | 'ping-flood' | 'settings-flood' | 'frame-flood'

export interface FloodLimits {
  /** This many more streams reset than served in one window are not a flood yet. Default 100. */
  readonly resets: number
  /**
   * This many PING with nothing else said, or SETTINGS, in one window are not a flood yet. Default
   * 1,000.
   */
  readonly controlFrames: number
  /**
   * Bytes in one window that explain no request, beyond what the peer answers to ours. Default
   * 131,072: some 10,000 WINDOW_UPDATE, and 2 ms of decoding.
   */
  readonly overheadBytes: number
  /** Default 10,000 ms; a window is between half and all of it. */
  readonly windowMs: number
  /**
   * A stream that lived this long before its reset is a call given up, not a flood: until then it
   * held one of the streams that a connection may have at once. Default 1,000 ms, as Envoy has it.
   */
  readonly youngMs: number
  /**
   * A stream that was reset sooner counts against {@link resets}, a young one that lived longer
   * against {@link lateResets}.
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
 * Limits for servers whose clients give attempts up as a matter of policy (per-try timeouts,
 * hedges, callers that change their mind): tens or hundreds a second are ordinary. A flood comes by
 * thousands, and resets a stream as soon as it has opened it.
 */
export const PATIENT: Partial<FloodLimits> = Object.freeze({ resets: 1_000, instantMs: 100, lateResets: 10_000 })

/**
 * Options of a server whose sessions are all guarded. Node cuts every connection that cancels more
 * than 1,000 streams at once or 33 a second, whatever else is served on it; that is a busy client
 * whose hedges lose. This puts its limit out of the guard's way.
 */
export const GUARDED_SERVER = {
  streamResetBurst: 1_000_000,
  streamResetRate: 1_000_000,
  // It refuses a stream also while one that was reset is not destroyed yet, and would end the
  // session after a hundred.
  maxSessionRejectedStreams: 1_000_000,
} as const

/**
 * grpc-go pings once a round trip while it is sent data, to learn the bandwidth, thousands of times
 * in a window on a short way. Then each PING goes with its acknowledgement (17 bytes) and a DATA
 * frame with a gRPC message (14 or more); a flood with the first only.
 */
const BYTES_OF_HONEST_PING = 28
/** ENHANCE_YOUR_CALM, as a number because importing `node:http2` loads it. */
const CALM = 11

const OPENED_AT = Symbol('openedAt')
type TimedStream = ServerHttp2Stream & { [OPENED_AT]?: number }

/** What happened in half a window. */
class Tally {
  resets = 0
  lateResets = 0
  served = 0
  pings = 0
  settings = 0
  /** Written on the connection before it began. */
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

/** One per session, from {@link guardSession}; lets go of the session when that closes. */
export class FloodGuard {
  readonly #session: ServerHttp2Session
  readonly #clock: Clock
  readonly #onFlood: (reason: FloodReason) => void
  readonly #limits: FloodLimits
  readonly #onStreamClose: (this: ServerHttp2Stream) => void
  readonly #overhead: Overhead
  #now = new Tally()
  #before = new Tally()
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
    // One function for all streams of a session, which come as `this`: no closure for each.
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
   * Found guilty. The session is destroyed one turn of the loop later, and what was read together
   * with the last frame still comes as streams; a listener that looks here first does nothing for
   * them.
   */
  get flooded(): boolean {
    return this.#flooded
  }

  /** Call it about twice a second: frames that carry nothing are seen by their bytes only. */
  look(): void {
    if (this.#flooded || this.#session.destroyed) return
    if (this.#overhead.exceeded(this.#clock.now())) this.#flood('frame-flood')
  }

  /** When {@link look} last found that bytes had moved. */
  get movedAt(): number {
    return this.#overhead.movedAt
  }

  /**
   * Grows with each stream, piece of a body, PING and SETTINGS: with all that the peer has said to
   * an end.
   */
  get heard(): number {
    return this.#heard + this.#overhead.pieces
  }

  readonly #opened = (stream: TimedStream, _headers: unknown, flags: number, rawHeaders: readonly string[]): void => {
    // From its head to its close: the peer may make it fail while no one else listens, which would
    // end the process.
    stream.on('error', ignore)
    const now = this.#clock.now()
    this.#turn(now)
    stream[OPENED_AT] = now
    this.#heard += 1
    this.#overhead.opened(stream, flags, rawHeaders)
    stream.on('close', this.#onStreamClose)
  }

  #closed(stream: TimedStream): void {
    // When the connection ends, all its streams do.
    if (this.#flooded || this.#session.destroyed) return
    this.#overhead.closed(stream)
    // Whoever waits for the response pays a round trip for each; taking the first of a stream and
    // leaving is an honest habit. `aborted` would not do: it is never set for HEAD, and the code is
    // the flooder's choice.
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
    if (this.#written() - this.#before.bytes < pings * BYTES_OF_HONEST_PING) this.#flood('ping-flood')
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

  /** Begins the next half of the window if this one is over. */
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
    // All this runs within a read of the session, where destroying it can abort the process.
    setImmediate(() => {
      // A session that was closing already would wait for the flooder to hang up.
      setImmediate(() => socket.destroy())
      try {
        this.#onFlood(reason)
      } finally {
        if (!session.destroyed) {
          session.goaway(CALM)
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
 * Watches `session` until it closes, and destroys it when it floods its server; `onFlood` is called
 * once, just before that.
 *
 * A connection on which 10,000 calls are cancelled is not cut as long as about as many are served;
 * the server needs {@link GUARDED_SERVER} for that, because Node would cut it. A listener behind
 * the guard refuses with an answer, not with RST_STREAM: the two sides' resets cannot be told
 * apart, and a client may provoke ours. The server calls {@link FloodGuard.look} regularly.
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
