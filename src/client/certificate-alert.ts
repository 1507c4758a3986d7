/**
 * The alert with which a server's TLS rejects our certificate. With TLS 1.3 it arrives after the
 * handshake, and the server has executed nothing.
 */
import { type IdentityRefusal, refusedByServer } from '../net/identity-refusal.ts'

const REFUSED_BY_TLS = /^ERR_SSL_.*_ALERT_((?:[A-Z]+_){0,3}CERTIFICATE(?:_[A-Z]+){0,3}|UNKNOWN_CA|ACCESS_DENIED)$/
const REASON_OF_ALERT: Readonly<Record<string, string>> = Object.freeze({
  CERTIFICATE_REQUIRED: 'no-certificate',
  CERTIFICATE_EXPIRED: 'expired',
  UNKNOWN_CA: 'untrusted-issuer',
})

/** `undefined` for every other error. */
export function refusedByAlert(error: Error): IdentityRefusal | undefined {
  const alert = REFUSED_BY_TLS.exec((error as NodeJS.ErrnoException).code ?? '')?.[1]
  if (alert === undefined) return undefined
  return refusedByServer(REASON_OF_ALERT[alert] ?? alert.toLowerCase().replaceAll('_', '-'))
}
