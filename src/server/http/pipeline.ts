/**
 * Requests that a client sends ahead of the answers (RFC 9112, 9.3.2). Answers leave in order, so
 * each handler starts after the previous answer, and the socket pauses while many requests wait.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { Socket } from 'node:net'
import { outsideCalls } from '../../core/context.ts'

/** Pauses the socket. More can wait, because Node parses all that one read has returned. */
const PAUSE_AT = 16

interface PipelinedConnection {
  readonly socket: Socket
  readonly inFlight: number
  readonly closing: boolean
}

export class Pipeline {
  readonly #connection: PipelinedConnection
  #waiting: (() => void)[] = []
  #paused = false
  #timedOut = false

  constructor(connection: PipelinedConnection) {
    this.#connection = connection
  }

  /** Runs `serve` after all earlier requests, in the present async context and outside of calls. */
  enqueue(serve: () => void): void {
    const inContext = AsyncLocalStorage.snapshot()
    this.#waiting.push(() => inContext(outsideCalls, serve))
    if (this.#paused || this.#waiting.length < PAUSE_AT) return
    this.#paused = true
    this.#connection.socket.pause()
  }

  get empty(): boolean {
    return this.#waiting.length === 0
  }

  /**
   * Whether a request timed out because we had paused the socket. The connection then closes after
   * the answers to the requests that have arrived.
   */
  causedTimeout(): boolean {
    this.#timedOut ||= this.#paused
    return this.#paused
  }

  /** The answer in progress is complete. */
  next(): void {
    const { socket } = this.#connection
    // A refused request is answered at once, so several may be served here.
    while (this.#waiting.length > 0 && this.#connection.inFlight === 0) {
      if (this.#connection.closing || socket.destroyed) this.#waiting = []
      else this.#waiting.shift()!()
    }
    if (!this.#paused || this.#waiting.length >= PAUSE_AT / 2) return
    if (this.#timedOut) {
      if (this.empty && this.#connection.inFlight === 0) socket.destroySoon()
      return
    }
    this.#paused = false
    // Node pauses the socket as well when the client does not read its answers.
    if ((socket as { _paused?: boolean })._paused !== true) socket.resume()
  }
}
