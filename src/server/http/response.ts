/**
 * Answers of the server's own, and what it insists on in the answers of handlers:
 * `connection: close` on connections that are to end, and no claim of not having executed, which
 * only the server itself can make.
 */
import { type IncomingMessage, type OutgoingHttpHeader, type OutgoingHttpHeaders, ServerResponse } from 'node:http'
import type { ErrorCode } from '../../core/errors.ts'
import { NOT_EXECUTED } from '../../core/headers.ts'
import { type Connection, connectionOf } from '../connection.ts'
import { bindEmitter, guardedCallback, prepareEmitter, type UserCodeOwner } from '../guarded-emitter.ts'

/**
 * After an answer that did not wait for the request's body, the rest of it is read for so long, so
 * that the answer arrives.
 */
const LINGER_MS = 5_000
/** Whole seconds are all that the header can say. */
const RETRY_AFTER_S = '1'

type Headers = OutgoingHttpHeaders | OutgoingHttpHeader[] | undefined
type WriteHead = (this: ServerResponse, status: number, reason?: string | Headers, headers?: Headers) => ServerResponse

const WATCHER = Symbol('inmesh.response')

/** Whose response it is. */
export interface ResponseObserver extends UserCodeOwner {
  readonly connection: Connection
  now(): number
  /** The response is over, well or not. */
  finish(): void
}

interface Watched {
  [WATCHER]?: ResponseObserver | undefined
  writeHead: WriteHead
  write: (...given: unknown[]) => boolean
  end: (...given: unknown[]) => ServerResponse
  writeContinue: (...given: unknown[]) => void
  writeProcessing: (...given: unknown[]) => void
  writeEarlyHints: (...given: unknown[]) => void
}

/**
 * A response with our `writeHead` before its own. An own property, because frameworks replace the
 * prototype; from the beginning, because an object that gets properties later has another shape
 * than the one for which `node:http` was compiled.
 */
export class ServedResponse extends ServerResponse {
  [WATCHER]: ResponseObserver | undefined = undefined

  constructor(...given: ConstructorParameters<typeof ServerResponse>) {
    super(...given)
    prepareEmitter(this)
    ;(this as unknown as Watched).writeHead = writeWatchedHead
    ;(this as unknown as Watched).write = writeWatched
    ;(this as unknown as Watched).end = endWatched
    ;(this as unknown as Watched).writeContinue = writeContinueWatched
    ;(this as unknown as Watched).writeProcessing = writeProcessingWatched
    ;(this as unknown as Watched).writeEarlyHints = writeEarlyHintsWatched
  }
}

/** Tells `watcher` of the end of the response, which was made as a {@link ServedResponse}. */
export function observeResponse(response: ServerResponse, watcher: ResponseObserver): void {
  ;(response as unknown as Watched)[WATCHER] = watcher
  response.on('close', onClose)
  bindEmitter(response, watcher)
}

function onClose(this: ServerResponse): void {
  ;(this as unknown as Watched)[WATCHER]!.finish()
}

function writeWatched(this: ServerResponse, ...given: unknown[]): boolean {
  const { write } = Object.getPrototypeOf(this) as Watched
  return endsInCallback(given) ? write.apply(this, guardLast(this, ...given)) : write.apply(this, given)
}

function endWatched(this: ServerResponse, ...given: unknown[]): ServerResponse {
  const { end } = Object.getPrototypeOf(this) as Watched
  return endsInCallback(given) ? end.apply(this, guardLast(this, ...given)) : end.apply(this, given)
}

function endsInCallback(given: readonly unknown[]): boolean {
  return typeof given[given.length - 1] === 'function'
}

/** The same for what comes before the head of the answer. */
function guardedMethod(name: 'writeContinue' | 'writeProcessing' | 'writeEarlyHints') {
  return function (this: ServerResponse, ...given: unknown[]): void {
    const inherited = (Object.getPrototypeOf(this) as Watched)[name]
    inherited.apply(this, endsInCallback(given) ? guardLast(this, ...given) : given)
  }
}

const writeContinueWatched = guardedMethod('writeContinue')
const writeProcessingWatched = guardedMethod('writeProcessing')
const writeEarlyHintsWatched = guardedMethod('writeEarlyHints')

/** The callback of a write is user code, too. */
function guardLast(response: ServerResponse, ...given: unknown[]): unknown[] {
  const watcher = (response as unknown as Watched)[WATCHER]
  if (watcher !== undefined) given.push(guardedCallback(watcher, given.pop() as () => void))
  return given
}

function writeWatchedHead(
  this: ServerResponse,
  status: number,
  reason?: string | Headers,
  headers?: Headers,
): ServerResponse {
  const watcher = (this as unknown as Watched)[WATCHER]
  if (this.hasHeader(NOT_EXECUTED)) this.removeHeader(NOT_EXECUTED)
  const retireAt = watcher === undefined ? Number.POSITIVE_INFINITY : watcher.connection.retireAt
  const retire = retireAt !== Number.POSITIVE_INFINITY && retireAt <= watcher!.now()
  if (retire) {
    this.shouldKeepAlive = false
    if (this.hasHeader('connection')) this.removeHeader('connection')
  }
  // The prototype's, not our own property: whatever else is there to wrap it is called.
  const inherited = (Object.getPrototypeOf(this) as Watched).writeHead
  if (typeof reason === 'string') inherited.call(this, status, reason, without(headers, retire))
  else inherited.call(this, status, without(reason ?? headers, retire))
  if ((this as { _last?: boolean })._last === true && watcher !== undefined) watcher.connection.closing = true
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
  return connection && name.length === 10 && name.toLowerCase() === 'connection'
}

export interface Refusal {
  readonly status: number
  readonly code: ErrorCode
  readonly message: string
  /** Tells the client that it may try elsewhere, whatever the method. */
  readonly notExecuted?: boolean
  readonly retryAfter?: boolean
  readonly close?: boolean
}

/**
 * Answers instead of the handler: `{"error":{"code","message"}}`. Whatever the handler has prepared
 * is dropped.
 */
export function refuse(request: IncomingMessage, response: ServerResponse, refusal: Refusal): void {
  for (const name of response.getHeaderNames()) response.removeHeader(name)
  const { status, code, message } = refusal
  const body = JSON.stringify({ error: { code, message } })
  const headers = ['content-type', 'application/json', 'content-length', String(Buffer.byteLength(body))]
  if (refusal.notExecuted === true) headers.push(NOT_EXECUTED, code)
  if (refusal.retryAfter === true) headers.push('retry-after', RETRY_AFTER_S)
  if (refusal.close === true) {
    response.shouldKeepAlive = false
    const connection = connectionOf(request.socket)
    if (connection !== undefined) connection.closing = true
  }
  ServerResponse.prototype.writeHead.call(response, status, headers)
  ServerResponse.prototype.end.call(response, body, 'utf8')
  linger(request)
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

/** Nothing is written any more; whoever waits for its callback goes on. */
function swallow(this: ServerResponse, ...given: unknown[]): void {
  if (endsInCallback(given)) process.nextTick(guardLast(this, given.pop()).pop() as () => void)
}

const INERT = {
  writeHead: returnThis,
  setHeader: returnThis,
  appendHeader: returnThis,
  setHeaders: returnThis,
  removeHeader() {},
  flushHeaders() {},
  writeContinue: swallow,
  writeProcessing: swallow,
  writeEarlyHints: swallow,
  addTrailers() {},
  write(this: ServerResponse, ...given: unknown[]): boolean {
    swallow.apply(this, given)
    return true
  },
  end(this: ServerResponse, ...given: unknown[]): ServerResponse {
    swallow.apply(this, given)
    return this
  },
}

function returnThis<T>(this: T): T {
  return this
}

/**
 * We have answered in the handler's place: what it still writes is swallowed, because an error for
 * it would end the process.
 */
export function discardWrites(response: ServerResponse): void {
  Object.assign(response, INERT)
}
