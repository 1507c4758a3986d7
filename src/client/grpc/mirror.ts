/**
 * One mirror over gRPC, and grpc-js's listener for it. It sends the messages that an attempt sent,
 * and drops the answer as it arrives.
 */
import type { IncomingHttpHeaders } from 'node:http2'
import type * as grpc from '@grpc/grpc-js'
import type { Call } from '../../core/call.ts'
import type { ErrorCode } from '../../core/errors.ts'
import { MIRROR } from '../../core/headers.ts'
import { outcome as makeOutcome, type Outcome, SUCCESS } from '../../core/outcome.ts'
import { GRPC_STATUS } from '../../core/status.ts'
import type { Stack } from '../../resilience/stack.ts'
import { MirrorAttempt, MOST_READ_BYTES } from '../mirror/attempt.ts'
import type { CallMirrors } from '../mirror/call-mirrors.ts'
import type { MirrorTarget } from '../mirror/target.ts'
import type { CallOwner, GrpcConnection } from './connection.ts'
import type { GrpcConnectionUser } from './connection-user.ts'
import type { CarriedCall } from './grpc-js.ts'
import { mirrorMetadata } from './headers.ts'
import { outcomeOfStatus, type StatusSource } from './outcome.ts'
import type { Entry, ReplayBuffer } from './replay-buffer.ts'
import type { CarryingStream } from './stream.ts'
import type { GrpcTransport } from './transport.ts'

/** What a mirror takes from the call that it copies. */
export interface MirroredCall extends Call {
  readonly stack: Stack
  readonly transport: GrpcTransport
  readonly path: string
  readonly host: string | null | undefined
  readonly metadata: grpc.Metadata
  /** Before a route changed them; `undefined`: no route has. */
  readonly given: grpc.Metadata | undefined
  readonly outbox: ReplayBuffer
  readonly mirrors: CallMirrors | undefined
}

/** Copies the request of `call`, which is whole. `authorized`: with what call credentials added. */
export function mirrorMessages(call: MirroredCall, authorized: grpc.Metadata | undefined): void {
  const { outbox, path } = call
  const mirrors = call.mirrors!
  const host = call.host ?? call.kind.service
  const messages = outbox.whole
  if (call.metadata.get(MIRROR).length > 0) mirrors.forget()
  else if (messages === undefined) mirrors.drop(outbox.isLarge ? 'body-too-large' : 'body-not-kept')
  else {
    mirrors.send((target) => {
      const given = call.given ?? call.metadata
      const metadata = mirrorMetadata(given, target.requestChanges, call.metadata, authorized)
      return new GrpcMirror(target, call, { path, host, metadata, messages })
    })
  }
}

/** What an attempt sent. */
export interface SentMessages {
  readonly path: string
  readonly host: string
  /** The caller's, with what its call credentials added. */
  readonly metadata: grpc.Metadata
  readonly messages: readonly Entry[]
}

export class GrpcMirror extends MirrorAttempt implements GrpcConnectionUser, StatusSource, CallOwner {
  leaving = false
  stream: CarryingStream | undefined = undefined
  httpStatus = 0
  trailers: IncomingHttpHeaders | undefined = undefined
  headers: grpc.Metadata | undefined = undefined
  answered = false
  readonly #transport: GrpcTransport
  readonly #request: SentMessages
  #connection: GrpcConnection | undefined = undefined
  #inner: CarriedCall | undefined = undefined
  #next = 0
  #read = 0

  constructor(target: MirrorTarget, of: MirroredCall, request: SentMessages) {
    super(target, of, of.stack.timeoutMs)
    this.#transport = of.transport
    this.#request = request
  }

  get ended(): boolean {
    return this.over
  }

  // The pool's answers.

  assigned(connection: GrpcConnection): void {
    this.#connection = connection
    this.guarded(() => this.#open(connection))
  }

  refused(code: ErrorCode, cause: unknown): void {
    this.end(makeOutcome('refused', code, cause))
  }

  // grpc-js's callbacks.

  onReceiveMetadata(metadata: grpc.Metadata): void {
    this.headers = metadata
  }

  onReceiveMessage(): void {
    this.answered = true
    if (!this.over) this.guarded(() => this.#inner!.startRead())
  }

  onReceiveStatus(status: grpc.StatusObject): void {
    if (this.over) return
    const outcome = outcomeOfStatus(status, this.#connection!, this)
    this.status = status.code
    this.end(outcome)
  }

  protected connect(): void {
    this.#transport.poolOf(this.endpoint!).take(this)
  }

  protected abort(): void {
    if (this.#connection === undefined) this.#transport.poolOf(this.endpoint!).leave(this)
    this.#inner?.cancelWithStatus(GRPC_STATUS.CANCELLED, 'the mirror is over')
  }

  protected override end(outcome: Outcome): void {
    if (this.over) return
    super.end(outcome)
    this.#connection?.release(this.leaving && this.trailers === undefined)
  }

  #open(connection: GrpcConnection): void {
    const { path, host: authority, metadata } = this.#request
    const { deadlineAt } = this.call
    const now = this.target.clock.now()
    const inner = connection.begin({ path, authority, metadata, attempt: this, deadlineAt, now }, this)
    this.#inner = inner
    this.sent = true
    this.transport = connection.transport
    inner.startRead()
    this.#send()
  }

  /** One message is in flight at a time. */
  #send(): void {
    const inner = this.#inner!
    const entry = this.#request.messages[this.#next]
    if (entry === undefined) {
      inner.halfClose()
      return
    }
    this.#next += 1
    inner.sendMessageWithContext(
      entry.context(() => this.#sent()),
      entry.message,
    )
  }

  #sent(): void {
    if (!this.over) this.guarded(() => this.#send())
  }

  /** A message is kept until it is whole, so its bytes are counted below. */
  bytesArrived(bytes: number): void {
    this.#read += bytes
    if (this.over || this.#read <= MOST_READ_BYTES) return
    // It has answered, and no more is asked of a mirror.
    this.end(SUCCESS)
    this.abort()
  }
}
