/**
 * Encodes and decodes the two messages of the standard health service (grpc.health.v1). They have
 * one field each and never change, so no protobuf package is needed.
 */

export const HEALTH_SERVICE = '/grpc.health.v1.Health/'

/** `HealthCheckResponse.ServingStatus`. */
export const SERVING = 1
export const NOT_SERVING = 2
export const SERVICE_UNKNOWN = 3

/** Longest name of a service; none is longer. */
const LONGEST_NAME = 512

/** `HealthCheckResponse { ServingStatus status = 1 }`. */
export function encodeState(state: number): Buffer {
  return Buffer.from([0x08, state])
}

/** 0 (UNKNOWN) for a malformed message. */
export function decodeState(bytes: Buffer): number {
  return bytes.length >= 2 && bytes[0] === 0x08 ? bytes[1]! : 0
}

/** `HealthCheckRequest { string service = 1 }`. */
export function encodeName(name: string): Buffer {
  if (name === '') return Buffer.alloc(0)
  const text = Buffer.from(name)
  if (text.length > LONGEST_NAME) throw new RangeError(`a service's name has at most ${LONGEST_NAME} bytes`)
  const length = text.length < 0x80 ? [text.length] : [(text.length & 0x7f) | 0x80, text.length >> 7]
  return Buffer.concat([Buffer.from([0x0a, ...length]), text])
}

/** @throws RangeError for a malformed message */
export function decodeName(bytes: Buffer): string {
  if (bytes.length === 0) return ''
  let length = 0
  let at = 1
  for (let shift = 0; at < bytes.length && shift < 28; shift += 7) {
    const byte = bytes[at++]!
    length |= (byte & 0x7f) << shift
    if (byte < 0x80) break
  }
  if (bytes[0] !== 0x0a || length > LONGEST_NAME || at + length > bytes.length) {
    throw new RangeError('no HealthCheckRequest')
  }
  return bytes.toString('utf8', at, at + length)
}
