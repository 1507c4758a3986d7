/**
 * One request and its answer on a stream, in the words of undici's handlers. Aborting it resets the
 * stream and costs no connection.
 *
 * - sending, receiving: until both halves have ended
 * - any -> over: the answer is complete, it failed, or it was aborted
 */
import { STATUS_CODES } from 'node:http'
import type { Dispatcher } from 'undici'
import { lengthOf } from '../../core/digits.ts'
import type { MuxReset } from '../../mux/stream.ts'
import { RESET } from '../../mux/wire.ts'
import { LostStream } from '../mux/lost-stream.ts'
import type { StreamedBody } from './body/streamed.ts'
import type { AnswerHandler } from './connection-user.ts'
import type { ReceivedHeaders } from './headers.ts'
import type { RequestStream, RequestStreamEvents } from './request-stream.ts'
import { Upload } from './upload.ts'

const UNKNOWN = -1

/** The connection of a stream. */
interface Leaving {
  /** It takes no more streams. */
  readonly leaving: boolean
}

export class StreamExchange implements RequestStreamEvents, Dispatcher.DispatchController {
  rawHeaders: string[] | null = null
  rawTrailers: string[] | null = null
  aborted = false
  paused = false
  reason: Error | null = null
  over = false
  readonly method: string
  readonly #handler: AnswerHandler
  readonly #session: Leaving
  #stream: RequestStream | undefined = undefined
  #upload: Upload | undefined = undefined
  /** Bytes of the body that are still to come, by its declared length. */
  #left = UNKNOWN
  /** Received while paused: the peer gets no credit for them yet. */
  #uncredited = 0

  constructor(method: string, handler: AnswerHandler, session: Leaving) {
    this.method = method
    this.#session = session
    this.#handler = handler
  }

  /** Whether its user still wants it. */
  start(): boolean {
    this.#handler.onRequestStart?.(this, null)
    return !this.over
  }

  /** Its stream, with everything that is known of the request. */
  begun(stream: RequestStream, body: Uint8Array | undefined): void {
    this.#stream = stream
    if (body !== undefined) this.#handler.onBodySent?.(body as Buffer)
    this.#handler.onRequestSent?.()
  }

  /** Its stream, and the body that follows. */
  begunWith(stream: RequestStream, body: StreamedBody, length: string | undefined): void {
    this.#stream = stream
    this.#upload = new Upload(stream, body, length === undefined ? UNKNOWN : Number(length), this)
    this.#upload.start()
  }

  /** Others wait: gives up an answer that is unread. Returns whether it did. */
  giveBackUnread(now: number): boolean {
    return !this.over && this.#handler.giveBackUnread?.(now) === true
  }

  // The upload's events.

  bodySent(chunk: Uint8Array): void {
    if (!this.over) this.#handler.onBodySent?.(chunk as Buffer)
  }

  requestSent(): void {
    if (!this.over) this.#handler.onRequestSent?.()
  }

  // The controller of the handler.

  pause(): void {
    this.paused = true
  }

  resume(): void {
    this.paused = false
    const bytes = this.#uncredited
    this.#uncredited = 0
    if (bytes > 0) this.#stream?.read(bytes)
  }

  abort(reason: Error): void {
    if (this.over) return
    this.aborted = true
    this.reason = reason
    this.#stream?.reset(RESET.CANCELLED)
    this.fail(reason)
  }

  /** It ends with `error`, and nothing more of it is sent or received. */
  fail(error: Error): void {
    if (this.over) return
    this.#finish()
    this.#handler.onResponseError?.(this, error)
  }

  // The stream's events.

  responseArrived({ load }: RequestStream, status: number, reason: string, headers: string[], end: boolean): void {
    const received = receivedHeaders(headers)
    this.rawHeaders = headers
    const phrase = reason === '' ? (STATUS_CODES[status] ?? '') : reason
    if (status >= 200) {
      if (!this.#expectBody(status, received['content-length'])) return
      this.#handler.onResponseStarted?.()
      if (load !== undefined) this.#handler.loadArrived?.(load)
    }
    this.#handler.onResponseStart?.(this, status, received, phrase)
    if (end) this.#complete(undefined)
  }

  dataArrived(stream: RequestStream, chunk: Buffer, end: boolean): void {
    if (this.over) return
    const { length } = chunk
    if (this.#left !== UNKNOWN) {
      this.#left -= length
      if (this.#left < 0) {
        this.#malformed('the body is longer than its content-length')
        return
      }
    }
    if (length > 0) this.#handler.onResponseData?.(this, chunk)
    if (this.over) return
    if (!this.paused || end) stream.read(length)
    else this.#uncredited += length
    if (end) this.#complete(undefined)
  }

  trailersArrived(_stream: RequestStream, headers: string[]): void {
    this.rawTrailers = headers
    this.#complete(headers)
  }

  wasReset(_stream: RequestStream, reset: MuxReset): void {
    if (!this.over) this.fail(new LostStream(reset, this.#session.leaving))
  }

  drained(): void {
    this.#upload?.drained()
  }

  /** Whether the head is one that an answer may have. */
  #expectBody(status: number, declared: string | string[] | undefined): boolean {
    if (declared === undefined || this.method === 'HEAD' || status === 204 || status === 304) return true
    // A list of equal lengths was merged by no hop before.
    const length = typeof declared === 'string' ? lengthOf(declared) : UNKNOWN
    if (length === UNKNOWN) {
      this.#malformed('an invalid content-length')
      return false
    }
    this.#left = length
    return true
  }

  #complete(trailers: string[] | undefined): void {
    if (this.over) return
    if (this.#left > 0) {
      this.#malformed('the body is shorter than its content-length')
      return
    }
    const stream = this.#stream
    this.resume()
    this.#finish()
    // The answer came before the end of the request: its rest is not wanted.
    if (stream?.localEnded === false) stream.reset(RESET.NO_ERROR)
    this.#handler.onResponseEnd?.(this, trailers === undefined ? NO_TRAILERS : receivedHeaders(trailers))
  }

  #malformed(problem: string): void {
    this.#stream?.reset(RESET.PROTOCOL_ERROR, problem)
    this.fail(new MalformedAnswer(problem))
  }

  #finish(): void {
    this.over = true
    // The stream itself credits what is unread when it is reset.
    this.#uncredited = 0
    this.#upload?.stop()
  }
}

/** The peer's answer contradicts itself. */
export class MalformedAnswer extends Error {}

const NO_TRAILERS: Record<string, string> = Object.freeze({})

/** Without a prototype, a header may be called `constructor` or `__proto__`. */
const Received = class {} as new () => Record<string, string | string[]>
Object.setPrototypeOf(Received.prototype, null)
Reflect.deleteProperty(Received.prototype, 'constructor')

/** Flat headers as undici gives them: several values of one name are a list. */
export function receivedHeaders(flat: readonly string[]): ReceivedHeaders & Record<string, string | string[]> {
  const headers = new Received()
  for (let i = 0; i < flat.length; i += 2) {
    const name = flat[i]!
    const value = flat[i + 1]!
    const seen = headers[name]
    if (seen === undefined) headers[name] = value
    else if (typeof seen === 'string') headers[name] = [seen, value]
    else seen.push(value)
  }
  return headers
}
