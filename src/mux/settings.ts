/** Bounds of one side of a session, and how SETTINGS carry those that concern the peer. */
import { FRAME_CHARGE_BYTES } from './limits.ts'
import { MAX_PAYLOAD_BYTES, MAX_WINDOW, SETTING } from './wire.ts'

export interface MuxSettings {
  /** Streams that the peer may have open. A client that serves none announces 0. */
  readonly maxStreams: number
  /** Bytes of one stream that are unread at most. */
  readonly streamWindow: number
  /**
   * Bytes of all streams that are unread at most. When they are, every stream waits, so it holds
   * the windows of more streams than are likely to be left unread.
   */
  readonly connectionWindow: number
  /** Headers of one head. */
  readonly maxHeaders: number
  /** Silence after which a PING asks for a sign of life, in ms. */
  readonly pingAfterMs: number
  /** How long the peer may take to answer it, in ms. */
  readonly pingTimeoutMs: number
  /** From the connection to the peer's SETTINGS, in ms. */
  readonly firstFrameMs: number
  /** Whether the peer may report its load. @defaultValue false */
  readonly takesLoad?: boolean
}

export const MUX_DEFAULTS: MuxSettings = Object.freeze({
  maxStreams: 1_000,
  streamWindow: 262_144,
  connectionWindow: 67_108_864,
  maxHeaders: 2_000,
  pingAfterMs: 10_000,
  pingTimeoutMs: 5_000,
  firstFrameMs: 10_000,
})

/** What the peer has announced. */
export interface PeerSettings {
  maxStreams: number
  streamWindow: number
  connectionWindow: number
  /** It takes reports of load. */
  takesLoad: boolean
}

/** Holds one full frame: smaller ones make many small frames. */
const LEAST_WINDOW = MAX_PAYLOAD_BYTES + FRAME_CHARGE_BYTES

/** Pairs of u16 key and u32 value. */
export function encodeSettings(settings: MuxSettings): Buffer {
  const pairs = [
    [SETTING.MAX_STREAMS, settings.maxStreams],
    [SETTING.STREAM_WINDOW, settings.streamWindow],
    [SETTING.CONNECTION_WINDOW, settings.connectionWindow],
    ...(settings.takesLoad === true ? [[SETTING.LOAD_REPORTS, 1] as const] : []),
  ] as const
  const bytes = Buffer.allocUnsafe(pairs.length * 6)
  let at = 0
  for (const [key, value] of pairs) {
    at = bytes.writeUInt16BE(key, at)
    at = bytes.writeUInt32BE(value, at)
  }
  return bytes
}

/** `undefined` if they are malformed or incomplete, or a window is too small. */
export function decodeSettings(bytes: Buffer, from: number, to: number): PeerSettings | undefined {
  if ((to - from) % 6 !== 0) return undefined
  const settings: PeerSettings = { maxStreams: -1, streamWindow: -1, connectionWindow: -1, takesLoad: false }
  for (let at = from; at < to; at += 6) {
    const value = bytes.readUInt32BE(at + 2)
    if (value > MAX_WINDOW) return undefined
    switch (bytes.readUInt16BE(at)) {
      case SETTING.MAX_STREAMS:
        settings.maxStreams = value
        break
      case SETTING.STREAM_WINDOW:
        settings.streamWindow = value
        break
      case SETTING.CONNECTION_WINDOW:
        settings.connectionWindow = value
        break
      case SETTING.LOAD_REPORTS:
        settings.takesLoad = value > 0
        break
    }
  }
  const { maxStreams, streamWindow, connectionWindow } = settings
  return maxStreams < 0 || streamWindow < LEAST_WINDOW || connectionWindow < LEAST_WINDOW ? undefined : settings
}
