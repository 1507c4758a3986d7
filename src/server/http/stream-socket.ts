/**
 * Stands for a socket below the request and the response of one stream. Node's own classes write to
 * it and read from it, so what works on a connection of HTTP/1.1 works here.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { RESET, type ResetCode } from '../../mux/wire.ts'
import type { Connection } from '../connection.ts'
import { bindEmitter, prepareEmitter, type UserCodeOwner } from '../guarded-emitter.ts'
import { AnswerSocket, connectionLost } from './answer-socket.ts'
import { attachExchange, type Exchange } from './exchange.ts'
import type { ServedStream, ServedStreamEvents } from './served-stream.ts'
import { BODY_HIGH_WATER_BYTES, StreamBody } from './stream-body.ts'
import { detachSignal, emitClose } from './stream-response.ts'

/** After an early answer, the rest of the request is discarded for this time. */
const DISCARD_MS = 5_000

/**
 * What a handler has ended before it destroys its exchange still leaves, as from the buffer of a
 * connection of HTTP/1.1. These are the most bytes, and the time that they have.
 */
const REST_BYTES = 4_194_304
const REST_MS = 30_000

export class StreamSocket extends AnswerSocket implements Exchange, ServedStreamEvents {
  readonly connection: Connection
  readonly server: Server
  /** Its connection asks the client to leave, not the answer. */
  readonly leaveAt = Number.POSITIVE_INFINITY
  readonly readableHighWaterMark = BODY_HIGH_WATER_BYTES
  readonly parser = null
  _httpMessage: ServerResponse | null = null
  readable = true
  writable = true
  closed = false
  errored: Error | null = null
  timeout: number | undefined = undefined
  #request!: IncomingMessage
  #owner: UserCodeOwner | undefined = undefined
  #body: StreamBody | undefined = undefined
  /** The answer is over, and the response has let go of this socket. */
  #detached = false
  /** The rest of an answer leaves although the exchange is destroyed. */
  #resting: NodeJS.Timeout | undefined = undefined
  #destroyed = false
  #timer: NodeJS.Timeout | undefined = undefined
  #discarding: NodeJS.Timeout | undefined = undefined

  constructor(connection: Connection, stream: ServedStream, server: Server) {
    super(connection.socket, stream)
    this.connection = connection
    this.server = server
    prepareEmitter(this)
    attachExchange(this, this)
    stream.events = this
  }

  /** `bodyBytes`: its declared length; -1: unknown; `undefined`: there is no body. */
  open(request: IncomingMessage, response: ServerResponse, bodyBytes: number | undefined): void {
    this.#request = request
    this.response = response
    if (bodyBytes !== undefined) this.#body = new StreamBody(request, this.stream, bodyBytes)
    response.assignSocket(this.socket)
    response.on('finish', () => this.#finished())
  }

  // Exchange.

  get socket(): Socket {
    return this as unknown as Socket
  }

  upgrades(): boolean {
    return false
  }

  /** Each request has a stream. */
  close(): void {}

  answered(): void {}

  overdue(): void {
    this.cutOff()
  }

  cutOff(): void {
    if (!this.over) this.cut(RESET.INTERNAL_ERROR, '')
  }

  serves(owner: UserCodeOwner): void {
    this.#owner = owner
    bindEmitter(this, owner)
  }

  // Of a socket.

  get bytesRead(): number {
    return this.#body?.arrived ?? 0
  }

  get bodyBytes(): number {
    return this.bytesRead
  }

  /** The end of a whole exchange destroys no connection, so that of a stream is not seen either. */
  get destroyed(): boolean {
    return this.#destroyed
  }

  get readyState(): string {
    return this.destroyed ? 'closed' : 'open'
  }

  /** A handler that ends the socket itself gives the exchange up. */
  end(): this {
    return this.destroySoon()
  }

  destroySoon(): this {
    return this.writableEnded ? this : this.destroy()
  }

  /** Cuts the exchange off; the client sees that its answer is not complete. */
  destroy(error?: Error | null): this {
    if (this.over) return this
    const { stream } = this
    if (!this.writableEnded || stream.queued > REST_BYTES) return this.cut(RESET.INTERNAL_ERROR, '', error)
    if (!stream.localEnded) this.#resting = setTimeout(() => this.#restSent(), REST_MS).unref()
    else if (!this.#request.complete) this.stream.reset(RESET.NO_ERROR)
    this.release()
    return this.#destroy(error ?? null)
  }

  resetAndDestroy(): this {
    this.cutOff()
    return this
  }

  setTimeout(ms: number, callback?: () => void): this {
    this.timeout = ms
    if (this.#timer !== undefined) clearTimeout(this.#timer)
    this.#timer = ms > 0 && !this.over ? setTimeout(() => this.#timedOut(), ms).unref() : undefined
    if (callback !== undefined) this.once('timeout', callback)
    return this
  }

  pause(): this {
    return this
  }

  /** Node asks for more of the body. */
  resume(): this {
    this.#body?.wanted()
    return this
  }

  // Of the stream.

  responseArrived(): void {}

  dataArrived(_stream: ServedStream, chunk: Uint8Array, end: boolean): void {
    this.moved()
    if (this.#body?.push(chunk) !== true) this.cut(RESET.PROTOCOL_ERROR, 'a body longer than its content-length')
    else if (end) this.requestEnded()
  }

  trailersArrived(_stream: ServedStream, headers: string[]): void {
    this.requestEnded(headers)
  }

  wasReset(): void {
    if (this.#resting !== undefined) clearTimeout(this.#resting)
    if (!this.over) this.#destroy(null)
  }

  override endSent(): void {
    if (this.#resting === undefined) super.endSent()
    else this.#restSent()
  }

  /** Or its time is up. */
  #restSent(): void {
    clearTimeout(this.#resting)
    const { localEnded } = this.stream
    if (!localEnded || !this.#request.complete) this.stream.reset(localEnded ? RESET.NO_ERROR : RESET.INTERNAL_ERROR)
  }

  requestEnded(trailers?: string[]): void {
    const request = this.#request
    if (request.complete) return
    if (!this.over && this.#body?.complete === false) {
      this.cut(RESET.PROTOCOL_ERROR, 'a body shorter than its content-length')
      return
    }
    request.complete = true
    if (trailers !== undefined) addHeaders(request, trailers)
    request.push(null)
    this.#body?.ended()
    this.readable = false
    if (this.#detached && !this.over) this.#close(null)
  }

  protected moved(): void {
    this.#timer?.refresh()
  }

  /** Node does the same after an answer on a connection that stays. */
  #finished(): void {
    const request = this.#request as IncomingMessage & Consumed
    const { response } = this
    this.#detached = true
    detachSignal(request)
    if (!request._consuming && !request._readableState.resumeScheduled) request._dump()
    response.detachSocket(this.socket)
    process.nextTick(emitClose, response)
    if (this.over) return
    if (request.complete) this.#close(null)
    else if (this.released) this.#destroy(null)
    else this.#discarding = setTimeout(() => this.#discard(), DISCARD_MS).unref()
  }

  /** The client has its answer, and sends on for too long. */
  #discard(): void {
    if (!this.#request.complete) this.cut(RESET.NO_ERROR, '')
  }

  #timedOut(): void {
    const request = this.#request
    const heard = (!request.complete && request.emit('timeout', this)) || this.response.emit('timeout', this)
    if (!heard) this.destroy()
    this.emit('timeout')
  }

  protected cut(code: ResetCode, reason: string, error?: Error | null): this {
    this.errored = error ?? null
    this.stream.reset(code, reason)
    return this.#destroy(error ?? null)
  }

  #destroy(error: Error | null): this {
    this.#destroyed = true
    return this.#close(error)
  }

  protected spoiled(code: ResetCode, error: Error): void {
    if (!this.over) this.cut(code, error.message, error)
    this.#owner?.userCodeFailed(error)
  }

  /** Its events come in a later turn, as those of a socket do. */
  #close(error: Error | null): this {
    this.over = true
    this.readable = false
    this.writable = false
    this.#body?.release()
    if (this.#timer !== undefined) clearTimeout(this.#timer)
    if (this.#discarding !== undefined) clearTimeout(this.#discarding)
    const whole = this.#detached && this.#request.complete
    if (!whole || this.listenerCount('close') > 0) setImmediate(closed, this, error)
    return this
  }

  /** @internal */
  afterClose(error: Error | null): void {
    this.closed = true
    this.#destroyed = true
    const request = this.#request
    if (!this.#detached || !request.complete) request.destroy(connectionLost())
    this.callBack(connectionLost())
    if (error !== null && this.listenerCount('error') > 0) this.emit('error', error)
    this.emit('close', error !== null)
  }
}

interface Consumed {
  readonly _consuming: boolean
  readonly _readableState: { readonly resumeScheduled: boolean }
  _dump(): void
}

function closed(socket: StreamSocket, error: Error | null): void {
  socket.afterClose(error)
}

type Headed = { _addHeaderLines(headers: string[], count: number): void }

export function addHeaders(request: IncomingMessage, headers: string[]): void {
  ;(request as unknown as Headed)._addHeaderLines(headers, headers.length)
}
