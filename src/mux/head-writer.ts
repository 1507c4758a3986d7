/**
 * Writes heads: methods and common names as one byte, deadline, trace context and attempt number as
 * binary fields, all else as text.
 */

import { TRACEPARENT } from '../core/carrier.ts'
import { digitsOf } from '../core/digits.ts'
import { PREVIOUS_ATTEMPTS, TIMEOUT } from '../core/headers.ts'
import { inFlightOf, microsecondsOf } from '../core/load-header.ts'
import type { LoadReport } from '../core/load-report.ts'
import { writeLatin1 } from './bytes.ts'
import { isMethod, isStatus, isText } from './field-rules.ts'
import { checkFields, InvalidHead, sizeOfHeaders, writeFields, writePath } from './field-writer.ts'
import { FLAGS_AT, type FrameWriter, writeU32 } from './frame-writer.ts'
import { METHOD_CODES } from './static-table.ts'
import { FLAG, FRAME, LOAD_BYTES, MAX_HEAD_BYTES, MAX_PAYLOAD_BYTES } from './wire.ts'

export { InvalidHead, sizeOfHeaders } from './field-writer.ts'

/** A head that no frame holds. Nothing was sent. */
export class HeadTooLarge extends Error {
  override readonly name = 'HeadTooLarge'

  constructor(bytes: number, most: number) {
    super(`the head has ${bytes} bytes, at most ${most} are sent`)
  }
}

/** Whether `error` says that no peer would take the head. Nothing was sent. */
export function isUnsendable(error: unknown): error is HeadTooLarge | InvalidHead {
  return error instanceof HeadTooLarge || error instanceof InvalidHead
}

/** Beside the texts: numbers, lengths and the binary fields. */
const FIXED_BYTES = 64

/**
 * Writes a REQUEST with as much of `body` as is given.
 *
 * @throws HeadTooLarge, InvalidHead before anything was written
 */
export function writeRequest(
  writer: FrameWriter,
  stream: number,
  method: string,
  path: string,
  headers: readonly string[],
  body: Uint8Array | undefined,
  end: boolean,
): void {
  const headBytes = FIXED_BYTES + method.length + path.length + sizeOfHeaders(headers)
  if (headBytes > MAX_HEAD_BYTES) throw new HeadTooLarge(headBytes, MAX_HEAD_BYTES)
  let timeoutAt = NONE
  let traceAt = NONE
  let attemptsAt = NONE
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i]!
    // A second one of a name travels as text, with the first.
    if (name === TRACEPARENT) traceAt = traceAt === NONE ? i : SEVERAL
    else if (name === TIMEOUT) timeoutAt = timeoutAt === NONE ? i : SEVERAL
    else if (name === PREVIOUS_ATTEMPTS) attemptsAt = attemptsAt === NONE ? i : SEVERAL
  }
  const code = METHOD_CODES.get(method)
  if (code === undefined && !isMethod(method)) throw new InvalidHead(`${JSON.stringify(method)} is no method`)
  const start = writer.begin(FRAME.REQUEST, 0, stream, headBytes + (body?.length ?? 0))
  const piece = writer.piece!
  let { at } = writer
  if (code === undefined) {
    piece[at++] = 0
    piece[at++] = method.length
    at += writeLatin1(piece, method, at)
  } else piece[at++] = code
  at = writePath(piece, at, path, method)
  if (at < 0) {
    writer.at = start
    throw new InvalidHead(`${JSON.stringify(path)} is no path`)
  }
  let flags = end ? FLAG.END : 0
  // One in another form than the other side restores travels as text.
  const timeout = timeoutAt < 0 ? -1 : plainNumberOf(headers[timeoutAt + 1]!, 9)
  if (timeout >= 0) {
    at = writeU32(piece, at, timeout)
    flags |= FLAG.DEADLINE
  } else timeoutAt = NONE
  const traced = traceAt < 0 ? at : writeTrace(piece, at, headers[traceAt + 1]!)
  if (traced > at) {
    at = traced
    flags |= FLAG.TRACE
  } else traceAt = NONE
  const attempts = attemptsAt < 0 ? -1 : plainNumberOf(headers[attemptsAt + 1]!, 2)
  if (attempts >= 0) {
    piece[at++] = attempts
    flags |= FLAG.ATTEMPTS
  } else attemptsAt = NONE
  piece[start + FLAGS_AT] = flags
  writer.at = at
  finish(writer, start, headers, body, timeoutAt, traceAt, attemptsAt)
}

const NONE = -1
const SEVERAL = -2

/**
 * `reason`: '' for the standard phrase.
 *
 * @throws HeadTooLarge, InvalidHead before anything was written
 */
export function writeResponse(
  writer: FrameWriter,
  stream: number,
  status: number,
  reason: string,
  headers: readonly string[],
  body: Uint8Array | undefined,
  end: boolean,
  load?: LoadReport,
): void {
  const headBytes = FIXED_BYTES + reason.length + sizeOfHeaders(headers)
  if (headBytes > MAX_HEAD_BYTES) throw new HeadTooLarge(headBytes, MAX_HEAD_BYTES)
  if (!isStatus(status)) throw new InvalidHead(`${status} is no status of a response`)
  if (!isText(reason)) throw new InvalidHead('the reason phrase has a character that no head may have')
  const flags = (end ? FLAG.END : 0) | (reason === '' ? 0 : FLAG.REASON) | (load === undefined ? 0 : FLAG.LOAD)
  const start = writer.begin(FRAME.RESPONSE, flags, stream, headBytes + (body?.length ?? 0))
  const piece = writer.piece!
  let { at } = writer
  piece[at++] = status >> 8
  piece[at++] = status & 255
  if (reason !== '') {
    const length = Math.min(reason.length, 255)
    piece[at++] = length
    at += writeLatin1(piece, reason.slice(0, length), at)
  }
  writer.at = load === undefined ? at : writeLoad(piece, at, load)
  finish(writer, start, headers, body)
}

/** What {@link checkTrailers} has accepted. */
export function writeTrailers(
  writer: FrameWriter,
  stream: number,
  headers: readonly string[],
  load?: LoadReport,
): void {
  const bytes = LOAD_BYTES + sizeOfHeaders(headers)
  // The trailers matter more.
  const reports = load !== undefined && bytes <= MAX_HEAD_BYTES
  const start = writer.begin(FRAME.TRAILERS, reports ? FLAG.LOAD : 0, stream, bytes)
  if (reports) writer.at = writeLoad(writer.piece!, writer.at, load)
  finish(writer, start, headers, undefined)
}

/** @throws HeadTooLarge, InvalidHead */
export function checkTrailers(headers: readonly string[]): void {
  const bytes = sizeOfHeaders(headers)
  if (bytes > MAX_HEAD_BYTES) throw new HeadTooLarge(bytes, MAX_HEAD_BYTES)
  checkFields(headers)
}

/** Whether a head and `bytes` of its body fit one frame. */
export function fitsHead(headers: readonly string[], path: string, bytes: number): boolean {
  return FIXED_BYTES + path.length + sizeOfHeaders(headers) + bytes <= MAX_PAYLOAD_BYTES
}

/** Writes fields and body of the frame that began at `start`, or takes the frame back. */
function finish(
  writer: FrameWriter,
  start: number,
  headers: readonly string[],
  body: Uint8Array | undefined,
  skipA?: number,
  skipB?: number,
  skipC?: number,
): void {
  try {
    writer.at = writeFields(writer.piece!, writer.at, headers, skipA, skipB, skipC)
  } catch (error) {
    writer.at = start
    throw error
  }
  if (body !== undefined) {
    writer.piece!.set(body, writer.at)
    writer.at += body.length
  }
  writer.finish(start)
}

/** Returns where it ends. The writer has room for it. */
function writeLoad(piece: Buffer, from: number, load: LoadReport): number {
  const inFlight = inFlightOf(load)
  piece[from] = inFlight >> 8
  piece[from + 1] = inFlight & 255
  return writeU32(piece, writeU32(piece, from + 2, microsecondsOf(load.latencyMs)), microsecondsOf(load.servedMs))
}

/** The number without a leading zero, so that the other side restores the same text; or else -1. */
function plainNumberOf(text: string, mostDigits: number): number {
  return text.length > 1 && text.charCodeAt(0) === ZERO ? -1 : digitsOf(text, mostDigits)
}

const TRACE_LENGTH = 55
const ZERO = 0x30
const DASH = 0x2d
/** The values of hexadecimal digits in lower case, for the characters of ASCII. */
const NO_DIGIT = 0x80
const DIGITS = new Uint8Array(128).fill(NO_DIGIT)
for (const [value, digit] of [...'0123456789abcdef'].entries()) DIGITS[digit.charCodeAt(0)] = value

/**
 * `traceparent` of version 00 as 16 bytes of trace, 8 of span, 1 of flags. Returns where they end;
 * `from` if it has another form. The writer has room for it.
 */
function writeTrace(piece: Buffer, from: number, text: string): number {
  if (text.length !== TRACE_LENGTH) return from
  if (text.charCodeAt(0) !== ZERO || text.charCodeAt(1) !== ZERO || text.charCodeAt(2) !== DASH) return from
  if (text.charCodeAt(35) !== DASH || text.charCodeAt(52) !== DASH) return from
  let at = from
  let all = 0
  for (let i = 3; i < TRACE_LENGTH; i += 2) {
    if (i === 35 || i === 52) i += 1
    const high = text.charCodeAt(i)
    const low = text.charCodeAt(i + 1)
    const a = DIGITS[high & 127]!
    const b = DIGITS[low & 127]!
    // Whether both are characters of ASCII, and digits.
    all |= a | b | ((high | low) & ~127)
    piece[at++] = (a << 4) | b
  }
  return all < NO_DIGIT ? at : from
}
