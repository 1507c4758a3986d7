/**
 * Names of span attributes: those of the OpenTelemetry semantic conventions 1.45.0, and ours.
 * Copied, because their package would be a dependency for a dozen constants.
 */

export const HTTP_REQUEST_METHOD = 'http.request.method'
export const HTTP_REQUEST_METHOD_ORIGINAL = 'http.request.method_original'
/** Followed by the name of the header. */
export const HTTP_REQUEST_HEADER = 'http.request.header'
/** Without the query. */
export const URL_PATH = 'url.path'
export const HTTP_RESPONSE_STATUS_CODE = 'http.response.status_code'
/** How many attempts came before this one. Absent on the first. */
export const HTTP_REQUEST_RESEND_COUNT = 'http.request.resend_count'
export const RPC_SYSTEM_NAME = 'rpc.system.name'
export const RPC_METHOD = 'rpc.method'
/** Followed by the key of the metadata. */
export const RPC_REQUEST_METADATA = 'rpc.request.metadata'
export const RPC_STATUS_CODE = 'rpc.status_code'
/** `http`; of the mux `inmesh`. */
export const NETWORK_PROTOCOL_NAME = 'network.protocol.name'
export const NETWORK_PROTOCOL_VERSION = 'network.protocol.version'
export const NETWORK_PEER_ADDRESS = 'network.peer.address'
export const SERVER_ADDRESS = 'server.address'
export const SERVER_PORT = 'server.port'
/** Ours: a second attempt beside a late one, to which it has a link. */
export const HEDGE = 'inmesh.hedge'
/** Ours: the event of a call's span when an attempt failed and another one follows. */
export const RETRY_EVENT = 'inmesh.retry'
/** Ours, of that event: the wait before the next attempt, in seconds. */
export const RETRY_DELAY = 'inmesh.retry.delay'
/** Ours: a copy of its parent, made by a route's `mirror`. */
export const MIRROR = 'inmesh.mirror'
/** The peer's status as text, otherwise an `ErrorCode`. */
export const ERROR_TYPE = 'error.type'
export const SERVICE_NAME = 'service.name'
/** Incubating: the service on the other side. */
export const SERVICE_PEER_NAME = 'service.peer.name'
/** Ours: the route of the service's document that was chosen. */
export const ROUTE = 'inmesh.route'

/** The value of `rpc.method`, `shop.Inventory/Get`: the path of a gRPC call without its slash. */
export function rpcMethod(path: string): string {
  return path.startsWith('/') ? path.slice(1) : path
}
