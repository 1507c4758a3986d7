/**
 * What handlers and frameworks read of a socket, answered by the connection below a stream. What
 * would change the connection has no effect, because other streams share it.
 */
import { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'

export class SocketFace extends EventEmitter {
  /** @internal The connection's. */
  readonly below: Socket
  readonly connecting = false
  readonly pending = false
  readonly allowHalfOpen = true
  readonly readableFlowing = true
  readonly readableEnded = false
  readonly readableAborted = false
  readonly readableLength = 0
  readonly readableObjectMode = false
  readonly writableFinished = false
  readonly writableObjectMode = false

  constructor(below: Socket) {
    super()
    this.below = below
  }

  setNoDelay(): this {
    return this
  }

  setKeepAlive(): this {
    return this
  }

  /** The bytes of its requests are read as bodies. */
  read(): null {
    return null
  }

  isPaused(): boolean {
    return false
  }

  unpipe(): this {
    return this
  }

  /** As on a connection of HTTP/1.1. @throws Error always */
  setEncoding(): never {
    throw Object.assign(new Error('Changing the socket encoding is not allowed (RFC 9112, 2.2).'), {
      code: 'ERR_HTTP_SOCKET_ENCODING',
    })
  }

  setDefaultEncoding(): this {
    return this
  }

  ref(): this {
    return this
  }

  unref(): this {
    return this
  }
}

/** Properties and methods of a TLS socket are missing without TLS, as on a plain one. */
const READ = [
  'encrypted',
  'authorized',
  'authorizationError',
  'alpnProtocol',
  'servername',
  'remoteAddress',
  'remoteFamily',
  'remotePort',
  'localAddress',
  'localFamily',
  'localPort',
  'address',
  'getPeerCertificate',
  'getPeerX509Certificate',
  'getCertificate',
  'getX509Certificate',
  'getCipher',
  'getProtocol',
  'getSession',
  'getPeerFinished',
  'getFinished',
  'isSessionReused',
  'exportKeyingMaterial',
] as const

for (const name of READ) {
  Object.defineProperty(SocketFace.prototype, name, {
    configurable: true,
    get(this: SocketFace): unknown {
      const { below } = this
      const value = (below as unknown as Record<string, unknown>)[name]
      return typeof value === 'function' ? value.bind(below) : value
    },
  })
}
