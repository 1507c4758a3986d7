/**
 * Tells a peer that is slow from one that has stopped: what bounds a body or a stream that its
 * caller has given no deadline.
 */
import type { Socket } from 'node:net'

/** Between two looks at a peer. */
export const STALL_CHECK_MS = 10_000
/** A peer that moves less than this in {@link STOPPED_MS} has stopped. */
const LEAST_BYTES = 1_024
/** Long, because the far system opens its window in steps of hundreds of kilobytes. */
const STOPPED_MS = 30_000
/**
 * On a connection with other streams bytes prove little: for so long one message may be under way.
 */
const LONGEST_MESSAGE_MS = 60_000

export class StallDetector {
  #count = -1
  #countedAt = 0
  #bytes = 0
  #movedAt = Number.NaN

  /** `bytes`: moved on a connection that has no other streams. The first look is never a stop. */
  stopped(bytes: number, now: number, patienceMs = STOPPED_MS): boolean {
    if (Number.isNaN(this.#movedAt) || bytes - this.#bytes >= LEAST_BYTES) {
      this.#bytes = bytes
      this.#movedAt = now
    }
    return now - this.#movedAt >= patienceMs
  }

  /** There was nothing to move. */
  rest(): void {
    this.#movedAt = Number.NaN
  }

  /** The same for one stream of many on a connection; `count`: messages that it has moved. */
  streamStopped(count: number, bytes: number, now: number): boolean {
    if (count !== this.#count) {
      this.#count = count
      this.#countedAt = now
      this.#movedAt = Number.NaN
    }
    return this.stopped(bytes, now) || now - this.#countedAt >= LONGEST_MESSAGE_MS
  }
}

/** A caller that is to send messages and sends none for a minute. */
export class IdleDetector {
  #count = -1
  #movedAt = 0

  idle(count: number, now: number): boolean {
    if (count !== this.#count) {
      this.#count = count
      this.#movedAt = now
    }
    return now - this.#movedAt >= LONGEST_MESSAGE_MS
  }
}

interface Handle {
  readonly bytesWritten?: number
  readonly writeQueueSize?: number
  /** Of TLS: the connection below. */
  readonly _parent?: Handle
}

/**
 * Bytes that the system has taken for the peer: `bytesWritten` counts what waits in this process as
 * well, and a chunk of many megabytes only at its end. Node shows it on the handle of the socket;
 * without that, what was handed over completely.
 */
export function flushedBytes(socket: Socket): number {
  const { _handle } = socket as { _handle?: Handle | null }
  const handle = _handle?._parent ?? _handle
  if (typeof handle?.bytesWritten === 'number') return handle.bytesWritten - (handle.writeQueueSize ?? 0)
  return (socket.bytesWritten ?? 0) - socket.writableLength
}
