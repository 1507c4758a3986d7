/** What logs show of one call, beside what every call has. Made for calls that are shown. */
import type { TransportName } from './transport.ts'

export interface CallDetails {
  /** Without its query. `undefined`: the protocol has none. */
  readonly path: string | undefined
  /** HTTP or gRPC status of the answer; `undefined`: there is none. */
  readonly status: number | undefined
  readonly transport: TransportName | undefined
  /** Bytes of bodies or messages, as seen from here; `undefined`: unknown. */
  readonly bytesSent: number | undefined
  readonly bytesReceived: number | undefined
  /** On a server: where the connection comes from. */
  readonly peerAddress: string | undefined
}

/** The path of a request's target, without its query; some clients send a whole URL. */
export function pathOf(target: string): string {
  const end = target.search(/[?#]/)
  const path = end < 0 ? target : target.slice(0, end)
  return path.startsWith('/') ? path : path.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/]*/i, '') || '/'
}
