/**
 * Retires a connection when its peer's certificate expires, and cuts the calls that remain on it.
 * If the endpoint has shown a later certificate, the connection stays.
 */
import { certificateTimeOf } from '../core/certificate-time.ts'
import type { Clock } from '../core/clock.ts'
import { EndedGrace } from '../identity/ended-grace.ts'
import type { PeerVerifier } from '../identity/peer-verifier.ts'

/**
 * A connection is replaced when this share of its peer's certificate is left, so that a renewed one
 * is seen in time.
 */
const RETIRE_AT_SHARE_LEFT = 0.1

/** A socket, with or without TLS. */
interface Connected {
  getPeerX509Certificate?(): { readonly validTo: string; readonly raw: Buffer } | undefined
}

/** A certificate that a peer has shown. */
export interface ShownCertificate {
  /** DER. */
  readonly raw: Uint8Array
  /** Wall clock in ms. */
  readonly endsAt: number
}

/** The certificate of the peer; `undefined` without TLS. */
export function certificateOf(socket: object | undefined): ShownCertificate | undefined {
  const certificate = (socket as Connected | undefined)?.getPeerX509Certificate?.()
  return certificate && { raw: certificate.raw, endsAt: Date.parse(certificate.validTo) }
}

/**
 * The instant from which a connection whose peer's certificate ends at `endsAt` takes no more
 * calls.
 */
export function retirementOf(endsAt: number, clock: Clock): number {
  return clock.now() + (endsAt - certificateTimeOf(clock).now()) * (1 - RETIRE_AT_SHARE_LEFT)
}

/** By wall clock, because the monotonic clock pauses while a machine sleeps. */
export function hasEnded(endsAt: number, clock: Clock, graceMs = 0): boolean {
  return clock.wallNow() >= endsAt + graceMs && certificateTimeOf(clock).now() >= endsAt + graceMs
}

/** Why the connections to `service` are cut, and the calls on them end. */
export function deniedPeer(service: string): Error {
  return new Error(`an operator denied '${service}' all access`)
}

/** A connection whose peer's certificate expires, or is trusted no more. */
interface Ending {
  /** `undefined` before it is established, and without TLS. */
  readonly peer: ShownCertificate | undefined
  endsAt: number
  retireAt: number
  cut(cause: Error): void
}

/** The latest certificate that an endpoint has shown on any of its connections. */
export class PeerProof {
  #latest: ShownCertificate | undefined
  readonly #grace = new EndedGrace()

  add({ peer }: Pick<Ending, 'peer'>): void {
    if (peer !== undefined && peer.endsAt > this.#until) this.#latest = peer
  }

  /** Once a second: cuts connections with an expired certificate, unless a later one was shown. */
  cutEnded(connections: ReadonlySet<Ending>, clock: Clock): void {
    const graceMs = this.#grace.at(clock.now())
    if (!hasEnded(this.#until, clock, graceMs)) return
    for (const connection of [...connections]) {
      if (!hasEnded(connection.endsAt, clock, graceMs)) continue
      connection.cut(new Error(`the certificate of the peer ended at ${new Date(connection.endsAt).toISOString()}`))
    }
  }

  /**
   * After a change of the trust bundle: a connection whose peer's certificate is trusted no more
   * ends as if the certificate had expired now.
   */
  judge(connections: ReadonlySet<Ending>, verifier: PeerVerifier, clock: Clock): void {
    const now = certificateTimeOf(clock).now()
    for (const connection of connections) {
      if (connection.peer === undefined || verifier.verify(connection.peer.raw).ok) continue
      connection.endsAt = Math.min(connection.endsAt, now)
      connection.retireAt = Math.min(connection.retireAt, clock.now())
    }
    if (this.#latest === undefined || verifier.verify(this.#latest.raw).ok) return
    this.#latest = undefined
    for (const connection of connections) {
      if (!hasEnded(connection.endsAt, clock)) this.add(connection)
    }
  }

  get #until(): number {
    return this.#latest?.endsAt ?? Number.NEGATIVE_INFINITY
  }
}
