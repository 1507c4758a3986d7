/**
 * Tells a slow peer from a stalled one. This bounds bodies and streams whose caller gave no
 * deadline.
 */
import type { Socket } from 'node:net'

/** Interval between checks of a peer. */
export const STALL_CHECK_MS = 10_000
/** A peer that moves fewer bytes than this within {@link STALLED_MS} has stalled. */
const MIN_BYTES = 1_024
/** Long, because the peer's system opens its window in steps of hundreds of kilobytes. */
const STALLED_MS = 30_000
/** One message may take this long, since other streams move bytes on the same connection. */
const MESSAGE_MS = 60_000

export class StallDetector {
  #count = -1
  #countedAt = 0
  #bytes = 0
  #movedAt = Number.NaN

  /** `bytes`: moved so far on a connection without other streams. The first check never stalls. */
  stalled(bytes: number, now: number, patienceMs = STALLED_MS): boolean {
    if (Number.isNaN(this.#movedAt) || bytes - this.#bytes >= MIN_BYTES) {
      this.#bytes = bytes
      this.#movedAt = now
    }
    return now - this.#movedAt >= patienceMs
  }

  /** Nothing waits for the peer. */
  reset(): void {
    this.#movedAt = Number.NaN
  }

  /** For one stream of many on a connection. `count`: messages that it has moved. */
  streamStalled(count: number, bytes: number, now: number): boolean {
    if (count !== this.#count) {
      this.#count = count
      this.#countedAt = now
      this.#movedAt = Number.NaN
    }
    return this.stalled(bytes, now) || now - this.#countedAt >= MESSAGE_MS
  }
}

/** Detects a caller that should send messages and sends none for a minute. */
export class IdleDetector {
  #count = -1
  #movedAt = 0

  idle(count: number, now: number): boolean {
    if (count !== this.#count) {
      this.#count = count
      this.#movedAt = now
    }
    return now - this.#movedAt >= MESSAGE_MS
  }
}

interface Handle {
  readonly bytesWritten?: number
  readonly writeQueueSize?: number
  /** The connection below TLS. */
  readonly _parent?: Handle
}

/**
 * Bytes that the kernel has accepted. `socket.bytesWritten` also counts what waits in this process;
 * Node has the exact number on the socket's undocumented handle.
 */
export function flushedBytes(socket: Socket): number {
  const { _handle } = socket as { _handle?: Handle | null }
  const handle = _handle?._parent ?? _handle
  if (typeof handle?.bytesWritten === 'number') return handle.bytesWritten - (handle.writeQueueSize ?? 0)
  return (socket.bytesWritten ?? 0) - socket.writableLength
}
