/**
 * What a TCP server of the mesh says before the stream of its handler or target begins: that the
 * connection is open, or why not. It follows mTLS, if both sides agreed on {@link TCP_ALPN}.
 *
 * One byte 0: open. Or 1, one byte with the length of a text, and the text: the code of an error,
 * or the refusal of an identity.
 */

/** The ALPN protocol ID. Peers that offer none get the bare stream. */
export const TCP_ALPN = 'inmesh-tcp/1'

const REFUSED = 1
const LONGEST_TEXT = 255

/** The connection is open. */
export const OPEN: Uint8Array = Uint8Array.of(0)

/** It is not, because of `text`. */
export function refusal(text: string): Uint8Array {
  const bytes = Buffer.from(text.slice(0, LONGEST_TEXT), 'latin1')
  return Buffer.concat([Uint8Array.of(REFUSED, bytes.length), bytes])
}

/** `refused` is `undefined` if the connection is open. */
export interface Greeting {
  readonly refused: string | undefined
  /** How many bytes it has. */
  readonly length: number
}

/** `undefined`: more bytes are needed; `'malformed'`: this is no greeting. */
export function readGreeting(bytes: Uint8Array): Greeting | 'malformed' | undefined {
  const [kind, length] = bytes
  if (kind === undefined) return undefined
  if (kind === 0) return { refused: undefined, length: 1 }
  if (kind !== REFUSED) return 'malformed'
  if (length === undefined || bytes.length < 2 + length) return undefined
  return { refused: Buffer.from(bytes.subarray(2, 2 + length)).toString('latin1'), length: 2 + length }
}
