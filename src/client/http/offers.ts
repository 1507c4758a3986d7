/**
 * What the client offers to an endpoint, best first. With TLS the peer chooses by ALPN; in
 * plaintext only an announcement of the peer makes it more than HTTP/1.1.
 */
import type { Endpoint } from '../../core/endpoint.ts'
import { HTTP1, MUX, type TransportPreference } from '../../core/transport.ts'

export type Offers = readonly string[]

// Each is one object, so that a change is seen by comparing two.
const HTTP1_ONLY: Offers = Object.freeze([HTTP1])
const MUX_ONLY: Offers = Object.freeze([MUX])
const MUX_FIRST: Offers = Object.freeze([MUX, HTTP1])

/** `refused`: the peer announced `inmesh/1` and did not speak it. */
export function offersTo(endpoint: Endpoint, preference: TransportPreference, refused: boolean): Offers {
  const { tls, transports } = endpoint
  if (preference === 'http1' || refused) return HTTP1_ONLY
  if (!tls) return transports?.includes(MUX) === true ? MUX_ONLY : HTTP1_ONLY
  return transports === undefined || transports.includes(MUX) ? MUX_FIRST : HTTP1_ONLY
}

/** What is spoken on a connection to which `offers` were made. */
export function transportOf(offers: Offers, chosen: string | undefined, tls: boolean): string {
  return tls ? (chosen ?? HTTP1) : offers[0]!
}
