/**
 * Responses of handlers and of the server itself. Handlers cannot claim that a request was not
 * executed, and a connection that retires answers with `connection: close`.
 */
import { type IncomingMessage, type OutgoingHttpHeader, type OutgoingHttpHeaders, ServerResponse } from 'node:http'
import { isUint8Array } from 'node:util/types'
import type { ErrorCode } from '../../core/errors.ts'
import { LOAD, NOT_EXECUTED, ORCA } from '../../core/headers.ts'
import { formatLoad } from '../../core/load-header.ts'
import { bindEmitter, guardedCallback, prepareEmitter, type UserCodeOwner } from '../guarded-emitter.ts'
import type { AnswerLoad } from '../server-load.ts'
import { type Exchange, exchangeOf } from './exchange.ts'
import type { Problem } from './problem.ts'

/**
 * After an early answer, the rest of the request is read for this time, so that the answer arrives.
 */
const LINGER_MS = 5_000
/** In whole seconds, the only unit of the header. */
const RETRY_AFTER_S = '1'

type Headers = OutgoingHttpHeaders | OutgoingHttpHeader[] | undefined
type WriteHead = (this: ServerResponse, status: number, reason?: string | Headers, headers?: Headers) => ServerResponse

const OBSERVER = Symbol('inmesh.response')

/** The call that a response belongs to. */
export interface ResponseObserver extends UserCodeOwner {
  readonly exchange: Exchange
  now(): number
  /** Its final head is complete. Returns what is reported with it. */
  headStored(status: number): AnswerLoad | undefined
  /** Bytes of the body so far; -1: they are not counted. */
  sentBytes: number
  /** The handler has ended it. */
  handlerEnded(): void
  /** The response has ended or was cut off. */
  finish(): void
}

interface Observed {
  [OBSERVER]?: ResponseObserver | undefined
  writeHead: WriteHead
  _header: string
  _storeHeader: (statusLine: string, headers: unknown) => void
  write: (...given: unknown[]) => boolean
  end: (...given: unknown[]) => ServerResponse
  writeContinue: (...given: unknown[]) => void
  writeProcessing: (...given: unknown[]) => void
  writeEarlyHints: (...given: unknown[]) => void
}

/**
 * A response whose methods run our checks first. They are own properties, because frameworks
 * replace the prototype, and set early, because late properties change the object's shape.
 */
export class ServedResponse extends ServerResponse {
  [OBSERVER]: ResponseObserver | undefined = undefined

  constructor(...given: ConstructorParameters<typeof ServerResponse>) {
    super(...given)
    prepareEmitter(this)
    ;(this as unknown as Observed).writeHead = writeObservedHead
    ;(this as unknown as Observed).write = writeObserved
    ;(this as unknown as Observed).end = endObserved
    ;(this as unknown as Observed).writeContinue = writeContinueObserved
    ;(this as unknown as Observed).writeProcessing = writeProcessingObserved
    ;(this as unknown as Observed).writeEarlyHints = writeEarlyHintsObserved
  }
}

/** One that is written as text of HTTP/1.1. */
export class TextResponse extends ServedResponse {
  constructor(...given: ConstructorParameters<typeof ServerResponse>) {
    super(...given)
    ;(this as unknown as Observed)._storeHeader = storeObservedHead
  }
}

/** Notifies `observer` of the end of a {@link ServedResponse}. */
export function observeResponse(response: ServerResponse, observer: ResponseObserver): void {
  ;(response as unknown as Observed)[OBSERVER] = observer
  response.on('close', onClose)
  bindEmitter(response, observer)
}

function onClose(this: ServerResponse): void {
  ;(this as unknown as Observed)[OBSERVER]!.finish()
}

/** `chunk` and `encoding`: as the application gave them. */
function countBody(response: ServerResponse, [chunk, encoding]: readonly unknown[]): void {
  const observer = (response as unknown as Observed)[OBSERVER]
  if (observer === undefined || observer.sentBytes < 0) return
  if (typeof chunk === 'string') observer.sentBytes += Buffer.byteLength(chunk, encoding as BufferEncoding)
  else if (isUint8Array(chunk)) observer.sentBytes += chunk.byteLength
}

function writeObserved(this: ServerResponse, ...given: unknown[]): boolean {
  countBody(this, given)
  const { write } = Object.getPrototypeOf(this) as Observed
  return endsInCallback(given) ? write.apply(this, guardLast(this, ...given)) : write.apply(this, given)
}

function endObserved(this: ServerResponse, ...given: unknown[]): ServerResponse {
  countBody(this, given)
  const { end } = Object.getPrototypeOf(this) as Observed
  end.apply(this, endsInCallback(given) ? guardLast(this, ...given) : given)
  ;(this as unknown as Observed)[OBSERVER]?.handlerEnded()
  return this
}

const { _storeHeader: storeHeader } = ServerResponse.prototype as unknown as Observed

/** Behind all that the application has set, which never sees it. */
function storeObservedHead(this: ServerResponse & Observed, statusLine: string, headers: unknown): void {
  storeHeader.call(this, statusLine, headers)
  const load = reportWith(this)
  if (load === undefined) return
  if (load.mesh !== undefined) this._header = withField(this._header, LOAD, formatLoad(load.mesh))
  this._header = withOrca(this._header, load.orca)
}

/** What is reported with the head of `response`. */
export function reportWith(response: ServerResponse): AnswerLoad | undefined {
  return (response as unknown as Observed)[OBSERVER]?.headStored(response.statusCode)
}

const OWN_ORCA = new RegExp(`\\n${ORCA}`, 'i')

/** An application that reports in the form of ORCA itself knows better. */
export function withOrca(head: string, orca: string | undefined): string {
  return orca === undefined || OWN_ORCA.test(head) ? head : withField(head, ORCA, orca)
}

function withField(head: string, name: string, value: string): string {
  return `${head.slice(0, -2)}${name}: ${value}\r\n\r\n`
}

function endsInCallback(given: readonly unknown[]): boolean {
  return typeof given[given.length - 1] === 'function'
}

/** An older Node writes an informational response even after the final head, into the body. */
const NODE_REFUSES_LATE = 'writeInformation' in ServerResponse.prototype

/** The same for informational responses. */
function guardedMethod(name: 'writeContinue' | 'writeProcessing' | 'writeEarlyHints') {
  return function (this: ServerResponse, ...given: unknown[]): void {
    if (!NODE_REFUSES_LATE && this.headersSent) throw headersSent()
    const inherited = (Object.getPrototypeOf(this) as Observed)[name]
    inherited.apply(this, endsInCallback(given) ? guardLast(this, ...given) : given)
  }
}

/** Node's error for a head that comes too late. */
function headersSent(): Error {
  const message = 'Cannot write headers after they are sent to the client'
  return Object.assign(new Error(message), { code: 'ERR_HTTP_HEADERS_SENT' })
}

const writeContinueObserved = guardedMethod('writeContinue')
const writeProcessingObserved = guardedMethod('writeProcessing')
const writeEarlyHintsObserved = guardedMethod('writeEarlyHints')

/** The callback of a write is user code. */
function guardLast(response: ServerResponse, ...given: unknown[]): unknown[] {
  const observer = (response as unknown as Observed)[OBSERVER]
  if (observer !== undefined) given.push(guardedCallback(observer, given.pop() as () => void))
  return given
}

function writeObservedHead(
  this: ServerResponse,
  status: number,
  reason?: string | Headers,
  headers?: Headers,
): ServerResponse {
  const observer = (this as unknown as Observed)[OBSERVER]
  if (this.hasHeader(NOT_EXECUTED)) this.removeHeader(NOT_EXECUTED)
  if (this.hasHeader(LOAD)) this.removeHeader(LOAD)
  const leaveAt = observer === undefined ? Number.POSITIVE_INFINITY : observer.exchange.leaveAt
  const leave = leaveAt !== Number.POSITIVE_INFINITY && leaveAt <= observer!.now()
  if (leave) {
    this.shouldKeepAlive = false
    if (this.hasHeader('connection')) this.removeHeader('connection')
  }
  // The prototype's method, which a framework may have wrapped.
  const inherited = (Object.getPrototypeOf(this) as Observed).writeHead
  if (typeof reason === 'string') inherited.call(this, status, reason, without(headers, leave))
  else inherited.call(this, status, without(reason ?? headers, leave))
  if ((this as { _last?: boolean })._last === true) observer?.exchange.close()
  return this
}

function without(headers: Headers, connection: boolean): Headers {
  if (headers === undefined || headers === null) return headers
  if (Array.isArray(headers)) {
    if (Array.isArray(headers[0])) {
      return (headers as unknown as [string, OutgoingHttpHeader][]).filter(
        ([name]) => !unwanted(name, connection),
      ) as unknown as OutgoingHttpHeader[]
    }
    for (let i = 0; i < headers.length; i += 2) {
      if (unwanted(String(headers[i]), connection)) {
        return headers.filter((_, at) => !unwanted(String(headers[at - (at % 2)]), connection))
      }
    }
    return headers
  }
  for (const name in headers) {
    if (unwanted(name, connection)) {
      return Object.fromEntries(Object.entries(headers).filter(([key]) => !unwanted(key, connection)))
    }
  }
  return headers
}

function unwanted(name: string, connection: boolean): boolean {
  if (name.length === NOT_EXECUTED.length) return name.toLowerCase() === NOT_EXECUTED
  if (name.length === LOAD.length) return name.toLowerCase() === LOAD
  return connection && name.length === 10 && name.toLowerCase() === 'connection'
}

export interface Refusal {
  readonly status: number
  readonly code: ErrorCode
  readonly message: string
  /** The marker that lets the client retry elsewhere, whatever the method. */
  readonly notExecuted?: string | false
  readonly retryAfter?: boolean
  readonly close?: boolean
}

/**
 * Answers in place of the handler with `{"error":{"code","message"}}`, and drops its headers.
 * Returns the length of that body in bytes.
 */
export function refuse(request: IncomingMessage, response: ServerResponse, refusal: Refusal): number {
  const { status, code, message } = refusal
  const headers = ['content-type', 'application/json']
  if (refusal.notExecuted) headers.push(NOT_EXECUTED, refusal.notExecuted)
  if (refusal.retryAfter === true) headers.push('retry-after', RETRY_AFTER_S)
  if (refusal.close === true) {
    response.shouldKeepAlive = false
    exchangeOf(request.socket)?.close()
  }
  return answerInstead(request, response, status, headers, JSON.stringify({ error: { code, message } }))
}

/** Answers in place of the handler that has failed, and drops its headers. Returns the length. */
export function answerProblem(request: IncomingMessage, response: ServerResponse, problem: Problem): number {
  return answerInstead(request, response, problem.status, Object.entries(problem.headers).flat(), problem.body)
}

function answerInstead(
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
  headers: string[],
  body: string,
): number {
  for (const name of response.getHeaderNames()) response.removeHeader(name)
  const length = Buffer.byteLength(body)
  headers.push('content-length', String(length))
  ServerResponse.prototype.writeHead.call(response, status, headers)
  ServerResponse.prototype.end.call(response, body, 'utf8')
  linger(request)
  return length
}

function linger(request: IncomingMessage): void {
  const { headers } = request
  if (request.complete || (headers['transfer-encoding'] === undefined && !Number(headers['content-length']))) return
  const { socket } = request
  const timer = setTimeout(() => {
    if (!request.complete) socket.destroy()
  }, LINGER_MS)
  timer.unref()
  request.once('close', () => clearTimeout(timer))
}

/** Discards a write and calls its callback, so that the handler continues. */
function discard(this: ServerResponse, ...given: unknown[]): void {
  if (endsInCallback(given)) process.nextTick(guardLast(this, given.pop()).pop() as () => void)
}

const INERT = {
  writeHead: returnThis,
  setHeader: returnThis,
  appendHeader: returnThis,
  setHeaders: returnThis,
  removeHeader() {},
  flushHeaders() {},
  writeContinue: discard,
  writeProcessing: discard,
  writeEarlyHints: discard,
  addTrailers() {},
  write(this: ServerResponse, ...given: unknown[]): boolean {
    discard.apply(this, given)
    return true
  },
  end(this: ServerResponse, ...given: unknown[]): ServerResponse {
    discard.apply(this, given)
    ;(this as unknown as Observed)[OBSERVER]?.handlerEnded()
    return this
  },
}

function returnThis<T>(this: T): T {
  return this
}

/** Discards all later writes of the handler, for which an error could end the process. */
export function discardWrites(response: ServerResponse): void {
  Object.assign(response, INERT)
}
