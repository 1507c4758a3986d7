/**
 * What carries calls between two processes, by the ids of ALPN. Servers announce what they offer,
 * and each connection carries one.
 */

/** Many calls on one connection, between two processes of the mesh. */
export const MUX = 'inmesh/1'
export const HTTP2 = 'h2'
export const HTTP1 = 'http/1.1'

/** What a connection carries. The type is open: a later version may know more. */
export type TransportName = 'inmesh/1' | 'h2' | 'http/1.1' | (string & {})

/**
 * The transport that calls to a service may take. `http1`: as every version can, without
 * `inmesh/1`; for gRPC this is HTTP/2.
 */
export type TransportPreference = 'auto' | 'http1'

export const TRANSPORT_PREFERENCES = ['auto', 'http1'] as const satisfies readonly TransportPreference[]

/** What holds where no document, option or variable says anything. */
export const DEFAULT_TRANSPORT: TransportPreference = 'auto'
