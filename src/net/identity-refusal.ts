/**
 * Notifies a client that the server rejects its certificate: in a header of HTTP/1.1, in the GOAWAY
 * of HTTP/2.
 */

const CODE = 'identity-rejected'
const REASON = /^identity-rejected; reason=([a-z][a-z-]{0,39})(?:; .*)?$/s

/**
 * The value of `inmesh-not-executed`, and the debug data of a GOAWAY. `reason`: a `PeerRefusal`, or
 * `plaintext`. `notice`: for people.
 */
export function identityRefusal(reason: string, notice?: string): string {
  return `${CODE}; reason=${reason}${notice === undefined ? '' : `; ${notice}`}`
}

/**
 * The reason in what a server sent; `undefined` if it is something else. The bare code means an
 * expired certificate.
 */
export function reasonOfRefusal(text: unknown): string | undefined {
  if (typeof text !== 'string' || !text.startsWith(CODE)) return undefined
  return text === CODE ? 'expired' : REASON.exec(text)?.[1]
}

/** The cause of a call's error. */
export interface IdentityRefusal extends Error {
  /** A `PeerRefusal`, or the name of a TLS alert. */
  readonly reason: string
}

export function refusedByServer(reason: string): IdentityRefusal {
  const what = reason === 'plaintext' ? 'it requires mutual TLS, and we spoke plaintext' : 'it refused our certificate'
  return Object.assign(new Error(`${what} (${reason})`), { reason })
}
