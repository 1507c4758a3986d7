/**
 * What the server uses of the stream that carries a call: one of HTTP/2, or one of the mux that
 * stands for it.
 */
import type { EventEmitter } from 'node:events'
import type { OutgoingHttpHeaders, ServerStreamResponseOptions } from 'node:http2'
import type { AnswerLoad } from '../server-load.ts'

export interface ServedStream extends EventEmitter {
  readonly destroyed: boolean
  readonly closed: boolean
  /** The peer has reset it, or is gone. */
  readonly aborted: boolean
  readonly headersSent: boolean
  respond(headers?: OutgoingHttpHeaders, options?: ServerStreamResponseOptions): void
  sendTrailers(trailers: OutgoingHttpHeaders): void
  /** Resets it. `code`: of HTTP/2. */
  close(code?: number): void
  /** What arrives is read from now on, if only to be dropped. */
  resume(): unknown
}

/** The call that sends the headers. */
export interface HeadersOwner {
  /** The headers cannot be sent, and the caller receives UNKNOWN. */
  headersFailed(error: unknown): void
  /** What is reported with the status of a finished call. */
  loadReport(): AnswerLoad | undefined
}
