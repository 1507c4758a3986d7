/** An `inmesh/1` connection as requests of HTTP use it: each is an exchange on its own stream. */
import type { Dispatcher } from 'undici'
import { HeadTooLarge } from '../../mux/head-writer.ts'
import type { IdentityRefusal } from '../../net/identity-refusal.ts'
import { MuxConnection } from '../mux/connection.ts'
import { StreamedBody } from './body/streamed.ts'
import type { ConnectionUser } from './connection-user.ts'
import { flatHeader } from './headers.ts'
import type { PooledConnection } from './pooled-connection.ts'
import { StreamExchange } from './stream-exchange.ts'

/** Methods for which the absence of a body is said, as in HTTP/1.1 (RFC 9110, 8.6). */
const EXPECT_BODY: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH', 'QUERY'])

export class HttpMuxConnection extends MuxConnection implements PooledConnection {
  readonly shared = true
  /** Of a connection with one request only. */
  user: ConnectionUser | undefined = undefined

  /** The end of a body is a frame, so a broken connection never looks like one. */
  readonly brokenOff = false

  dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): void {
    const { method, path, body } = options
    const headers = options.headers as string[]
    const exchange = new StreamExchange(method, handler, this.session)
    handler.onRequestStart?.(exchange, null)
    if (exchange.over) return
    try {
      if (body instanceof StreamedBody) {
        const stream = this.session.request(method, path, headers, undefined, false, exchange)
        this.begun()
        exchange.begunWith(stream, body, flatHeader(headers, 'content-length'))
        return
      }
      const content = (body ?? undefined) as Uint8Array | undefined
      const declares = content !== undefined || EXPECT_BODY.has(method)
      if (declares && flatHeader(headers, 'content-length') === undefined) {
        headers.push('content-length', String(content?.length ?? 0))
      }
      const stream = this.session.request(method, path, headers, content, true, exchange)
      this.begun()
      exchange.begun(stream, content)
    } catch (error) {
      if (!(error instanceof HeadTooLarge)) throw error
      exchange.fail(error)
    }
  }

  /** Calls need another connection, with another certificate. */
  refusedUs(cause: unknown): void {
    this.dial.report(cause as IdentityRefusal)
    this.leave()
  }

  park(): void {
    // It knows itself when no call runs on it.
  }
}
