/**
 * Frames written and read byte by byte, apart from the engine's code: what an attacker sends, and
 * what the engine answers.
 */

export const TYPE = {
  settings: 0,
  request: 1,
  response: 2,
  data: 3,
  trailers: 4,
  reset: 5,
  window: 6,
  ping: 7,
  goAway: 8,
} as const
const TYPE_NAMES = Object.keys(TYPE) as (keyof typeof TYPE)[]

export const END = 1
export const ACK = 32
export const PREFACE = Buffer.from('\0inmesh/1', 'latin1')

/** `length`: what the frame claims. */
export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Buffer = Buffer.alloc(0),
  length = payload.length,
): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(length, 0, 3)
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

const u16 = (value: number): Buffer => Buffer.from([(value >> 8) & 255, value & 255])
const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

export type Fields = readonly (readonly [name: string | number, value: string])[]

/** A name as a number is a place in the static table. */
export function fields(list: Fields, count = list.length): Buffer {
  const parts = list.flatMap(([name, value]) => {
    const text = Buffer.from(value, 'latin1')
    const key =
      typeof name === 'number'
        ? Buffer.from([name])
        : Buffer.concat([Buffer.from([0, name.length]), Buffer.from(name, 'latin1')])
    return [key, u16(text.length), text]
  })
  return Buffer.concat([u16(count), ...parts])
}

export interface RequestParts {
  readonly method?: string | number
  readonly path?: string
  readonly headers?: Fields
  readonly body?: string | Buffer
  readonly flags?: number
}

/** With `host` unless headers are given. Ends unless flags are given. */
export function request(stream: number, parts: RequestParts = {}): Buffer {
  const { method = 'GET', path = '/', headers = [['host', 'inventory']], body = '', flags = END } = parts
  const verb =
    typeof method === 'number'
      ? Buffer.from([method])
      : Buffer.concat([Buffer.from([0, method.length]), Buffer.from(method, 'latin1')])
  const target = Buffer.from(path, 'latin1')
  const payload = Buffer.concat([verb, u16(target.length), target, fields(headers), Buffer.from(body as string)])
  return frame(TYPE.request, flags, stream, payload)
}

export function response(
  stream: number,
  status: number,
  { headers = [] as Fields, body = '', flags = END } = {},
): Buffer {
  return frame(TYPE.response, flags, stream, Buffer.concat([u16(status), fields(headers), Buffer.from(body)]))
}

export function data(stream: number, body: string | Buffer = '', flags = 0): Buffer {
  return frame(TYPE.data, flags, stream, Buffer.from(body as string))
}

export function trailers(stream: number, headers: Fields = []): Buffer {
  return frame(TYPE.trailers, 0, stream, fields(headers))
}

export function reset(stream: number, code = 1, reason = ''): Buffer {
  return frame(TYPE.reset, 0, stream, Buffer.concat([Buffer.from([code]), Buffer.from(reason)]))
}

export function window(stream: number, bytes: number): Buffer {
  return frame(TYPE.window, 0, stream, u32(bytes))
}

export function ping(payload: string | Buffer = '12345678', flags = 0): Buffer {
  return frame(TYPE.ping, flags, 0, Buffer.from(payload as string))
}

export function goAway(last: number, code = 0, reason = ''): Buffer {
  return frame(TYPE.goAway, 0, 0, Buffer.concat([u32(last), Buffer.from([code]), Buffer.from(reason)]))
}

/** Streams served, window of each, window of all. */
export function settings(maxStreams = 100, streamWindow = 262_144, connectionWindow = 4_194_304): Buffer {
  const pairs = [maxStreams, streamWindow, connectionWindow].map((value, i) => Buffer.concat([u16(i + 1), u32(value)]))
  return frame(TYPE.settings, 0, 0, Buffer.concat(pairs))
}

export interface RawFrame {
  readonly type: keyof typeof TYPE
  readonly flags: number
  readonly stream: number
  readonly payload: Buffer
}

/** The complete frames of `bytes`, behind the preface if it is there. */
export function parse(bytes: Buffer): RawFrame[] {
  const frames: RawFrame[] = []
  for (let at = bytes.subarray(0, 9).equals(PREFACE) ? 9 : 0; at + 9 <= bytes.length; ) {
    const length = bytes.readUIntBE(at, 3)
    const type = TYPE_NAMES[bytes[at + 3]!]
    if (type === undefined) throw new Error(`an unknown frame ${bytes[at + 3]} at ${at}`)
    frames.push({
      type,
      flags: bytes[at + 4]!,
      stream: bytes.readUInt32BE(at + 5),
      payload: bytes.subarray(at + 9, at + 9 + length),
    })
    at += 9 + length
  }
  return frames
}
