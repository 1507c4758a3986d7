/**
 * The writing half of a {@link StreamSocket}: from what Node's response writes to the frames of its
 * stream.
 *
 * - `head`: no final head has been stored
 * - `held`: the head waits for the first bytes of the body, to leave in one frame with them
 * - `body`: the head has left
 * - `ended`: the answer is complete
 */
import { type ServerResponse, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { LoadReport } from '../../core/load-report.ts'
import { HeadTooLarge, sizeOfHeaders } from '../../mux/head-writer.ts'
import { MAX_PAYLOAD_BYTES, RESET, type ResetCode } from '../../mux/wire.ts'
import { readFields } from './head-text.ts'
import type { ServedStream } from './served-stream.ts'
import { SocketFace } from './socket-face.ts'
import { type AnswerSink, emitDrain } from './stream-response.ts'

export type WriteCallback = (error?: Error | null) => void

export abstract class AnswerSocket extends SocketFace implements AnswerSink {
  readonly writableHighWaterMark = 65_536
  /** So that Node does not cork: what is written in one turn leaves together anyway. */
  readonly writableCorked = 1
  /** `OutgoingMessage.end` sets it. */
  readonly _writableState = { corked: 0 }
  bytesWritten = 0
  protected readonly stream: ServedStream
  protected response!: ServerResponse
  #state: 'head' | 'held' | 'body' | 'ended' = 'head'
  #status = 0
  #reason = ''
  #headers: readonly string[] = []
  #chunked = false
  /** Bytes that the declared length leaves; -1: it is not declared. */
  #left = -1
  /** The handler has done its part, whatever becomes of what is still to be sent. */
  protected released = false
  #first: Uint8Array | undefined = undefined
  #callbacks: WriteCallback[] = []
  #ticking = false
  #blocked = false

  constructor(below: Socket, stream: ServedStream) {
    super(below)
    this.stream = stream
  }

  /** The exchange has ended, one way or another. */
  protected over = false
  /** As those who hold the socket see it. */
  abstract readonly destroyed: boolean
  /** The exchange ends without a whole answer. */
  protected abstract cut(code: ResetCode, reason: string, error?: Error | null): void
  /** The same, for a head that cannot be sent: a failure of the handler. */
  protected abstract spoiled(code: ResetCode, error: Error): void
  protected abstract moved(): void

  get writableLength(): number {
    return this.stream.queued + (this.#first?.length ?? 0)
  }

  get bufferSize(): number {
    return this.writableLength
  }

  get writableNeedDrain(): boolean {
    return this.#blocked
  }

  get writableEnded(): boolean {
    return this.#state === 'ended'
  }

  /** Text of informational heads, then the body. */
  write(
    data: Uint8Array | string,
    encoding?: BufferEncoding | WriteCallback | null,
    callback?: WriteCallback,
  ): boolean {
    const done = typeof encoding === 'function' ? encoding : callback
    if (this.over || this.#state === 'ended') {
      if (typeof done === 'function') process.nextTick(done, connectionLost())
      return false
    }
    this.moved()
    let room = true
    if (this.#state === 'head') this.#inform(String(data))
    else if (data.length > 0) room = this.#writeBody(bytesOf(data, encoding))
    if (typeof done === 'function') this.#callbacks.push(done)
    this.#tickLater()
    return room
  }

  cork(): void {}

  uncork(): void {}

  /** @internal */
  headStored(status: number, reason: string, head: string, chunked: boolean, load: LoadReport | undefined): void {
    this.stream.load = load
    this.#status = status
    this.#reason = reason === STATUS_CODES[status] ? '' : reason
    this.#headers = readFields(head, head.indexOf('\r\n') + 2)
    this.#chunked = chunked
    this.#left = this.#declaredLength()
    this.#state = 'held'
  }

  /** @internal */
  finishing(trailers: string): void {
    if (this.over || this.#state === 'ended') return
    if (this.#state === 'head') {
      this.cut(RESET.INTERNAL_ERROR, '')
      return
    }
    if (this.#left > 0) {
      // It must not pass for a whole answer. Over HTTP/1.1, the handler does not notice either.
      this.stream.reset(RESET.INTERNAL_ERROR, 'the answer is shorter than its content-length')
      this.release()
      return
    }
    const fields = this.#chunked && !this.#bodiless && trailers !== '' ? readFields(trailers, 0) : undefined
    if (fields !== undefined && sizeOfHeaders(fields) > MAX_PAYLOAD_BYTES) {
      this.spoiled(RESET.HEAD_TOO_LARGE, new Error('The trailers are too large.'))
      return
    }
    if (this.#state === 'held' && !this.#respond(fields === undefined)) return
    this.#state = 'ended'
    if (!this.stream.ending && !this.#end(fields)) return
    this.#tickLater()
  }

  /** @internal For the stream. */
  drained(): void {
    this.#blocked = false
    this.#tickLater()
    if (this.#state !== 'ended') emitDrain(this.response)
  }

  /** @internal For the stream. */
  endSent(): void {
    this.drained()
  }

  /** @internal At the end of a turn in which something was written. */
  tick(): void {
    this.#ticking = false
    if (!this.released) {
      if (this.over) return
      if (this.#state === 'held') this.#respond(false)
      if (this.#blocked || (this.#state === 'ended' && !this.stream.localEnded)) return
    }
    this.callBack(null)
  }

  /** As a socket that has passed all bytes to the system. */
  protected release(): void {
    this.released = true
    this.#state = 'ended'
    this.#tickLater()
  }

  protected callBack(error: Error | null): void {
    const callbacks = this.#callbacks
    if (callbacks.length === 0) return
    this.#callbacks = []
    for (const callback of callbacks) callback(error)
  }

  /** It answers HEAD, or its status has no body. */
  get #bodiless(): boolean {
    return !(this.response as ServerResponse & { readonly _hasBody: boolean })._hasBody
  }

  #declaredLength(): number {
    const at = this.#headers.indexOf('content-length')
    return at >= 0 && !this.#bodiless ? Number(this.#headers[at + 1]) : -1
  }

  #inform(text: string): void {
    const status = Number(text.slice(9, 12))
    const headers = readFields(text, text.indexOf('\r\n') + 2)
    if (status >= 100 && status < 200) this.#send(status, '', headers, undefined, false)
  }

  #writeBody(bytes: Uint8Array): boolean {
    if (this.#bodiless) return true
    let part = bytes
    if (this.#left >= 0) {
      // As over HTTP/1.1, where the rest is no part of the answer.
      if (part.length > this.#left) part = part.subarray(0, this.#left)
      this.#left -= part.length
      if (part.length === 0) return true
    }
    this.bytesWritten += part.length
    if (this.#state === 'held') {
      if (this.#first === undefined) {
        this.#first = part
        this.#blocked = part.length >= this.writableHighWaterMark
        return !this.#blocked
      }
      if (!this.#respond(false)) return false
    }
    this.#blocked = !this.stream.write(part)
    if (this.#left === 0) this.stream.end()
    return !this.#blocked
  }

  /** Sends the head that is held, with the first bytes of the body. */
  #respond(end: boolean): boolean {
    const first = this.#first
    this.#first = undefined
    if (this.#status < 200) {
      this.spoiled(RESET.INTERNAL_ERROR, new Error(`An answer cannot end with the status ${this.#status}.`))
      return false
    }
    this.#state = 'body'
    // As over HTTP/1.1, a body ends with its last byte, whenever the handler says so.
    const whole = end || this.#bodiless || this.#left === 0
    return this.#send(this.#status, this.#reason, this.#headers, first, whole)
  }

  #send(
    status: number,
    reason: string,
    headers: readonly string[],
    body: Uint8Array | undefined,
    end: boolean,
  ): boolean {
    try {
      this.stream.respond(status, reason, headers, body, end)
      return true
    } catch (error) {
      // Nothing was sent, and the handler may be done: its failure is reported.
      const code = error instanceof HeadTooLarge ? RESET.HEAD_TOO_LARGE : RESET.INTERNAL_ERROR
      this.spoiled(code, error as Error)
      return false
    }
  }

  #end(trailers: readonly string[] | undefined): boolean {
    try {
      this.stream.end(trailers)
      return true
    } catch (error) {
      this.spoiled(RESET.INTERNAL_ERROR, error as Error)
      return false
    }
  }

  #tickLater(): void {
    if (this.#ticking) return
    this.#ticking = true
    process.nextTick(tick, this)
  }
}

function tick(socket: AnswerSocket): void {
  socket.tick()
}

function bytesOf(data: Uint8Array | string, encoding: unknown): Uint8Array {
  if (typeof data !== 'string') return data
  return Buffer.from(data, typeof encoding === 'string' ? (encoding as BufferEncoding) : 'utf8')
}

/** Node's error for an exchange whose connection is lost. */
export function connectionLost(): Error {
  return Object.assign(new Error('aborted'), { code: 'ECONNRESET' })
}
