/** Tells by its first bytes what one direction of a connection speaks. */

export type Protocol = 'client' | 'server' | 'unknown' | 'tls' | 'http/1.1' | 'h2'

/** Bytes that a guess needs. */
export const GUESS_BYTES = 9

const PREFACE = Buffer.from('\0inmesh/1', 'latin1')
const LONGEST_FRAME = 16_384
const LAST_TYPE = 8
const FLAGS = 63
/** SETTINGS, PING and GOAWAY; WINDOW. */
const OF_CONNECTION: ReadonlySet<number> = new Set([0, 7, 8])
const OF_EITHER: ReadonlySet<number> = new Set([6])
const HTTP1 = /^(?:HTTP\/1\.|[A-Z]{3,10} [/*h])/

/**
 * `client` and `server` speak inmesh/1. Without the beginning of a connection, any bytes that could
 * be a frame count.
 */
export function guessProtocol(bytes: Buffer, fromStart: boolean): Protocol {
  if (bytes.subarray(0, PREFACE.length).equals(PREFACE)) return 'client'
  if (bytes[0]! >= 0x14 && bytes[0]! <= 0x18 && bytes[1] === 3 && bytes[2]! <= 4) return 'tls'
  const text = bytes.toString('latin1', 0, GUESS_BYTES)
  if (text.startsWith('PRI * HT')) return 'h2'
  if (HTTP1.test(text)) return 'http/1.1'
  const [type, flags, stream] = [bytes[3]!, bytes[4]!, bytes.readUInt32BE(5)]
  const length = bytes.readUIntBE(0, 3)
  // SETTINGS of HTTP/2.
  if (type === 4 && stream === 0) return 'h2'
  if (type > LAST_TYPE || (flags & ~FLAGS) !== 0 || length > LONGEST_FRAME) return 'unknown'
  if (fromStart) return type === 0 && stream === 0 && length > 0 && length % 6 === 0 ? 'server' : 'unknown'
  return OF_EITHER.has(type) || OF_CONNECTION.has(type) === (stream === 0) ? 'server' : 'unknown'
}

/** Why a direction is not decoded. */
export function whyNot(protocol: Protocol): string {
  switch (protocol) {
    case 'tls':
      return 'TLS: the frames are encrypted, and a capture has no keys; capture a connection without TLS'
    case 'http/1.1':
      return 'HTTP/1.1, not inmesh/1'
    case 'h2':
      return 'HTTP/2, not inmesh/1'
    default:
      return 'neither inmesh/1 nor TLS nor HTTP'
  }
}
