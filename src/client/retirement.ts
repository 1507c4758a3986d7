/**
 * Judges connections anew after each change of the trust bundle, and spreads the retirement of
 * those that use our last certificate.
 */
import { certificateTimeOf, LEAP_GRACE_MS, LEAP_SPREAD_MS } from '../core/certificate-time.ts'
import type { Clock } from '../core/clock.ts'
import type { Endpoint } from '../core/endpoint.ts'
import type { Identity, IdentitySource } from '../identity/identity.ts'
import type { PeerVerifier } from '../identity/peer-verifier.ts'
import type { ClientIdentity } from './client-identity.ts'
import { deniedPeer } from './peer-end.ts'

export interface Retirement {
  readonly from: number
  readonly spreadMs: number
}

/**
 * Within `spreadMs`. After a leap of the wall clock they serve until every server has had the time
 * to renew its certificate, too, and end before servers refuse what they were opened with.
 */
export function retirement(clock: Clock, spreadMs: number): Retirement {
  const from = clock.now()
  const { leaptAt } = certificateTimeOf(clock)
  if (leaptAt === undefined) return { from, spreadMs }
  return { from: Math.max(from, leaptAt + LEAP_GRACE_MS / 2), spreadMs: Math.min(spreadMs, LEAP_SPREAD_MS) }
}

/** The connections of one endpoint. */
export interface FollowingPool {
  readonly endpoint: Endpoint
  judge(verifier: PeerVerifier): void
  cut(cause: Error): void
  retire(from: number, spreadMs: number): void
}

/** Tells `pools` of each change of `identity`. Returns how to stop. */
export function followIdentity(
  identity: ClientIdentity | undefined,
  clock: Clock,
  spreadMs: number,
  pools: ReadonlySet<FollowingPool>,
): (() => void) | undefined {
  if (identity === undefined) return undefined
  const { source, verifier } = identity
  let certificate = certificateNow(source)
  return source.onRotate((next: Identity) => {
    verifier.setTrust(next)
    for (const pool of [...pools]) {
      const { tls, service } = pool.endpoint
      if (!tls) continue
      // A denied service has no certificate that counts, so nothing goes on with it.
      if (verifier.deniesService(service)) pool.cut(deniedPeer(service))
      else pool.judge(verifier)
    }
    if (next.certificate === certificate) return
    certificate = next.certificate
    const over = retirement(clock, spreadMs)
    for (const pool of pools) pool.retire(over.from, over.spreadMs)
  })
}

function certificateNow(source: IdentitySource): string | undefined {
  try {
    return source.current.certificate
  } catch {
    // It arrives later.
    return undefined
  }
}
