/**
 * Writes heads: methods and common names as one byte, deadline, trace context and attempt number as
 * binary fields, all else as text.
 */

import { TRACEPARENT } from '../core/carrier.ts'
import { PREVIOUS_ATTEMPTS, TIMEOUT } from '../core/headers.ts'
import { writeLatin1 } from './bytes.ts'
import { isMethod, isPath, isStatus, isText } from './field-rules.ts'
import { checkFields, InvalidHead, sizeOfHeaders, writeFields } from './field-writer.ts'
import type { FrameWriter } from './frame-writer.ts'
import { METHOD_CODES } from './static-table.ts'
import { FLAG, FRAME, MAX_HEAD_BYTES, MAX_PAYLOAD_BYTES } from './wire.ts'

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
  let flags = end ? FLAG.END : 0
  let timeoutAt = -1
  let traceAt = -1
  let attemptsAt = -1
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i]!
    // A second one of a name, or one in another form, travels as text.
    if (name === TRACEPARENT) traceAt = traceAt === -1 && isPlainTrace(headers[i + 1]!) ? i : -2
    else if (name === TIMEOUT) timeoutAt = timeoutAt === -1 && isPlainNumber(headers[i + 1]!, 9) ? i : -2
    else if (name === PREVIOUS_ATTEMPTS) attemptsAt = attemptsAt === -1 && isPlainNumber(headers[i + 1]!, 2) ? i : -2
  }
  if (timeoutAt >= 0) flags |= FLAG.DEADLINE
  if (traceAt >= 0) flags |= FLAG.TRACE
  if (attemptsAt >= 0) flags |= FLAG.ATTEMPTS
  const code = METHOD_CODES.get(method)
  if (code === undefined && !isMethod(method)) throw new InvalidHead(`${JSON.stringify(method)} is no method`)
  if (!isPath(path, method)) throw new InvalidHead(`${JSON.stringify(path)} is no path`)
  const start = writer.begin(FRAME.REQUEST, flags, stream, headBytes + (body?.length ?? 0))
  const piece = writer.piece!
  let { at } = writer
  if (code === undefined) {
    piece[at++] = 0
    piece[at++] = method.length
    at += writeLatin1(piece, method, at)
  } else piece[at++] = code
  piece[at++] = path.length >> 8
  piece[at++] = path.length & 255
  at += writeLatin1(piece, path, at)
  if (timeoutAt >= 0) at = piece.writeUInt32BE(Number(headers[timeoutAt + 1]), at)
  if (traceAt >= 0) at = writeTrace(piece, at, headers[traceAt + 1]!)
  if (attemptsAt >= 0) piece[at++] = Number(headers[attemptsAt + 1])
  writer.at = at
  finish(writer, start, headers, body, timeoutAt, traceAt, attemptsAt)
}

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
): void {
  const headBytes = FIXED_BYTES + reason.length + sizeOfHeaders(headers)
  if (headBytes > MAX_HEAD_BYTES) throw new HeadTooLarge(headBytes, MAX_HEAD_BYTES)
  if (!isStatus(status)) throw new InvalidHead(`${status} is no status of a response`)
  if (!isText(reason)) throw new InvalidHead('the reason phrase has a character that no head may have')
  const flags = (end ? FLAG.END : 0) | (reason === '' ? 0 : FLAG.REASON)
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
  writer.at = at
  finish(writer, start, headers, body)
}

/** What {@link checkTrailers} has accepted. */
export function writeTrailers(writer: FrameWriter, stream: number, headers: readonly string[]): void {
  const start = writer.begin(FRAME.TRAILERS, 0, stream, sizeOfHeaders(headers))
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

/** Without a leading zero, so that the other side restores the same text. */
function isPlainNumber(text: string, mostDigits: number): boolean {
  const { length } = text
  if (length === 0 || length > mostDigits || (length > 1 && text.charCodeAt(0) === 0x30)) return false
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i)
    if (code < 0x30 || code > 0x39) return false
  }
  return true
}

const TRACE = /^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/

function isPlainTrace(text: string): boolean {
  return text.length === 55 && TRACE.test(text)
}

/** 16 bytes of trace, 8 of span, 1 of flags. */
function writeTrace(piece: Buffer, from: number, text: string): number {
  let at = writeHex(piece, from, text, 3, 35)
  at = writeHex(piece, at, text, 36, 52)
  return writeHex(piece, at, text, 53, 55)
}

function writeHex(piece: Buffer, from: number, text: string, begin: number, end: number): number {
  let at = from
  for (let i = begin; i < end; i += 2) {
    piece[at++] = (digitOf(text.charCodeAt(i)) << 4) | digitOf(text.charCodeAt(i + 1))
  }
  return at
}

function digitOf(code: number): number {
  return code <= 0x39 ? code - 0x30 : code - 0x57
}
