/** Names each frame of one direction of a connection, for people who read a capture. */
import type { LoadReport } from '../core/load-report.ts'
import { readLatin1 } from './bytes.ts'
import { FrameReader } from './frame-reader.ts'
import { HeadReader } from './head-reader.ts'
import { decodeSettings, type PeerSettings } from './settings.ts'
import { FLAG, FRAME, GOAWAY, PREFACE, RESET } from './wire.ts'

/** A frame in words; what its type has not is `undefined`. */
export interface DescribedFrame {
  readonly type: string
  /** 0: the connection. */
  readonly stream: number
  /** Bytes of its payload. */
  readonly bytes: number
  readonly end?: true
  readonly method?: string
  readonly path?: string
  readonly status?: number
  readonly reason?: string
  /** `[name, value, ...]`. */
  readonly headers?: readonly string[]
  /** Bytes of a body that came with it. */
  readonly body?: number
  /** Of RESET and GOAWAY, in words. */
  readonly code?: string
  readonly lastStream?: number
  readonly credit?: number
  readonly settings?: Partial<PeerSettings>
  /** What the server reports of its load. */
  readonly load?: LoadReport
  readonly ack?: true
  /** Why a peer refuses it. */
  readonly problem?: string
}

const MOST_HEADERS = 8_192
const TYPES = wordsOf(FRAME)
const RESETS = wordsOf(RESET)
const GOAWAYS = wordsOf(GOAWAY)

function wordsOf(codes: Readonly<Record<string, number>>): ReadonlyMap<number, string> {
  return new Map(Object.entries(codes).map(([word, code]) => [code, word]))
}

/** One per direction; takes its bytes in order, in any pieces. */
export class FrameDescriber {
  /** Why nothing more is described. */
  stopped: string | undefined = undefined
  readonly #each: (frame: DescribedFrame) => void
  readonly #reader = new FrameReader(this)
  readonly #heads = new HeadReader(MOST_HEADERS)
  #preface: Buffer | undefined

  /** `fromClient`: the preface comes first. */
  constructor(fromClient: boolean, each: (frame: DescribedFrame) => void) {
    this.#each = each
    this.#preface = fromClient ? PREFACE : undefined
  }

  /** Whether a frame has begun and is not complete. */
  get within(): boolean {
    return this.#reader.within
  }

  push(bytes: Buffer): void {
    if (this.#preface === undefined) {
      this.#reader.push(bytes)
      return
    }
    const length = Math.min(this.#preface.length, bytes.length)
    this.#preface = length === this.#preface.length ? undefined : this.#preface.subarray(length)
    this.#reader.push(bytes.subarray(length))
  }

  /** @internal */
  frameTooLong(length: number): void {
    this.stopped = `a frame of ${length} bytes, which inmesh/1 has not`
    this.#reader.stop()
  }

  /** @internal */
  frameArrived(type: number, flags: number, stream: number, bytes: Buffer, from: number, to: number): void {
    const word = TYPES.get(type)
    if (word === undefined) {
      this.stopped = `a frame of the type ${type}, which inmesh/1 has not`
      this.#reader.stop()
      return
    }
    const end = (flags & FLAG.END) !== 0 && type !== FRAME.PING ? ({ end: true } as const) : undefined
    this.#each({ type: word, stream, bytes: to - from, ...end, ...this.#details(type, flags, bytes, from, to) })
  }

  /** Which rule of HTTP the last head breaks. */
  #fault(): Partial<DescribedFrame> | undefined {
    const { fault } = this.#heads
    return fault === undefined ? undefined : { problem: fault }
  }

  #load(flags: number): Partial<DescribedFrame> | undefined {
    if ((flags & FLAG.LOAD) === 0) return undefined
    const { inFlight, latencyMs, servedMs } = this.#heads.load(0)
    return { load: { inFlight, latencyMs, servedMs } }
  }

  #details(type: number, flags: number, bytes: Buffer, from: number, to: number): Partial<DescribedFrame> {
    const heads = this.#heads
    const tooShort = { problem: 'it is too short' }
    switch (type) {
      case FRAME.REQUEST: {
        if (!heads.request(flags, bytes, from, to)) return { problem: heads.problem! }
        const { method, path, headers, at } = heads
        return { method, path, headers, ...(to > at && { body: to - at }), ...this.#fault() }
      }
      case FRAME.RESPONSE: {
        if (!heads.response(flags, bytes, from, to)) return { problem: heads.problem! }
        const { status, reason, headers, at } = heads
        return {
          status,
          ...(reason !== '' && { reason }),
          ...this.#load(flags),
          headers,
          ...(to > at && { body: to - at }),
          ...this.#fault(),
        }
      }
      case FRAME.TRAILERS:
        return heads.trailers(flags, bytes, from, to)
          ? { ...this.#load(flags), headers: heads.headers, ...this.#fault() }
          : { problem: heads.problem! }
      case FRAME.SETTINGS: {
        const settings = decodeSettings(bytes, from, to)
        if (settings === undefined) return { problem: 'malformed settings' }
        const { takesLoad, ...bounds } = settings
        return { settings: takesLoad ? settings : bounds }
      }
      case FRAME.RESET:
        if (to === from) return tooShort
        return { code: wordOf(RESETS, bytes[from]!), reason: readLatin1(bytes, from + 1, to) }
      case FRAME.GOAWAY:
        if (to - from < 5) return tooShort
        return {
          lastStream: bytes.readUInt32BE(from),
          code: wordOf(GOAWAYS, bytes[from + 4]!),
          reason: readLatin1(bytes, from + 5, to),
        }
      case FRAME.WINDOW:
        return to - from === 4 ? { credit: bytes.readUInt32BE(from) } : { problem: 'it has not 4 bytes' }
      case FRAME.PING:
        return (flags & FLAG.ACK) === 0 ? {} : { ack: true }
      default:
        return {}
    }
  }
}

function wordOf(words: ReadonlyMap<number, string>, code: number): string {
  return words.get(code) ?? String(code)
}
