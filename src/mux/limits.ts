/** Bounds that no option changes. Each states its source. */

export interface FloodLimits {
  /** How many more streams may be reset at once than answered per window. */
  readonly resets: number
  /** A stream that is reset before this age is reset at once, in ms. */
  readonly instantMs: number
  /** The same for streams that lived longer, up to {@link youngMs}. */
  readonly lateResets: number
  /** A stream reset after this age is a cancelled call, in ms. */
  readonly youngMs: number
  readonly pings: number
  /** Frames without content beyond those that we have caused. */
  readonly frames: number
  /** A window is between half and all of it, in ms. */
  readonly windowMs: number
}

/** As for HTTP/2 (`LENIENT_LIMITS`): clients cancel hundreds of attempts a second by policy. */
export const FLOOD_LIMITS: FloodLimits = Object.freeze({
  resets: 1_000,
  instantMs: 100,
  lateResets: 10_000,
  youngMs: 1_000,
  pings: 1_000,
  frames: 10_000,
  windowMs: 10_000,
})

/**
 * Bytes that a DATA frame uses of both windows beside its payload: about what the object costs that
 * holds it. Frames of one byte cannot fill the memory with objects.
 */
export const FRAME_CHARGE_BYTES = 64

/** A peer that takes nothing for so long while bytes wait for it is lost, in ms. */
export const STALLED_MS = 30_000

/** How long a frame may take from its first byte to its last, in ms. */
export const SLOWEST_FRAME_MS = 10_000

/** Between a GOAWAY with an error and the end of the socket, in ms. */
export const LINGER_MS = 1_000
