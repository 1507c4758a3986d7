/**
 * A connection in memory, on which a test moves each byte: two sockets whose writes wait until they
 * are carried over.
 */
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'

/** Reused for every delivery, as a socket with `onread` reuses its buffer. */
const READ_INTO = Buffer.alloc(262_144)

interface Write {
  bytes: Buffer
  done: () => void
}

export class WireSocket extends Duplex {
  /** As of a TLS socket: a write's memory is in use until its callback. */
  encrypted = false
  /** Bytes written and not yet carried over. */
  waiting = 0
  written = 0
  readonly #writes: Write[] = []

  setNoDelay(): this {
    return this
  }

  setKeepAlive(): this {
    return this
  }

  setTimeout(): this {
    return this
  }

  ref(): this {
    return this
  }

  unref(): this {
    return this
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.waiting += chunk.length
    this.written += chunk.length
    this.#writes.push({ bytes: chunk, done })
  }

  override _final(done: () => void): void {
    done()
  }

  /** Takes up to `most` bytes off the wire, as a view of memory that the next call reuses. */
  takeBytes(most: number): Buffer {
    let at = 0
    const limit = Math.min(most, READ_INTO.length)
    while (at < limit && this.#writes.length > 0) {
      const write = this.#writes[0]!
      const count = Math.min(limit - at, write.bytes.length)
      write.bytes.copy(READ_INTO, at, 0, count)
      at += count
      this.waiting -= count
      if (count === write.bytes.length) {
        this.#writes.shift()
        write.done()
      } else write.bytes = write.bytes.subarray(count)
    }
    return READ_INTO.subarray(0, at)
  }

  asSocket(): Socket {
    return this as unknown as Socket
  }
}

/** Carries up to `most` bytes from `from` to a reader, and spoils the memory afterwards. */
export function carry(from: WireSocket, to: { receive(bytes: Buffer): void }, most = Number.POSITIVE_INFINITY): number {
  const bytes = from.takeBytes(most)
  if (bytes.length > 0) to.receive(bytes)
  bytes.fill(0xee)
  return bytes.length
}

/** After the ticks that are scheduled now. */
export function tick(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
