/**
 * Retires a connection when its peer's certificate expires, and cuts the calls that remain on it.
 * If the endpoint has shown a later certificate, the connection stays.
 */
import { certificateTimeOf } from '../core/certificate-time.ts'
import type { Clock } from '../core/clock.ts'

/**
 * A connection is replaced when this share of its peer's certificate is left, so that a renewed one
 * is seen in time.
 */
const RETIRE_AT_SHARE_LEFT = 0.1
/** Grace for answers after expiry. */
const ENDED_GRACE_MS = 1_000

/** A socket, with or without TLS. */
interface Connected {
  getPeerX509Certificate?(): { readonly validTo: string } | undefined
}

/** When the peer's certificate expires, wall clock in ms; `Infinity` without one. */
export function endOfPeer(socket: object | undefined): number {
  const certificate = (socket as Connected | undefined)?.getPeerX509Certificate?.()
  return certificate === undefined ? Number.POSITIVE_INFINITY : Date.parse(certificate.validTo)
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

/** A connection whose peer's certificate expires. */
interface Ending {
  readonly endsAt: number
  cut(cause: Error): void
}

/** The latest certificate that an endpoint has shown on any of its connections. */
export class PeerProof {
  #until = Number.NEGATIVE_INFINITY

  add({ endsAt }: Ending): void {
    if (endsAt > this.#until) this.#until = endsAt
  }

  /** Cuts the connections with an expired certificate, unless a later one was shown. */
  cutEnded(connections: ReadonlySet<Ending>, clock: Clock): void {
    if (!hasEnded(this.#until, clock, ENDED_GRACE_MS)) return
    for (const connection of [...connections]) {
      if (!hasEnded(connection.endsAt, clock, ENDED_GRACE_MS)) continue
      connection.cut(new Error(`the certificate of the peer ended at ${new Date(connection.endsAt).toISOString()}`))
    }
  }
}
