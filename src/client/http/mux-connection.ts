/** An `inmesh/1` connection as requests of HTTP use it: each is an exchange on its own stream. */
import type { Dispatcher } from 'undici'
import type { IdentityRefusal } from '../../net/identity-refusal.ts'
import { MuxConnection } from '../mux/connection.ts'
import { StreamedBody } from './body/streamed.ts'
import { type AnswerHandler, CONNECTION_LOST, type ConnectionUser } from './connection-user.ts'
import { flatHeader } from './headers.ts'
import type { PooledConnection } from './pooled-connection.ts'
import { StreamExchange } from './stream-exchange.ts'

/** Methods for which the absence of a body is said, as in HTTP/1.1 (RFC 9110, 8.6). */
const EXPECT_BODY: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH', 'QUERY'])

/**
 * With more unread, calls use another connection: 32 to 64 answers, of which each buffers the rest.
 */
const MOST_UNREAD_BYTES = 8_388_608

export class HttpMuxConnection extends MuxConnection implements PooledConnection {
  readonly shared = true
  /** Of a connection with one request only. */
  user: ConnectionUser | undefined = undefined
  /** The end of a body is a frame, so a broken connection never looks like one. */
  readonly brokenOff = false
  /** What begins at the end of the turn, and with which options. */
  #pending: StreamExchange[] = []
  #options: Dispatcher.DispatchOptions[] = []

  override get room(): number {
    return this.session.window.unread < MOST_UNREAD_BYTES ? super.room - this.#pending.length : 0
  }

  override get running(): number {
    return super.running + this.#pending.length
  }

  /** Begins at the end of the turn, so that a call that is cancelled in it is never sent. */
  dispatch(options: Dispatcher.DispatchOptions, handler: AnswerHandler): void {
    if (this.#pending.length === 0) process.nextTick(beginPending, this)
    this.#pending.push(new StreamExchange(options.method, handler, this.session))
    this.#options.push(options)
  }

  /** @internal */
  beginPending(): void {
    const pending = this.#pending
    const options = this.#options
    this.#pending = []
    this.#options = []
    for (let i = 0; i < pending.length; i++) this.#begin(pending[i]!, options[i]!)
    if (this.session.open > 0) this.begun()
  }

  /** Calls need another connection, with another certificate. */
  refusedUs(cause: unknown): void {
    this.dial.report(cause as IdentityRefusal)
    this.leave()
  }

  park(): void {
    // It knows itself when no call runs on it.
  }

  giveBackUnread(now: number, most: number): number {
    let given = 0
    for (const { events } of this.session.streams.open) {
      // Each makes room for many calls, once enough is read.
      if ((given < most || this.room <= 0) && (events as StreamExchange).giveBackUnread(now)) given += 1
    }
    return given
  }

  #begin(exchange: StreamExchange, { method, path, headers, body }: Dispatcher.DispatchOptions): void {
    if (this.session.room === 0) {
      exchange.fail(CONNECTION_LOST)
      return
    }
    if (!exchange.start()) return
    const flat = headers as string[]
    try {
      if (body instanceof StreamedBody) {
        const stream = this.session.request(method, path, flat, undefined, false, exchange)
        exchange.begunWith(stream, body, flatHeader(flat, 'content-length'))
        return
      }
      const content = (body ?? undefined) as Uint8Array | undefined
      const declares = content !== undefined || EXPECT_BODY.has(method)
      if (declares && flatHeader(flat, 'content-length') === undefined) {
        flat.push('content-length', String(content?.length ?? 0))
      }
      const stream = this.session.request(method, path, flat, content, true, exchange)
      exchange.begun(stream, content)
    } catch (error) {
      // A head that no peer would take.
      exchange.fail(error as Error)
    }
  }
}

function beginPending(connection: HttpMuxConnection): void {
  connection.beginPending()
}
