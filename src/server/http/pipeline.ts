/**
 * Requests that a client sends ahead of the answers (RFC 9112, 9.3.2). Answers leave in order, so
 * each handler starts when the answer before it is complete, and the socket is not read while
 * enough requests wait.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { Socket } from 'node:net'
import { outsideCalls } from '../../core/context.ts'

/**
 * Node parses what it has read in one piece, so more than these may wait, but only of one piece.
 */
const MOST_WAITING = 16

/** What a pipeline needs of its connection. */
interface Line {
  readonly socket: Socket
  readonly inFlight: number
  readonly closing: boolean
}

export class Pipeline {
  readonly #line: Line
  #waiting: (() => void)[] = []
  #paused = false
  #late = false

  constructor(line: Line) {
    this.#line = line
  }

  /**
   * `serve` runs once nothing before it is in progress, in the context of today and outside of any
   * call.
   */
  wait(serve: () => void): void {
    const inContext = AsyncLocalStorage.snapshot()
    this.#waiting.push(() => inContext(outsideCalls, serve))
    if (this.#paused || this.#waiting.length < MOST_WAITING) return
    this.#paused = true
    this.#line.socket.pause()
  }

  get empty(): boolean {
    return this.#waiting.length === 0
  }

  /**
   * The rest of a request did not come in time. True if that is because we do not read; then the
   * connection ends after the answers to the requests that have come.
   */
  excuses(): boolean {
    this.#late ||= this.#paused
    return this.#paused
  }

  /** An answer is complete. */
  next(): void {
    const { socket } = this.#line
    // A request that is refused is answered at once, and the next has its turn.
    while (this.#waiting.length > 0 && this.#line.inFlight === 0) {
      if (this.#line.closing || socket.destroyed) this.#waiting = []
      else this.#waiting.shift()!()
    }
    if (!this.#paused || this.#waiting.length >= MOST_WAITING / 2) return
    if (this.#late) {
      if (this.empty && this.#line.inFlight === 0) socket.destroySoon()
      return
    }
    this.#paused = false
    // Node itself may have paused it, because the client does not take the answers.
    if ((socket as { _paused?: boolean })._paused !== true) socket.resume()
  }
}
