/**
 * One call on a session: what is queued to be sent within the peer's credit, and what has been
 * received and not yet read.
 *
 * - open: both halves may send
 * - half closed: one side has sent END or TRAILERS
 * - closed: both have, or one has reset it
 */
import type { LoadReport } from '../core/load-report.ts'
import { checkTrailers } from './head-writer.ts'
import type { ResetCode } from './wire.ts'

/** How a stream ended that did not end well. */
export interface MuxReset {
  /** `undefined`: the connection was lost. */
  readonly code: ResetCode | undefined
  readonly reason: string
  /** False: the peer has certainly not executed the request. */
  readonly executed: boolean
  readonly cause?: Error | undefined
  /** We have reset it, because the peer broke a rule. */
  readonly ours?: boolean
}

/**
 * The user of a stream. Called while a packet is read, in no call's async context; must not throw.
 */
export interface StreamEvents {
  /**
   * A client's stream: a head, informational below 200. `reason`: '' for the standard phrase.
   * `headers`: flat, names in lower case.
   */
  responseArrived(stream: MuxStream, status: number, reason: string, headers: string[], end: boolean): void
  /** `chunk` is a copy. Each byte is to be credited by {@link MuxStream.read}. */
  dataArrived(stream: MuxStream, chunk: Buffer, end: boolean): void
  /** The peer's half has ended with them. */
  trailersArrived(stream: MuxStream, headers: string[]): void
  /** The last event of a stream that did not end well. */
  wasReset(stream: MuxStream, reset: MuxReset): void
  /** After {@link MuxStream.write} returned false: there is room again. */
  drained(stream: MuxStream): void
  /** The last frame of our half is written, in another turn than `end` was called. */
  endSent?(stream: MuxStream): void
}

/** The session of a stream. */
export interface StreamHost {
  /** How much is read before it is credited. */
  readonly creditStep: number
  respond(
    stream: MuxStream,
    status: number,
    reason: string,
    headers: readonly string[],
    body: Uint8Array | undefined,
    end: boolean,
  ): void
  /** The stream has something to send. */
  ready(stream: MuxStream): void
  /** Credits bytes to the whole connection. */
  credit(bytes: number): void
  creditStream(stream: MuxStream, bytes: number): void
  reset(stream: MuxStream, code: ResetCode, reason: string): void
}

/** Bytes queued from which on a writer is to wait, and down to which it waits. */
const HIGH_WATER_BYTES = 65_536
const LOW_WATER_BYTES = 16_384

/** Places of chunks that are sent and still listed. */
const MOST_SENT_CHUNKS = 1_024

const NOTHING: readonly Uint8Array[] = Object.freeze([])

export class MuxStream {
  readonly id: number
  events: StreamEvents
  /** For the owner of the session: what it serves on the stream. */
  user: unknown = undefined
  /** @internal Bytes that the peer takes. */
  credit: number
  /** @internal Bytes that we take before more are credited. */
  window: number
  /** @internal Another open stream of the session; see {@link OpenStreams}. */
  link: MuxStream | undefined = undefined
  /** @internal It waits for its turn to send. */
  listed = false
  /** Bytes written and not yet sent. */
  queued = 0
  /** Our half has ended, or will after what is queued. */
  ending = false
  trailers: readonly string[] | undefined = undefined
  /**
   * On a server, what the next head or the trailers report, to a peer that takes it. On a client,
   * the last that has arrived.
   */
  load: LoadReport | undefined = undefined
  localEnded = false
  remoteEnded = false
  closed = false
  /** The final head of a response: sent by a server, received by a client. */
  answered = false
  /** @internal It is a server's. */
  serves = false
  /** @internal When it was opened. */
  openedAt = 0
  /** @internal The request was HEAD. */
  head = false
  /** @internal No body may arrive. */
  bodiless = false
  /** @internal Bytes of body that `content-length` announced; -1: it did not. */
  expected = -1
  /** @internal Bytes of body that have arrived. */
  arrived = 0
  readonly #host: StreamHost
  #chunks: readonly Uint8Array[] = NOTHING
  /** The first chunk that is not sent, and how much of it is. */
  #next = 0
  #sent = 0
  #wantsDrain = false
  /** What may still wait then. */
  #drainAt = LOW_WATER_BYTES
  /** Received and not read; and what it uses of the windows. */
  #unread = 0
  #charged = 0
  /** Read and not yet credited. */
  #uncredited = 0

  /** @internal By a session. */
  constructor(host: StreamHost, id: number, events: StreamEvents, credit: number, window: number) {
    this.#host = host
    this.id = id
    this.events = events
    this.credit = credit
    this.window = window
  }

  /**
   * A server's answer. `status` below 200: informational, and another follows. `reason`: '' for the
   * standard phrase.
   *
   * @throws HeadTooLarge, InvalidHead before anything was sent
   */
  respond(
    status: number,
    reason: string,
    headers: readonly string[],
    body: Uint8Array | string | undefined,
    end: boolean,
  ): void {
    if (this.closed) return
    if (this.answered || this.ending) throw new Error('a response after the final one')
    this.#host.respond(this, status, reason, headers, asBytes(body), end)
  }

  /**
   * Queues `chunk`, which must not change afterwards. False: wait for {@link StreamEvents.drained}.
   */
  write(chunk: Uint8Array | string): boolean {
    if (this.closed) return true
    if (this.ending) throw new Error('write after end')
    if (this.serves && !this.answered) throw new Error('a body before its head')
    const bytes = asBytes(chunk)!
    if (bytes.length > 0) {
      if (this.#chunks.length === 0) this.#chunks = [bytes]
      else (this.#chunks as Uint8Array[]).push(bytes)
      this.queued += bytes.length
      this.#host.ready(this)
    }
    // Once asked to wait, a writer is always notified, whatever it writes meanwhile.
    if (this.queued >= HIGH_WATER_BYTES) this.#wantsDrain = true
    return !this.#wantsDrain
  }

  /**
   * Whether all that was written is sent, within the peer's credit. False: wait for
   * {@link StreamEvents.drained}, which then follows.
   */
  sentAll(): boolean {
    if (this.queued === 0) return true
    this.#wantsDrain = true
    this.#drainAt = 0
    return false
  }

  /** Ends our half after what is queued. @throws HeadTooLarge, InvalidHead for the trailers */
  end(trailers?: readonly string[]): void {
    if (this.closed || this.ending) return
    if (this.serves && !this.answered) throw new Error('an end before the head')
    if (trailers !== undefined) checkTrailers(trailers)
    this.ending = true
    this.trailers = trailers
    this.#host.ready(this)
  }

  /** Credits bytes that the application has taken. */
  read(bytes: number): void {
    const unread = this.#unread
    const taken = Math.min(bytes, unread)
    if (taken <= 0) return
    const charge = taken === unread ? this.#charged : Math.floor((this.#charged * taken) / unread)
    this.#unread -= taken
    this.#charged -= charge
    this.#host.credit(charge)
    if (this.remoteEnded || this.closed) return
    this.#uncredited += charge
    if (this.#uncredited < this.#host.creditStep) return
    this.window += this.#uncredited
    this.#host.creditStream(this, this.#uncredited)
    this.#uncredited = 0
  }

  /** Our side gives it up; no event follows. What is unread is discarded. */
  reset(code: ResetCode, reason = ''): void {
    this.discardUnread()
    this.#host.reset(this, code, reason)
  }

  // For the session.

  /** @internal `charge`: what it uses of the windows. */
  received(bytes: number, charge: number): void {
    this.window -= charge
    this.arrived += bytes
    this.#unread += bytes
    this.#charged += charge
  }

  /** @internal */
  discardUnread(): void {
    if (this.#charged > 0) this.#host.credit(this.#charged)
    this.#unread = 0
    this.#charged = 0
  }

  /** @internal Copies the next `bytes` of what is queued to `target`. */
  copyTo(target: Uint8Array, at: number, bytes: number): void {
    let left = bytes
    let to = at
    while (left > 0) {
      const chunk = this.#chunks[this.#next]!
      const part = Math.min(left, chunk.length - this.#sent)
      target.set(this.#sent === 0 && part === chunk.length ? chunk : chunk.subarray(this.#sent, this.#sent + part), to)
      to += part
      left -= part
      this.#sent += part
      if (this.#sent < chunk.length) break
      this.#sent = 0
      ;(this.#chunks as (Uint8Array | undefined)[])[this.#next++] = undefined
    }
    this.queued -= bytes
    if (this.queued === 0) {
      this.#chunks = NOTHING
      this.#next = 0
    } else if (this.#next >= MOST_SENT_CHUNKS && this.#next * 2 >= this.#chunks.length) {
      // A writer that is always ahead.
      this.#chunks = this.#chunks.slice(this.#next)
      this.#next = 0
    }
  }

  /** @internal */
  sentSome(): void {
    if (!this.#wantsDrain || this.queued > this.#drainAt) return
    this.#wantsDrain = false
    this.#drainAt = LOW_WATER_BYTES
    this.events.drained(this)
  }

  /** @internal */
  close(): void {
    this.closed = true
    this.#chunks = NOTHING
    this.#next = 0
    this.queued = 0
  }
}

/** Until the owner of a session has set the events of a stream. */
export const UNOWNED: StreamEvents = Object.freeze({
  responseArrived() {},
  dataArrived() {},
  trailersArrived() {},
  wasReset() {},
  drained() {},
})

export function asBytes(chunk: Uint8Array | string | undefined): Uint8Array | undefined {
  return typeof chunk === 'string' ? Buffer.from(chunk) : chunk
}
