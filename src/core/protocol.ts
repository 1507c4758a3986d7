/**
 * The protocols by which calls are made. The type is open: a protocol added later is one more value
 * of it.
 */

/** How a call reaches its callee. `function`: within this process, without a network. */
export type Protocol = 'http' | 'grpc' | 'function' | (string & {})

/** What this version can call; instances of any other protocol are skipped. */
export const CALLABLE_PROTOCOLS = ['http', 'grpc'] as const satisfies readonly Protocol[]
