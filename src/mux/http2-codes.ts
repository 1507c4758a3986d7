/** The codes of RESET as HTTP/2 says them (RFC 9113, 7), for streams that stand for ours. */
import { RESET, type ResetCode } from './wire.ts'

export const HTTP2_CODES: Readonly<Record<ResetCode, number>> = Object.freeze({
  [RESET.NO_ERROR]: 0,
  [RESET.CANCELLED]: 8,
  [RESET.NOT_EXECUTED]: 7,
  [RESET.PROTOCOL_ERROR]: 1,
  [RESET.INTERNAL_ERROR]: 2,
  [RESET.HEAD_TOO_LARGE]: 11,
})

const BY_CODE: ReadonlyMap<number, ResetCode> = new Map(
  Object.entries(HTTP2_CODES).map(([reset, code]) => [code, Number(reset) as ResetCode]),
)

/** Other codes are internal errors of the peer. */
export function resetOfHttp2(code: number): ResetCode {
  return BY_CODE.get(code) ?? RESET.INTERNAL_ERROR
}
