/** Options of a TCP server, with their validation. */
import { type Duration, formatDuration } from '../../options/duration.ts'
import { check, type Field, fields, flag, oneOf, optional, show, text, withDefault } from '../../options/fields.ts'
import { duration, integer } from '../../options/quantities.ts'
import type { ServerMode } from '../mode.ts'
import { readTarget, type Target } from './target.ts'

/** How TCP connections are served. */
export interface TcpServerOptions {
  /** 0: any free port. @defaultValue 0 */
  readonly port?: number
  /**
   * The address to listen on. @defaultValue `'127.0.0.1'` (`joinMesh` passes `'0.0.0.0'` outside
   * development)
   */
  readonly host?: string
  /**
   * `permissive` tells plaintext from TLS by the first byte of the caller, so it fits protocols in
   * which the caller speaks first. @defaultValue `'strict'`
   */
  readonly mode?: ServerMode
  /**
   * What connections are forwarded to, instead of a handler: `'127.0.0.1:6379'`, `'[::1]:6379'`, or
   * the path of a Unix socket. @defaultValue none
   */
  readonly target?: string
  /** Bound of connecting to `target`. @defaultValue `'1s'` */
  readonly connectTimeout?: Duration
  /** How long a connection may carry no byte; then it is closed. @defaultValue no limit */
  readonly idleTimeout?: Duration
  /** How long the handshake of a caller may take. @defaultValue `'5s'` */
  readonly handshakeTimeout?: Duration
  /** Connections over this number are closed at once. @defaultValue no limit */
  readonly maxConnections?: number
  /**
   * Whether a handler's socket stays open after the caller has sent all, as for `net.createServer`.
   * To a target half-closed connections are always passed on. @defaultValue false
   */
  readonly allowHalfOpen?: boolean
}

const NO_TARGET: Target = Object.freeze({ path: '' })

const TARGET: Field<Target, string> = {
  optional: false,
  schema: { type: 'string', minLength: 1, maxLength: 300 },
  parse(value, path, issues) {
    const target = typeof value === 'string' ? readTarget(value) : undefined
    if (target !== undefined) return target
    const expected = "an address such as '127.0.0.1:6379', or the path of a Unix socket such as '/run/redis.sock'"
    issues.push({ path, message: `expected ${expected}, got ${show(value)}` })
    return NO_TARGET
  },
}

export const TCP_SERVER_FIELDS = fields({
  port: withDefault(integer({ min: 0, max: 65_535 }), 0),
  host: withDefault(text('an IP address or a host name', /^[A-Za-z0-9.:_-]+$/), '127.0.0.1'),
  mode: withDefault(oneOf(['strict', 'permissive', 'plaintext']), 'strict'),
  target: optional(TARGET),
  connectTimeout: withDefault(duration({ min: 10, max: 60_000 }), 1_000, formatDuration(1_000)),
  idleTimeout: optional(duration({ min: 1_000, max: 86_400_000 })),
  handshakeTimeout: withDefault(duration({ min: 100, max: 60_000 }), 5_000, formatDuration(5_000)),
  maxConnections: optional(integer({ min: 1, max: 1_000_000 })),
  allowHalfOpen: withDefault(flag(), false),
})

/** The acceptor's among them. */
export interface TcpServerSettings {
  readonly port: number
  readonly host: string
  readonly mode: ServerMode
  readonly target: Target | undefined
  readonly connectTimeoutMs: number
  readonly idleTimeoutMs: number
  readonly headersTimeout: number
  readonly rotationGrace: number
  readonly maxConnections: number | undefined
  readonly allowHalfOpen: boolean
}

/** Validates and completes. @throws OptionsError naming each wrong field */
export function resolveTcpServer(options?: TcpServerOptions): TcpServerSettings {
  const given = check(TCP_SERVER_FIELDS, options ?? {}, 'listen')
  const { connectTimeout, idleTimeout = Number.POSITIVE_INFINITY, handshakeTimeout, ...rest } = given
  return Object.freeze({
    ...rest,
    connectTimeoutMs: connectTimeout,
    idleTimeoutMs: idleTimeout,
    headersTimeout: handshakeTimeout,
    // Connections stay after a rotation.
    rotationGrace: 0,
  })
}
