/**
 * What the client offers to an endpoint, best first. With TLS the peer chooses by ALPN; in
 * plaintext only an announcement of the peer makes it another than HTTP/1.1.
 */
import type { Endpoint } from '../../core/endpoint.ts'
import { HTTP1, HTTP2, MUX, type TransportPreference } from '../../core/transport.ts'

export type Offers = readonly string[]

/** What we speak. HTTP/2 costs both sides the most (docs/decisions/0041-http2.md). */
const SPOKEN: Offers = Object.freeze([MUX, HTTP1, HTTP2])
const HTTP1_ONLY: Offers = Object.freeze([HTTP1])
/** Each is one object, so that a change is seen by comparing two. */
const known = new Map<string, Offers>()

/** `refused`: the peer announced `inmesh/1` and did not speak it. */
export function offersTo(endpoint: Endpoint, preference: TransportPreference, refused: boolean): Offers {
  const { tls, transports } = endpoint
  if (!tls && transports === undefined) return HTTP1_ONLY
  const mux = preference !== 'http1' && !refused
  const common = SPOKEN.filter((one) => (one !== MUX || mux) && transports?.includes(one) !== false)
  if (common.length === 0) return HTTP1_ONLY
  return canonical(tls ? common : common.slice(0, 1))
}

function canonical(offers: Offers): Offers {
  const key = offers.join()
  let one = known.get(key)
  if (one === undefined) {
    one = Object.freeze([...offers])
    known.set(key, one)
  }
  return one
}

/** What is spoken on a connection to which `offers` were made. */
export function transportOf(offers: Offers, chosen: string | undefined, tls: boolean): string {
  return tls ? (chosen ?? HTTP1) : offers[0]!
}
