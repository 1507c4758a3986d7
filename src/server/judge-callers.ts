/**
 * Judges the callers of open connections anew after a change of the trust bundle. One whose
 * certificate is trusted no more ends as if it had expired now, so that calls go on where the same
 * identity has shown another certificate.
 */
import type { Socket } from 'node:net'
import { certificateTimeOf } from '../core/certificate-time.ts'
import type { Clock } from '../core/clock.ts'
import type { PeerVerdict, PeerVerifier } from '../identity/peer-verifier.ts'
import { verifyAgain } from '../identity/tls-options.ts'
import type { Connection } from './connection.ts'
import type { CallerIdentity } from './inbound-call.ts'

export function judgeCallers(
  connections: Iterable<Connection>,
  verifier: PeerVerifier,
  clock: Clock,
  refused: (reason: string, socket: Socket) => void,
): void {
  const now = certificateTimeOf(clock).now()
  // Connections with one certificate share the object of its verdict.
  const verdicts = new Map<CallerIdentity, PeerVerdict>()
  for (const connection of connections) {
    const { caller, socket } = connection
    if (caller === undefined || connection.denied) continue
    const verdict = verdicts.get(caller) ?? verifyAgain(socket, verifier)
    if (verdict === undefined) continue
    verdicts.set(caller, verdict)
    if (verdict.ok) continue
    refused(verdict.reason, socket)
    connection.expiresAt = Math.min(connection.expiresAt, now)
    connection.retire(clock.now())
  }
}
