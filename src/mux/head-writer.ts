/**
 * Writes heads: methods and common names as one byte, deadline, trace context and attempt number as
 * binary fields, all else as text.
 */

import { TRACEPARENT } from '../core/carrier.ts'
import { PREVIOUS_ATTEMPTS, TIMEOUT } from '../core/headers.ts'
import { writeLatin1 } from './bytes.ts'
import type { FrameWriter } from './frame-writer.ts'
import { METHOD_CODES, NAME_CODES } from './static-table.ts'
import { FLAG, FRAME, MAX_PAYLOAD_BYTES } from './wire.ts'

/** A head that no frame holds. Nothing was sent. */
export class HeadTooLarge extends Error {
  override readonly name = 'HeadTooLarge'

  constructor(bytes: number) {
    super(`the head has ${bytes} bytes, at most ${MAX_PAYLOAD_BYTES} are sent`)
  }
}

/** The bytes that a body may add to the frame of a head with `headBytes`. */
const FIXED_BYTES = 64

/** An upper bound of the bytes of `headers` as they are written. */
export function sizeOfHeaders(headers: readonly string[]): number {
  let bytes = 2
  for (let i = 0; i < headers.length; i++) bytes += headers[i]!.length + 2
  return bytes
}

/**
 * Writes a REQUEST with as much of `body` as is given. @throws HeadTooLarge before anything was
 * written
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
  if (headBytes > MAX_PAYLOAD_BYTES) throw new HeadTooLarge(headBytes)
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
  const start = writer.begin(FRAME.REQUEST, flags, stream, headBytes + (body?.length ?? 0))
  const piece = writer.piece!
  let { at } = writer
  const code = METHOD_CODES.get(method)
  if (code === undefined) {
    piece[at++] = 0
    piece[at++] = method.length
    at += writeLatin1(piece, method, at)
  } else piece[at++] = code
  piece[at++] = path.length >> 8
  piece[at++] = path.length & 255
  at = writeText(piece, at, path)
  if (timeoutAt >= 0) at = piece.writeUInt32BE(Number(headers[timeoutAt + 1]), at)
  if (traceAt >= 0) at = writeTrace(piece, at, headers[traceAt + 1]!)
  if (attemptsAt >= 0) piece[at++] = Number(headers[attemptsAt + 1])
  const binary = (timeoutAt >= 0 ? 1 : 0) + (traceAt >= 0 ? 1 : 0) + (attemptsAt >= 0 ? 1 : 0)
  const count = (headers.length >> 1) - binary
  piece[at++] = count >> 8
  piece[at++] = count & 255
  for (let i = 0; i < headers.length; i += 2) {
    if (i !== timeoutAt && i !== traceAt && i !== attemptsAt) at = writeField(piece, at, headers[i]!, headers[i + 1]!)
  }
  writer.at = at
  finish(writer, start, body)
}

/** `reason`: '' for the standard phrase. @throws HeadTooLarge before anything was written */
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
  if (headBytes > MAX_PAYLOAD_BYTES) throw new HeadTooLarge(headBytes)
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
  writer.at = writeFields(piece, at, headers)
  finish(writer, start, body)
}

/** @throws HeadTooLarge before anything was written */
export function writeTrailers(writer: FrameWriter, stream: number, headers: readonly string[]): void {
  const bytes = sizeOfHeaders(headers)
  if (bytes > MAX_PAYLOAD_BYTES) throw new HeadTooLarge(bytes)
  const start = writer.begin(FRAME.TRAILERS, 0, stream, bytes)
  writer.at = writeFields(writer.piece!, writer.at, headers)
  writer.finish(start)
}

/** Whether a head and `bytes` of its body fit one frame. */
export function fitsHead(headers: readonly string[], path: string, bytes: number): boolean {
  return FIXED_BYTES + path.length + sizeOfHeaders(headers) + bytes <= MAX_PAYLOAD_BYTES
}

function finish(writer: FrameWriter, start: number, body: Uint8Array | undefined): void {
  if (body !== undefined) {
    writer.piece!.set(body, writer.at)
    writer.at += body.length
  }
  writer.finish(start)
}

function writeFields(piece: Buffer, from: number, headers: readonly string[]): number {
  let at = from
  piece[at++] = headers.length >> 9
  piece[at++] = (headers.length >> 1) & 255
  for (let i = 0; i < headers.length; i += 2) at = writeField(piece, at, headers[i]!, headers[i + 1]!)
  return at
}

function writeField(piece: Buffer, from: number, name: string, value: string): number {
  let at = from
  const code = NAME_CODES.get(name)
  if (code === undefined) {
    piece[at++] = 0
    piece[at++] = name.length
    at = writeText(piece, at, name)
  } else piece[at++] = code
  piece[at++] = value.length >> 8
  piece[at++] = value.length & 255
  return writeText(piece, at, value)
}

/** A call into C++ costs more than a short loop. */
const LOOPED_LENGTH = 40

function writeText(piece: Buffer, from: number, text: string): number {
  const { length } = text
  if (length >= LOOPED_LENGTH) return from + writeLatin1(piece, text, from)
  for (let i = 0; i < length; i++) piece[from + i] = text.charCodeAt(i)
  return from + length
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
