/**
 * The protocols by which calls are made. The type is open: a protocol added later is one more value
 * of it.
 */

/** How a call reaches its callee. `function`: within this process, without a network. */
export type Protocol = 'http' | 'grpc' | 'tcp' | 'function' | (string & {})

/** What this version can call; instances of any other protocol are skipped. */
export const CALLABLE_PROTOCOLS = ['http', 'grpc', 'tcp'] as const satisfies readonly Protocol[]

/** The method of a TCP connection as a call: metrics, spans and errors name it so. */
export const CONNECT = 'connect'
