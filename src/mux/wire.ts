/** The constants of the wire format `inmesh/1`. `docs/reference/wire-format.md` describes it. */

/** The ALPN protocol ID. */
export const ALPN_MUX = 'inmesh/1'

/** A client's first bytes. Neither a TLS record nor a request of HTTP begins with 0. */
export const PREFACE: Buffer = Buffer.from('\0inmesh/1', 'latin1')

/** `u24 length of the payload · u8 type · u8 flags · u32 stream`, big endian. */
export const FRAME_HEAD_BYTES = 9

/** A longer frame would hold up the calls beside it. */
export const MAX_PAYLOAD_BYTES = 16_384
/** A head may be longer, as over HTTP/2: gRPC has metadata, and a status has details. */
export const MAX_HEAD_BYTES = 61_440

export const FRAME = Object.freeze({
  SETTINGS: 0,
  REQUEST: 1,
  RESPONSE: 2,
  DATA: 3,
  TRAILERS: 4,
  RESET: 5,
  WINDOW: 6,
  PING: 7,
  GOAWAY: 8,
})

/** Flags. A type of frame knows those that its comment names; any other is a protocol error. */
export const FLAG = Object.freeze({
  /** REQUEST, RESPONSE, DATA: nothing follows from this side. */
  END: 1,
  /** REQUEST: the remaining time follows the path. */
  DEADLINE: 2,
  /** REQUEST: a trace context follows. */
  TRACE: 4,
  /** REQUEST: the number of earlier attempts follows. */
  ATTEMPTS: 8,
  /** RESPONSE: a reason phrase other than the standard one follows the status. */
  REASON: 16,
  /** PING: the answer to one. */
  ACK: 32,
  /** RESPONSE, TRAILERS: the load of the server, for a client that takes it. */
  LOAD: 64,
})

/** By type. */
export const FLAGS_OF: readonly number[] = Object.freeze([
  0,
  FLAG.END | FLAG.DEADLINE | FLAG.TRACE | FLAG.ATTEMPTS,
  FLAG.END | FLAG.REASON | FLAG.LOAD,
  FLAG.END,
  FLAG.LOAD,
  0,
  0,
  FLAG.ACK,
  0,
])

/** By type: whether it concerns the connection, so that its stream is 0. WINDOW may do both. */
export const ON_CONNECTION: readonly boolean[] = Object.freeze([
  true,
  false,
  false,
  false,
  false,
  false,
  false,
  true,
  true,
])

/** `u16 requests in flight · u32 µs of latency · u32 µs that the call took`. */
export const LOAD_BYTES = 10

/** Why a stream is reset. */
export const RESET = Object.freeze({
  /** The rest is not wanted: the answer is complete without it. */
  NO_ERROR: 0,
  CANCELLED: 1,
  /** Certainly not executed. */
  NOT_EXECUTED: 2,
  PROTOCOL_ERROR: 3,
  INTERNAL_ERROR: 4,
  HEAD_TOO_LARGE: 5,
})
export type ResetCode = (typeof RESET)[keyof typeof RESET]

/** Why a connection takes no more streams. */
export const GOAWAY = Object.freeze({
  NO_ERROR: 0,
  PROTOCOL_ERROR: 1,
  FLOW_CONTROL_ERROR: 2,
  /** The peer sends too much of something. */
  FLOOD: 3,
  /** The peer's certificate is refused; the reason says why. */
  IDENTITY_REFUSED: 4,
})
export type GoAwayCode = (typeof GOAWAY)[keyof typeof GOAWAY]

/** Keys of SETTINGS. Unknown ones are skipped. */
export const SETTING = Object.freeze({
  /** Streams that the sender serves at once. */
  MAX_STREAMS: 1,
  /** Bytes of one stream that the sender takes before it credits more. */
  STREAM_WINDOW: 2,
  /** The same for all streams together. */
  CONNECTION_WINDOW: 3,
  /** 1: the sender takes reports of load. */
  LOAD_REPORTS: 4,
})

/** No window may exceed it. */
export const MAX_WINDOW = 2 ** 31 - 1
/** The last stream of a connection; a client then opens another. */
export const LAST_STREAM = 2 ** 31 - 1
/** A GOAWAY or RESET carries at most so much text. */
export const MAX_REASON_BYTES = 128
