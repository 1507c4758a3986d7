/** The error of a stream that did not end well, and what it proves. */
import type { MuxReset } from '../../mux/stream.ts'
import { RESET, type ResetCode } from '../../mux/wire.ts'

const NAMES = new Map<number, string>(Object.entries(RESET).map(([name, code]) => [code, name]))

export class LostStream extends Error {
  /** `undefined`: the connection was lost. */
  readonly reset: ResetCode | undefined
  /** False: the peer has certainly not executed the request. */
  readonly executed: boolean
  /** The peer's words, or those about the connection. */
  readonly reason: string
  /** The peer takes no more calls on the connection (GOAWAY). */
  readonly leftBehind: boolean

  constructor({ code, reason, executed, cause, ours }: MuxReset, leftBehind: boolean) {
    const why = reason === '' ? '' : `: ${reason}`
    const message =
      code === undefined
        ? (cause?.message ?? 'the peer closed the connection')
        : ours
          ? reason
          : `the peer reset the stream (${NAMES.get(code) ?? code})${why}`
    super(message, cause === undefined ? undefined : { cause })
    this.reset = code
    this.executed = executed
    this.reason = reason
    this.leftBehind = leftBehind
  }
}
