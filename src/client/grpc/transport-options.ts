/** The limits of gRPC connections. */

export interface GrpcTransportSettings {
  readonly connectTimeoutMs: number
  readonly maxWaiting: number
  readonly rotationSpreadMs: number
  readonly keepaliveMs: number
}

/**
 * As for HTTP: one second to connect, and a rotation within two seconds. grpc-js sends no pings by
 * default; with these, a peer that vanished is found within 15 s while a call runs.
 */
export const GRPC_TRANSPORT_DEFAULTS: GrpcTransportSettings = Object.freeze({
  connectTimeoutMs: 1_000,
  maxWaiting: 1_024,
  rotationSpreadMs: 2_000,
  keepaliveMs: 10_000,
})

/** Largest received message in bytes, as in grpc-js. */
export const LARGEST_MESSAGE = 4_194_304
