/** Writes heads and parts of answers as HTTP/1.1. */
import { lengthOf } from '../../../core/digits.ts'
import { OF_CONNECTIONS } from '../../../core/headers.ts'

const OWN: ReadonlySet<string> = new Set(OF_CONNECTIONS)

/** How a reader finds the end of a body. */
export type Framing = 'none' | 'length' | 'chunks' | 'close'

export interface AnswerHead {
  readonly bytes: Buffer
  readonly framing: Framing
  /** The declared length; -1: none. */
  readonly length: number
}

/** An interim answer, or one that changes the protocol: its headers stay as they are. */
export function interimHead(status: number, statusText: string, raw: readonly Buffer[]): Buffer {
  return Buffer.concat([...headLines(status, statusText, raw, false), LINE_END])
}

/** `chunks`: the reader knows them. */
export function answerHead(
  status: number,
  statusText: string,
  raw: readonly Buffer[],
  { toHead, chunks, keepAlive }: { readonly toHead: boolean; readonly chunks: boolean; readonly keepAlive: boolean },
): AnswerHead {
  const parts = headLines(status, statusText, raw, true)
  let length = -1
  for (let i = 0; i < raw.length; i += 2) {
    if (raw[i]!.length === 14 && raw[i]!.toString('latin1').toLowerCase() === 'content-length') {
      length = lengthOf(raw[i + 1]!.toString('latin1'))
    }
  }
  const bodyless = toHead || status === 204 || status === 304
  const framing = bodyless ? 'none' : length >= 0 ? 'length' : chunks ? 'chunks' : 'close'
  if (framing === 'chunks') parts.push(CHUNKED)
  parts.push(keepAlive && framing !== 'close' ? KEEP_ALIVE : CLOSE)
  return { bytes: Buffer.concat(parts), framing, length }
}

export function chunkOf(data: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${data.length.toString(16)}\r\n`, 'latin1'), data, LINE_END])
}

export function lastChunk(trailers: readonly Buffer[]): Buffer {
  const parts: Buffer[] = [LAST]
  for (let i = 0; i + 1 < trailers.length; i += 2) parts.push(trailers[i]!, COLON, trailers[i + 1]!, LINE_END)
  parts.push(LINE_END)
  return Buffer.concat(parts)
}

function headLines(status: number, statusText: string, raw: readonly Buffer[], answer: boolean): Buffer[] {
  const parts: Buffer[] = [Buffer.from(`HTTP/1.1 ${status} ${statusText}\r\n`, 'latin1')]
  for (let i = 0; i + 1 < raw.length; i += 2) {
    if (answer && OWN.has(raw[i]!.toString('latin1').toLowerCase())) continue
    parts.push(raw[i]!, COLON, raw[i + 1]!, LINE_END)
  }
  return parts
}

const COLON = Buffer.from(': ')
const LINE_END = Buffer.from('\r\n')
const LAST = Buffer.from('0\r\n')
const CHUNKED = Buffer.from('transfer-encoding: chunked\r\n')
const KEEP_ALIVE = Buffer.from('connection: keep-alive\r\n\r\n')
const CLOSE = Buffer.from('connection: close\r\n\r\n')
