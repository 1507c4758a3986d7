/**
 * Finds peers that are lost or that keep us waiting: silent ones, half-sent frames, and peers that
 * take nothing. All is judged by {@link Keepalive.tick}.
 */
import { SLOWEST_FRAME_MS, STALLED_MS } from './limits.ts'
import type { MuxSettings } from './settings.ts'

/** What it judges by. */
export interface Signs {
  readonly settled: boolean
  /** When the last complete frame arrived. */
  readonly heardAt: number
  /** A frame has begun and is not complete. */
  readonly within: boolean
  /** Bytes that wait for the network. */
  readonly backlog: number
  /** Writes that the network has taken. */
  readonly taken: number
  /** We do not read because of the backlog. */
  readonly paused: boolean
}

const NEVER = Number.POSITIVE_INFINITY

export class Keepalive {
  /** Round trip of the last PING in ms; 0 without one. */
  roundTripMs = 0
  readonly #settings: MuxSettings
  readonly #startedAt: number
  #pingedAt = NEVER
  /** Which PING waits for its answer. */
  #number = 0
  /** The peer is silent for too long; once more the event loop turns before it is given up. */
  #suspect = false
  #taken = 0
  #takenAt: number
  /** Since when the same frame is incomplete, to within a tick. */
  #withinSince = NEVER
  #heardWithin = 0

  constructor(settings: MuxSettings, now: number) {
    this.#settings = settings
    this.#startedAt = this.#takenAt = now
  }

  /** The payload of a PING to send; `undefined`: one is under way. */
  ping(now: number): Buffer | undefined {
    if (this.#pingedAt !== NEVER) return undefined
    this.#pingedAt = now
    this.#number = (this.#number + 1) >>> 0
    const payload = Buffer.alloc(8)
    payload.writeUInt32BE(this.#number, 4)
    return payload
  }

  /** Whether it answers our PING. */
  answered(bytes: Buffer, from: number, now: number): boolean {
    if (this.#pingedAt === NEVER || bytes.readUInt32BE(from + 4) !== this.#number) return false
    this.roundTripMs = now - this.#pingedAt
    this.#pingedAt = NEVER
    this.#suspect = false
    return true
  }

  /** Why the peer is given up; `'ping'`: ask for a sign of life. */
  tick(now: number, signs: Signs): string | undefined {
    const { pingAfterMs, pingTimeoutMs, firstFrameMs } = this.#settings
    if (!signs.settled) return now - this.#startedAt >= firstFrameMs ? 'the peer said nothing' : undefined
    if (signs.backlog === 0 || signs.taken !== this.#taken) {
      this.#taken = signs.taken
      this.#takenAt = now
    } else if (now - this.#takenAt >= STALLED_MS) return 'the peer takes nothing'
    if (this.#slow(now, signs)) return 'the peer does not complete a frame'
    // While we do not read, only what the peer takes shows that it is there.
    const aliveAt = signs.paused ? Math.max(signs.heardAt, this.#takenAt) : signs.heardAt
    if (this.#pingedAt === NEVER) {
      this.#suspect = false
      return now - aliveAt >= pingAfterMs ? 'ping' : undefined
    }
    if (now - this.#pingedAt < pingTimeoutMs || now - aliveAt < pingTimeoutMs) {
      this.#suspect = false
      return undefined
    }
    // After a stall of our loop, the answer may wait in the socket.
    if (this.#suspect) return 'the peer is silent'
    this.#suspect = true
    return undefined
  }

  #slow(now: number, { within, heardAt, paused }: Signs): boolean {
    if (!within || paused || heardAt !== this.#heardWithin || this.#withinSince === NEVER) {
      this.#withinSince = within ? now : NEVER
      this.#heardWithin = heardAt
    }
    return now - this.#withinSince >= SLOWEST_FRAME_MS
  }
}
