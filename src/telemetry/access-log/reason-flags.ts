/**
 * The flag of each error code in the access log: short, stable, and Envoy's own where Envoy has one
 * with that meaning. A code without a flag does not compile.
 */
import type { ErrorCode } from '../../core/errors.ts'

/** A flag, and whether Envoy's response flags have it, too. */
export interface ReasonFlag {
  readonly flag: string
  readonly ofEnvoy: boolean
}

const own = (flag: string): ReasonFlag => Object.freeze({ flag, ofEnvoy: false })
const envoy = (flag: string): ReasonFlag => Object.freeze({ flag, ofEnvoy: true })

export const REASON_FLAGS: Readonly<Record<ErrorCode, ReasonFlag>> = Object.freeze({
  'no-endpoints': envoy('UH'),
  'circuit-open': own('CO'),
  'concurrency-limited': envoy('UO'),
  'rate-limited': envoy('RL'),
  'global-rate-limited': own('RLG'),
  throttled: own('TH'),
  'queue-full': own('QF'),
  'deadline-exceeded': envoy('DT'),
  'attempt-timeout': envoy('UT'),
  cancelled: envoy('DC'),
  'connect-failed': envoy('UF'),
  'identity-rejected': own('ID'),
  'connection-lost': envoy('UC'),
  'protocol-error': envoy('UPE'),
  'refused-by-peer': own('RP'),
  overloaded: own('OV'),
  'server-error': own('SE'),
  'permission-denied': envoy('UAEX'),
  'response-too-large': own('TL'),
  'function-failed': own('FF'),
  'invalid-options': own('IO'),
  'registry-unavailable': own('RU'),
  'registry-refused': own('RR'),
  'join-refused': own('JR'),
  'not-in-mesh': own('NM'),
  closed: own('CL'),
})

/** `undefined` without a code; a later version may know more of them. */
export function flagOf(code: ErrorCode | undefined): string | undefined {
  return code === undefined ? undefined : REASON_FLAGS[code]?.flag
}
