/**
 * Clock skew, and what it means for the validity of certificates.
 */
import { certificateTimeOf } from '../core/certificate-time.ts'
import type { Clock } from '../core/clock.ts'

/** A joiner whose clock differs by more is refused. */
export const SKEW_REFUSED_MS = 300_000
/** A difference above this is reported. */
export const SKEW_REPORTED_MS = 30_000
/**
 * Certificates begin so long before their issue. An early beginning is harmless, because each
 * certificate has a new key; an early one keeps certificates valid for late clocks, and after a
 * wrong clock was put right (decision 0018).
 */
export const BACKDATED_MS = 30 * 24 * 3_600_000

/** `undefined` if two clocks may differ so; otherwise the mistake in words. */
export function clockMistake(ours: number, theirs: number): string | undefined {
  const offsetMs = ours - theirs
  if (Math.abs(offsetMs) <= SKEW_REFUSED_MS) return undefined
  const way = offsetMs < 0 ? 'behind' : 'ahead of'
  return `The clock of this machine is ${Math.round(Math.abs(offsetMs) / 1000)} s ${way} the registry's; at most ${SKEW_REFUSED_MS / 1000} s are accepted. Set the clock that is wrong.`
}

interface Period {
  readonly notBefore: number
  readonly notAfter: number
}

/** Whether a certificate of ours is good to show. */
export function isValidNow({ notBefore, notAfter }: Period, clock: Clock): boolean {
  return clock.wallNow() >= notBefore && certificateTimeOf(clock).now() < notAfter
}

/**
 * When a certificate was issued, as far as its times tell. An older registry backdates less than
 * its life.
 */
export function issuedAt({ notBefore, notAfter }: Period): number {
  return notBefore + BACKDATED_MS < notAfter ? notBefore + BACKDATED_MS : notBefore
}
