/**
 * The headers of the mesh's own, for both protocols. A server drops all that begin with the prefix before user code sees
 * them, and a client drops them from responses: they mean something between two neighbours only.
 */

export const PREFIX = 'inmesh-'
/** Remaining time in whole ms: a duration, because clocks differ. */
export const TIMEOUT = 'inmesh-timeout-ms'
/** How many attempts of this call came before this one. */
export const PREVIOUS_ATTEMPTS = 'inmesh-previous-attempts'
/** On a response: this request was certainly not executed, and why (an `ErrorCode`). */
export const NOT_EXECUTED = 'inmesh-not-executed'
/** Identity headers that other proxies believe in; from outside they are lies. */
export const FORGED_IDENTITY = ['x-forwarded-client-cert']

/** gRPC's own words for the same things. */
export const GRPC_TIMEOUT = 'grpc-timeout'
export const GRPC_PREVIOUS_ATTEMPTS = 'grpc-previous-rpc-attempts'
export const GRPC_PUSHBACK = 'grpc-retry-pushback-ms'
