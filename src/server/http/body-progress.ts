/**
 * Lets a body take longer than the server's default timeout while it moves: the request's before
 * the answer's head, the answer's after it.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { flushedBytes, STALL_CHECK_MS, StallDetector } from '../stall-detector.ts'

export class BodyProgress {
  readonly #request: IncomingMessage
  readonly #response: ServerResponse
  readonly #socket: Socket
  readonly #stall = new StallDetector()
  #checked = false
  /** The upload has ended after the timeout; the answer then gets the whole timeout once more. */
  #uploaded = false

  constructor(request: IncomingMessage, response: ServerResponse, socket: Socket) {
    this.#request = request
    this.#response = response
    this.#socket = socket
  }

  /** When to check again; `undefined`: the time for the answer is over, or the peer has stalled. */
  nextCheckMs(now: number, timeoutMs: number): number | undefined {
    const first = !this.#checked
    this.#checked = true
    if (this.#response.headersSent) {
      const waiting = this.#socket.writableLength > 0 || this.#response.writableNeedDrain
      if (!waiting) this.#stall.reset()
      else if (this.#stall.stalled(flushedBytes(this.#socket), now)) return undefined
      return STALL_CHECK_MS
    }
    if (!this.#request.complete) {
      return this.#stall.stalled(this.#socket.bytesRead, now, STALL_CHECK_MS) ? undefined : STALL_CHECK_MS
    }
    if (first || this.#uploaded) return undefined
    this.#uploaded = true
    return timeoutMs
  }
}
