/**
 * A stream that carries one request and its answer, of `inmesh/1` or of HTTP/2. A `MuxStream` is
 * one as it is.
 */
import type { LoadReport } from '../../core/load-report.ts'
import type { MuxReset } from '../../mux/stream.ts'
import type { ResetCode } from '../../mux/wire.ts'

/** The user of a stream. Called in no call's async context; must not throw. */
export interface RequestStreamEvents {
  /** A head, informational below 200. `headers`: flat, names in lower case. */
  responseArrived(stream: RequestStream, status: number, reason: string, headers: string[], end: boolean): void
  /** `chunk` is a copy. Each byte is to be credited by {@link RequestStream.read}. */
  dataArrived(stream: RequestStream, chunk: Buffer, end: boolean): void
  /** The answer has ended with them. */
  trailersArrived(stream: RequestStream, headers: string[]): void
  /** The last event of a stream that did not end well. */
  wasReset(stream: RequestStream, reset: MuxReset): void
  /** After {@link RequestStream.write} returned false: there is room again. */
  drained(stream: RequestStream): void
}

export interface RequestStream {
  /** The request has been sent to its end. */
  readonly localEnded: boolean
  /** What came with the head in binary form. */
  readonly load: LoadReport | undefined
  /** Queues `chunk`, which must not change afterwards. False: wait for `drained`. */
  write(chunk: Uint8Array): boolean
  end(): void
  /** Credits bytes that the application has taken. */
  read(bytes: number): void
  /** We give it up; no event follows. */
  reset(code: ResetCode, reason?: string): void
}
