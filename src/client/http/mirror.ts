/**
 * One mirror over HTTP, and undici's handler for it. It sends what an attempt sent, and drops the
 * answer as it arrives.
 */
import type { Dispatcher } from 'undici'
import type { Call } from '../../core/call.ts'
import type { ErrorCode } from '../../core/errors.ts'
import { MIRROR } from '../../core/headers.ts'
import { outcome as makeOutcome, type Outcome, SUCCESS } from '../../core/outcome.ts'
import type { Stack } from '../../resilience/stack.ts'
import { MirrorAttempt, MOST_READ_BYTES } from '../mirror/attempt.ts'
import type { CallMirrors } from '../mirror/call-mirrors.ts'
import type { MirrorTarget } from '../mirror/target.ts'
import type { Transport } from '../transport.ts'
import { CopiedBody } from './body/copied.ts'
import { MOST_KEPT_BYTES } from './body/repeatable.ts'
import { StreamedBody } from './body/streamed.ts'
import { mirrorHeaders } from './changed-request.ts'
import { CONNECTION_LOST, type ConnectionUser, type RequestConnection, type RequestPool } from './connection-user.ts'
import type { ReceivedHeaders } from './headers.ts'
import { answerOutcome, outcomeOf } from './outcome.ts'
import { attemptHeaders, dispatchOptions, type PreparedRequest } from './prepare-request.ts'

const ABANDONED = Object.freeze(new Error('the mirror is over'))

/** What a mirror takes from the call that it copies. */
export interface MirroredCall extends Call {
  readonly stack: Stack
  readonly transport: Transport<RequestPool>
  readonly request: PreparedRequest
  readonly mirrors: CallMirrors | undefined
}

/**
 * Copies the request that an attempt of `call` is about to send, once its body is whole. `upload`:
 * `content`, if it can be sent again.
 */
export function mirrorRequest(
  call: MirroredCall,
  content: Uint8Array | StreamedBody | undefined,
  upload: StreamedBody | undefined,
): void {
  const { request } = call
  const mirrors = call.mirrors!
  const send = (body: Uint8Array | null): void => {
    mirrors.send((target) => new HttpMirror(target, call, request, body))
  }
  if (request.header(MIRROR) !== undefined) mirrors.forget()
  else if (content === undefined) send(null)
  else if (!(content instanceof StreamedBody)) {
    if (content.length <= MOST_KEPT_BYTES) send(content)
    else mirrors.drop('body-too-large')
  } else if (content !== upload) mirrors.drop('body-not-kept')
  else if ((request.body!.length ?? 0) > MOST_KEPT_BYTES) mirrors.drop('body-too-large')
  else content.copy = new CopiedBody((bytes) => (bytes === undefined ? mirrors.drop('body-too-large') : send(bytes)))
}

export class HttpMirror extends MirrorAttempt implements ConnectionUser, Dispatcher.DispatchHandler {
  waitingIn: RequestPool | undefined = undefined
  ahead: ConnectionUser | undefined = undefined
  behind: ConnectionUser | undefined = undefined
  readonly #request: PreparedRequest
  readonly #body: Uint8Array | null
  readonly #host: string
  readonly #poolOf: () => RequestPool
  #connection: RequestConnection | undefined = undefined
  #controller: Dispatcher.DispatchController | undefined = undefined
  #outcome: Outcome = SUCCESS
  #read = 0

  constructor(target: MirrorTarget, of: MirroredCall, request: PreparedRequest, body: Uint8Array | null) {
    super(target, of, of.stack.timeoutMs)
    this.#request = request
    this.#body = body
    this.#host = request.host ?? of.kind.service
    this.#poolOf = () => of.transport.poolOf(this.endpoint!)
  }

  override get bytesSent(): number {
    return this.sent ? (this.#body?.length ?? 0) : 0
  }

  override get bytesReceived(): number {
    return this.#read
  }

  // The pool's answers.

  assigned(connection: RequestConnection): void {
    this.#connection = connection
    this.transport = connection.transport
    this.guarded(() => this.#dispatch(connection))
  }

  refused(code: ErrorCode, cause: unknown): void {
    this.end(makeOutcome('refused', code, cause))
  }

  // undici's callbacks.

  onRequestStart(controller: Dispatcher.DispatchController): void {
    if (this.over) {
      controller.abort(ABANDONED)
      return
    }
    this.#controller = controller
    this.sent = true
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: ReceivedHeaders): void {
    if (this.over || status < 200) return
    this.status = status
    this.#outcome = answerOutcome(status, headers, this.target.clock)
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#read += chunk.length
    if (this.over || this.#read <= MOST_READ_BYTES) return
    this.end(this.#outcome)
    this.abort()
  }

  onResponseEnd(): void {
    this.#letGo()
    this.end(this.#outcome)
  }

  onResponseError(_controller: Dispatcher.DispatchController | null, error: Error): void {
    const connection = this.#letGo()
    if (this.over) return
    // It closed before a byte was written.
    const unwritten = !this.sent && (error === CONNECTION_LOST || connection?.usable !== true)
    if (unwritten) this.guarded(() => this.connect())
    else this.end(this.sent ? outcomeOf(error) : makeOutcome('refused', 'connect-failed', error))
  }

  onRequestUpgrade(controller: Dispatcher.DispatchController): void {
    controller.abort(ABANDONED)
  }

  protected connect(): void {
    this.#poolOf().take(this)
  }

  protected abort(): void {
    if (this.waitingIn !== undefined) this.waitingIn.leave(this)
    this.#controller?.abort(ABANDONED)
  }

  #dispatch(connection: RequestConnection): void {
    const headers = mirrorHeaders(this.#request, this.target.requestChanges)
    const { clock } = this.target
    const written = attemptHeaders(this, { headers, host: this.#host }, clock.now())
    connection.dispatch(dispatchOptions(this, this.#request, written, this.#body), this)
  }

  #letGo(): RequestConnection | undefined {
    const connection = this.#connection
    this.#connection = undefined
    this.#controller = undefined
    if (connection !== undefined) this.#poolOf().release(connection)
    return connection
  }
}
