/** Answers what Node's HTTP parser rejects, and requests that do not arrive in time. */
import type { Duplex } from 'node:stream'
import { NOT_EXECUTED } from '../../core/headers.ts'
import { httpConnectionOf } from './connection.ts'

/** A listener for `clientError`. */
export function answerParseError(error: NodeJS.ErrnoException, socket: Duplex): void {
  // The parser reports every malformed piece, even after the socket has been destroyed.
  if (socket.destroyed) return
  const connection = httpConnectionOf(socket)
  if (connection === undefined) return
  const { last } = connection
  if (error.code === TIMED_OUT && connection.pipeline?.causedTimeout() === true) return
  // Bytes after the last request of a connection are ignored (RFC 9112, 9.6).
  if (error.code === AFTER_LAST && connection.busy) return
  if (connection.closing && connection.inFlight === 0) {
    // The last answer is being sent.
    if (!connection.socket.writableEnded) connection.socket.destroySoon()
    return
  }
  if (error.code === 'ECONNRESET' || !socket.writable || connection.inFlight > 0 || last?.destroyed === false) {
    socket.destroy()
    return
  }
  const answer = error.code === TIMED_OUT ? TIMEOUT_ANSWER : answerOf(STATUS[error.code ?? ''] ?? '400 Bad Request', '')
  socket.end(answer, () => socket.destroy())
}

function answerOf(status: string, header: string): string {
  return `HTTP/1.1 ${status}\r\nConnection: close\r\n${header}Content-Length: 0\r\n\r\n`
}

const TIMED_OUT = 'ERR_HTTP_REQUEST_TIMEOUT'
const AFTER_LAST = 'HPE_CLOSED_CONNECTION'
const STATUS: Readonly<Record<string, string>> = Object.freeze({
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
  HPE_CHUNK_EXTENSIONS_OVERFLOW: '413 Payload Too Large',
})

/** The first request of a preconnected client may be on its way. */
export const TIMEOUT_ANSWER = answerOf('408 Request Timeout', `${NOT_EXECUTED}: protocol-error\r\n`)
