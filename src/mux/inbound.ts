/**
 * The receiving half of a session: checks each frame of the peer, and notifies streams and session.
 * A stream that breaks a rule is reset; a frame that no peer may send ends the connection.
 */
import { readLatin1 } from './bytes.ts'
import { isBodiless } from './field-rules.ts'
import type { FloodReason } from './flood-guard.ts'
import { FrameReader } from './frame-reader.ts'
import { HeadReader } from './head-reader.ts'
import type { InboundHost } from './inbound-host.ts'
import { FRAME_CHARGE_BYTES } from './limits.ts'
import { decodeSettings, type MuxSettings } from './settings.ts'
import type { MuxStream } from './stream.ts'
import {
  FLAG,
  FLAGS_OF,
  FRAME,
  GOAWAY,
  LAST_STREAM,
  MAX_REASON_BYTES,
  MAX_WINDOW,
  ON_CONNECTION,
  PREFACE,
  RESET,
  type ResetCode,
} from './wire.ts'

export class Inbound {
  readonly reader: FrameReader
  /** When the last complete frame arrived. */
  heardAt: number
  /** When what is being received arrived. */
  now: number
  /** How much of the preface has arrived. */
  #preface: number
  readonly #host: InboundHost
  readonly #settings: MuxSettings
  readonly #heads: HeadReader
  /** What the last GOAWAY of the peer named. */
  #peerServesUntil = LAST_STREAM

  constructor(host: InboundHost, settings: MuxSettings, now: number) {
    this.#host = host
    this.#settings = settings
    this.#preface = host.side === 'server' ? 0 : PREFACE.length
    this.#heads = new HeadReader(settings.maxHeaders)
    this.heardAt = this.now = now
    this.reader = new FrameReader(this)
  }

  receive(bytes: Buffer): void {
    if (this.#preface === PREFACE.length) {
      this.reader.push(bytes)
      return
    }
    const length = Math.min(PREFACE.length - this.#preface, bytes.length)
    if (bytes.compare(PREFACE, this.#preface, this.#preface + length, 0, length) !== 0) {
      this.#host.breakOff(GOAWAY.PROTOCOL_ERROR, 'a beginning that is not that of inmesh/1')
      return
    }
    this.#preface += length
    if (bytes.length > length) this.reader.push(bytes.subarray(length))
  }

  /** @internal */
  frameTooLong(length: number): void {
    this.#host.breakOff(GOAWAY.PROTOCOL_ERROR, `a frame of ${length} bytes`)
  }

  /** @internal */
  frameArrived(type: number, flags: number, id: number, bytes: Buffer, from: number, to: number): void {
    this.heardAt = this.now
    const mistake = this.#read(type, flags, id, bytes, from, to)
    if (mistake !== undefined) this.#host.breakOff(GOAWAY.PROTOCOL_ERROR, mistake)
  }

  /** Returns why no peer may send it. */
  #read(type: number, flags: number, id: number, bytes: Buffer, from: number, to: number): string | undefined {
    const known = FLAGS_OF[type]
    if (known === undefined) return `a frame of the unknown type ${type}`
    // No server takes reports.
    const allowed = this.#host.side === 'server' ? known & ~FLAG.LOAD : known
    if ((flags & ~allowed) !== 0) return `a frame of the type ${type} with the flags ${flags}`
    if (type !== FRAME.WINDOW && ON_CONNECTION[type] !== (id === 0))
      return `a frame of the type ${type} on stream ${id}`
    if (!this.#host.settled && type !== FRAME.SETTINGS && type !== FRAME.GOAWAY) return 'a frame before SETTINGS'
    switch (type) {
      case FRAME.REQUEST:
        return this.#requestArrived(flags, id, bytes, from, to)
      case FRAME.RESPONSE:
        return this.#responseArrived(flags, id, bytes, from, to)
      case FRAME.DATA:
        return this.#dataFrame(flags, id, bytes, from, to)
      case FRAME.TRAILERS:
        return this.#trailersArrived(flags, id, bytes, from, to)
      case FRAME.RESET:
        return this.#resetArrived(id, bytes, from, to)
      case FRAME.WINDOW:
        return this.#windowArrived(id, bytes, from, to)
      case FRAME.PING:
        return this.#pingArrived(flags, bytes, from, to)
      case FRAME.GOAWAY:
        return this.#goAwayArrived(bytes, from, to)
      default:
        return this.#settingsArrived(bytes, from, to)
    }
  }

  #requestArrived(flags: number, id: number, bytes: Buffer, from: number, to: number): string | undefined {
    const host = this.#host
    if (host.side === 'client' || id <= host.streams.lastStream || id > LAST_STREAM) {
      return `a request on stream ${id}`
    }
    const heads = this.#heads
    if (!heads.request(flags, bytes, from, to)) return `a request with ${heads.problem}`
    const { method, path, headers, at, length, fault } = heads
    const end = (flags & FLAG.END) !== 0
    if (id > host.streams.servesUntil) {
      this.#late()
      return this.#takeUnowned(to - at)
    }
    if (host.streams.open.size >= this.#settings.maxStreams) {
      return this.#refuseStream(id, to - at, RESET.NOT_EXECUTED, 'too many streams')
    }
    const mistake = fault ?? lengthFault(length, to - at, end)
    if (mistake !== undefined) return this.#refuseStream(id, to - at, heads.faultCode, `the request has ${mistake}`)
    const stream = host.opened(id)
    stream.openedAt = this.now
    stream.expected = length
    if (end && at === to) stream.remoteEnded = true
    host.events.requestArrived(stream, method, path, headers, end && at === to)
    if (at < to) this.#dataArrived(stream.closed ? undefined : stream, bytes, at, to, end)
  }

  #responseArrived(flags: number, id: number, bytes: Buffer, from: number, to: number): string | undefined {
    const host = this.#host
    if (host.side === 'server') return 'a response to no request'
    if (!this.#isOpened(id)) return neverOpened(id)
    const heads = this.#heads
    if (!heads.response(flags, bytes, from, to)) return `a response with ${heads.problem}`
    const { status, reason, headers, at } = heads
    const stream = host.streams.open.get(id)
    if (stream === undefined) {
      this.#late()
      return this.#takeUnowned(to - at)
    }
    if (stream.answered || stream.remoteEnded) return `a second response on stream ${id}`
    const end = (flags & FLAG.END) !== 0
    const fault = heads.fault ?? this.#responseFault(stream, status, to - at, end)
    if (fault !== undefined) {
      this.#takeUnowned(to - at)
      return this.#fault(stream, heads.faultCode, fault)
    }
    if (status < 200) {
      if (this.#flooded(host.guard.frame())) return undefined
    } else stream.answered = true
    if (end && at === to) stream.remoteEnded = true
    if ((flags & FLAG.LOAD) !== 0) stream.load = heads.load(this.now)
    stream.events.responseArrived(stream, status, reason, headers, end && at === to)
    if (at < to) this.#dataArrived(stream.closed ? undefined : stream, bytes, at, to, end)
    else host.closeIfEnded(stream)
  }

  #responseFault(stream: MuxStream, status: number, body: number, end: boolean): string | undefined {
    if (status < 200) {
      if (body > 0) return `a body with the status ${status}`
      return end ? 'an informational status that ends it' : undefined
    }
    if (isBodiless(status) || stream.bodiless) {
      stream.bodiless = true
      stream.expected = -1
      return body > 0 ? bodyFault(stream, status) : undefined
    }
    stream.expected = this.#heads.length
    return lengthFault(stream.expected, body, end)
  }

  #dataFrame(flags: number, id: number, bytes: Buffer, from: number, to: number): string | undefined {
    if (!this.#isOpened(id)) return neverOpened(id)
    const stream = this.#host.streams.open.get(id)
    const end = (flags & FLAG.END) !== 0
    if (stream === undefined) this.#late()
    else if (stream.remoteEnded) return `data after the end of stream ${id}`
    else if (this.#host.side === 'client' && !stream.answered) return `data before the response ${id}`
    else if (from === to && !end && this.#flooded(this.#host.guard.frame())) return undefined
    this.#dataArrived(stream, bytes, from, to, end)
  }

  #dataArrived(stream: MuxStream | undefined, bytes: Buffer, from: number, to: number, end: boolean): undefined {
    const length = to - from
    if (stream === undefined) return this.#takeUnowned(length)
    const charge = length === 0 ? 0 : length + FRAME_CHARGE_BYTES
    if (charge > stream.window || !this.#host.window.take(charge)) {
      this.#host.breakOff(GOAWAY.FLOW_CONTROL_ERROR, `data beyond the window of stream ${stream.id}`)
      return
    }
    stream.received(length, charge)
    // What others have read becomes due when this takes the rest of the window.
    this.#host.credit(0)
    if (stream.bodiless && length > 0) return this.#fault(stream, RESET.PROTOCOL_ERROR, bodyFault(stream, 0))
    const fault = lengthFault(stream.expected, stream.arrived, end)
    if (fault !== undefined) return this.#fault(stream, RESET.PROTOCOL_ERROR, fault)
    stream.remoteEnded = end
    stream.events.dataArrived(stream, copy(bytes, from, to), end)
    this.#host.closeIfEnded(stream)
  }

  /** Of a stream that is closed: it uses only the connection's window. */
  #takeUnowned(length: number): undefined {
    if (length === 0) return
    const charge = length + FRAME_CHARGE_BYTES
    if (this.#host.window.take(charge)) this.#host.credit(charge)
    else this.#host.breakOff(GOAWAY.FLOW_CONTROL_ERROR, 'data beyond the window of the connection')
  }

  #trailersArrived(flags: number, id: number, bytes: Buffer, from: number, to: number): string | undefined {
    if (!this.#isOpened(id)) return neverOpened(id)
    const heads = this.#heads
    if (!heads.trailers(flags, bytes, from, to)) return `trailers with ${heads.problem}`
    const stream = this.#host.streams.open.get(id)
    if (stream === undefined) return this.#late()
    if (stream.remoteEnded) return `trailers after the end of stream ${id}`
    if (this.#host.side === 'client' && !stream.answered) return `trailers before the response ${id}`
    const fault = heads.fault ?? lengthFault(stream.expected, stream.arrived, true)
    if (fault !== undefined) return this.#fault(stream, heads.faultCode, fault)
    stream.remoteEnded = true
    if ((flags & FLAG.LOAD) !== 0) stream.load = heads.load(this.now)
    stream.events.trailersArrived(stream, heads.headers)
    this.#host.closeIfEnded(stream)
  }

  #resetArrived(id: number, bytes: Buffer, from: number, to: number): string | undefined {
    if (!this.#isOpened(id)) return neverOpened(id)
    if (to === from) return 'a RESET without a code'
    const stream = this.#host.streams.open.get(id)
    if (stream === undefined) return this.#late()
    const said = bytes[from]! as ResetCode
    // A later version may know more. What has been answered was executed.
    const invalid = said > LAST_RESET || (said === RESET.NOT_EXECUTED && stream.answered)
    const code = invalid ? RESET.PROTOCOL_ERROR : said
    const reason = readReason(bytes, from + 1, to)
    const flood = this.#countReset(stream)
    this.#host.streams.lose(stream, { code, reason, executed: code !== RESET.NOT_EXECUTED })
    this.#flooded(flood)
  }

  #windowArrived(id: number, bytes: Buffer, from: number, to: number): string | undefined {
    const host = this.#host
    if (id !== 0 && !this.#isOpened(id)) return neverOpened(id)
    if (this.#flooded(host.guard.frame())) return undefined
    const credit = to - from === 4 ? bytes.readUInt32BE(from) : 0
    const stream = host.streams.open.get(id)
    const valid =
      credit > 0 &&
      credit <= MAX_WINDOW &&
      (id === 0 ? host.send.granted(credit) : stream === undefined || host.send.grantedOn(stream, credit))
    if (!valid) host.breakOff(GOAWAY.FLOW_CONTROL_ERROR, `a WINDOW of ${credit} on stream ${id}`)
  }

  #pingArrived(flags: number, bytes: Buffer, from: number, to: number): string | undefined {
    if (to - from !== 8) return 'a PING that has not 8 bytes'
    if ((flags & FLAG.ACK) !== 0) {
      if (!this.#flooded(this.#host.guard.frame())) this.#host.pingAnswered(bytes, from)
    } else if (!this.#flooded(this.#host.guard.ping())) this.#host.send.ping(bytes.subarray(from, to), true)
  }

  #goAwayArrived(bytes: Buffer, from: number, to: number): string | undefined {
    if (to - from < 5) return 'a GOAWAY that is too short'
    const last = bytes.readUInt32BE(from)
    if (last > this.#peerServesUntil) return 'a GOAWAY that takes back the one before'
    if (this.#flooded(this.#host.guard.frame())) return undefined
    this.#peerServesUntil = last
    const reason = readReason(bytes, from + 5, to)
    this.#host.peerLeaves(last, bytes[from + 4]!, reason)
  }

  #settingsArrived(bytes: Buffer, from: number, to: number): string | undefined {
    if (this.#host.settled) return 'SETTINGS twice'
    const settings = decodeSettings(bytes, from, to)
    if (settings === undefined) return 'malformed SETTINGS'
    this.#host.peerSettled(settings)
  }

  /** Whether a stream is or was there. */
  #isOpened(id: number): boolean {
    const { lastStream, servesUntil } = this.#host.streams
    // Requests beyond our GOAWAY are ignored, with what follows them.
    return id <= lastStream || servesUntil !== LAST_STREAM
  }

  /** A frame of a stream that has closed: it crossed the end, or is one of a flood. */
  #late(): undefined {
    this.#flooded(this.#host.guard.frame())
  }

  /** Resets a stream whose request is not served. */
  #refuseStream(id: number, body: number, code: ResetCode, reason: string): undefined {
    const host = this.#host
    host.streams.lastStream = id
    this.#takeUnowned(body)
    host.resetUnowned(id, code, reason)
    host.events.requestRefused?.(reason)
    this.#flooded(host.guard.reset(0))
  }

  /** Resets a stream that breaks a rule; its user learns why. */
  #fault(stream: MuxStream, code: ResetCode, fault: string): undefined {
    const host = this.#host
    const reason = `the ${host.side === 'server' ? 'request' : 'response'} has ${fault}`
    const flood = this.#countReset(stream)
    host.resetUnowned(stream.id, code, reason)
    host.streams.lose(stream, { code, reason, executed: true, ours: true })
    this.#flooded(flood)
  }

  /** Resets count against clients only: a server's streams are those that we have opened. */
  #countReset(stream: MuxStream): FloodReason | undefined {
    if (this.#host.side === 'client' || stream.answered) return undefined
    return this.#host.guard.reset(this.now - stream.openedAt)
  }

  #flooded(reason: FloodReason | undefined): boolean {
    if (reason === undefined) return false
    this.#host.breakOff(GOAWAY.FLOOD, reason)
    return true
  }
}

function neverOpened(id: number): string {
  return `a frame of stream ${id}, which was never opened`
}

/** Why a body of `arrived` bytes contradicts its `content-length`; -1: it has none. */
function lengthFault(expected: number, arrived: number, end: boolean): string | undefined {
  if (expected < 0 || arrived === expected) return undefined
  if (arrived > expected) return `a body longer than its ${expected} bytes`
  return end ? `a body of ${arrived} bytes instead of ${expected}` : undefined
}

function bodyFault({ head }: MuxStream, status: number): string {
  return head
    ? 'a body, and the request was HEAD'
    : status > 0
      ? `a body with the status ${status}`
      : 'a body that its status excludes'
}

function copy(bytes: Buffer, from: number, to: number): Buffer {
  const own = Buffer.allocUnsafe(to - from)
  bytes.copy(own, 0, from, to)
  return own
}

const LAST_RESET = Math.max(...Object.values(RESET))

/** Reasons reach the text of errors: control characters would forge lines of a log. */
function readReason(bytes: Buffer, from: number, to: number): string {
  const text = readLatin1(bytes, from, Math.min(to, from + MAX_REASON_BYTES))
  return text.replace(UNPRINTABLE, '?')
}

const UNPRINTABLE = /[^\x20-\x7e]/g
