/** Options of HTTP connections, with their validation. */
import { check, fields, withDefault } from '../../options/fields.ts'
import { duration, integer } from '../../options/quantities.ts'

/** Connections of one endpoint. */
export interface HttpTransportOptions {
  /**
   * HTTP/1.1 connections to one endpoint; each carries one request at a time. Beyond it attempts
   * wait.
   * @defaultValue 64: at 10 ms a request that is 6,400 requests/s to one instance, more than a Node
   * process serves
   */
  readonly maxConnections?: number
  /**
   * Attempts waiting for a connection to one endpoint; beyond it they fail with `queue-full`.
   * @defaultValue 256
   */
  readonly maxWaiting?: number
  /** Bound of connecting, TLS included. @defaultValue `'1s'`  */
  readonly connectTimeout?: number | `${number}${'ms' | 's'}`
  /**
   * Idle connections that are kept although unused; more are closed after `idleTimeout`.
   * @defaultValue 2
   */
  readonly spareConnections?: number
  /** @defaultValue `'15s'` */
  readonly idleTimeout?: number | `${number}${'ms' | 's' | 'm'}`
  /** Within this time after a rotation all old connections are replaced. @defaultValue `'2s'` */
  readonly rotationSpread?: number | `${number}${'ms' | 's' | 'm'}`
}

export const HTTP_TRANSPORT_FIELDS = fields({
  maxConnections: withDefault(integer({ min: 1, max: 10_000 }), 64),
  maxWaiting: withDefault(integer({ min: 0, max: 100_000 }), 256),
  connectTimeout: withDefault(duration({ min: 1, max: 60_000 }), 1_000, '1s'),
  spareConnections: withDefault(integer({ min: 0, max: 10_000 }), 2),
  idleTimeout: withDefault(duration({ min: 1, max: 3_600_000 }), 15_000, '15s'),
  rotationSpread: withDefault(duration({ min: 0, max: 60_000 }), 2_000, '2s'),
})

export interface HttpTransportSettings {
  readonly maxConnections: number
  readonly maxWaiting: number
  readonly connectTimeoutMs: number
  readonly spareConnections: number
  readonly idleTimeoutMs: number
  readonly rotationSpreadMs: number
}

/** Validates and completes. @throws OptionsError naming each wrong field. */
export function resolveHttpTransport(options?: HttpTransportOptions, what = 'connections'): HttpTransportSettings {
  const given = check(HTTP_TRANSPORT_FIELDS, options, what)
  return Object.freeze({
    maxConnections: given.maxConnections,
    maxWaiting: given.maxWaiting,
    connectTimeoutMs: given.connectTimeout,
    spareConnections: given.spareConnections,
    idleTimeoutMs: given.idleTimeout,
    rotationSpreadMs: given.rotationSpread,
  })
}
