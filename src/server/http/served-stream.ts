/**
 * A stream that carries one request and its answer, of `inmesh/1` or of HTTP/2. A `MuxStream` is
 * one as it is.
 */
import type { LoadReport } from '../../core/load-report.ts'
import type { MuxReset } from '../../mux/stream.ts'
import type { ResetCode } from '../../mux/wire.ts'

/** The user of a stream. Called in no call's async context; must not throw. */
export interface ServedStreamEvents {
  /** `chunk` is a copy. Each byte is to be credited by {@link ServedStream.read}. */
  dataArrived(stream: ServedStream, chunk: Buffer, end: boolean): void
  /** The request has ended with them. Flat, names in lower case. */
  trailersArrived(stream: ServedStream, headers: string[]): void
  /** The last event of a stream that did not end well. */
  wasReset(stream: ServedStream, reset: MuxReset): void
  /** After {@link ServedStream.write} returned false: there is room again. */
  drained(stream: ServedStream): void
  /** The answer has been sent to its end. */
  endSent?(stream: ServedStream): void
}

export interface ServedStream {
  events: ServedStreamEvents
  /** What the final head reports. Set before it is sent. */
  load: LoadReport | undefined
  /** Bytes written and not yet sent. */
  readonly queued: number
  /** The answer ends after what is queued. */
  readonly ending: boolean
  /** It has been sent to its end. */
  readonly localEnded: boolean
  /** `status` below 200: informational, and another follows. `headers`: flat, in lower case. */
  respond(
    status: number,
    reason: string,
    headers: readonly string[],
    body: Uint8Array | string | undefined,
    end: boolean,
  ): void
  /** Queues `chunk`, which must not change afterwards. False: wait for `drained`. */
  write(chunk: Uint8Array | string): boolean
  /** Ends the answer after what is queued. */
  end(trailers?: readonly string[]): void
  /** Credits bytes that the application has taken. */
  read(bytes: number): void
  /** We give it up; no event follows. */
  reset(code: ResetCode, reason?: string): void
}
