/**
 * Names of headers, and those that the mesh reserves. Clients drop reserved ones from user input,
 * and servers remove them before user code runs.
 */

/** A token (RFC 9110, 5.6.2), such as the name of a header. */
export const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
/** Headers of a single connection, or computed by the client (RFC 9110, 7.6.1). */
export const OF_CONNECTIONS: readonly string[] = Object.freeze([
  'host',
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
  'te',
  'trailer',
  'expect',
])

export const PREFIX = 'inmesh-'
/** Remaining time in whole ms. A duration, because clocks differ. */
export const TIMEOUT = 'inmesh-timeout-ms'
/** Number of earlier attempts of this call. */
export const PREVIOUS_ATTEMPTS = 'inmesh-previous-attempts'
/** On a request without a deadline: it comes from a client of the mesh. */
export const FROM_MESH = 'inmesh-client'
/** On a response: the request was certainly not executed; the value is the `ErrorCode`. */
export const NOT_EXECUTED = 'inmesh-not-executed'
/** On a response, or with a gRPC status: the server's load, as `load-header.ts` writes it. */
export const LOAD = 'inmesh-load'
/** The same to and from foreign processes (ORCA, gRFC A51): as text, and as base64. */
export const ORCA = 'endpoint-load-metrics'
export const ORCA_BIN = 'endpoint-load-metrics-bin'
/**
 * Headers in which proxies state the identity of a peer: RFC 9440, Envoy, nginx and Apache,
 * Traefik, HAProxy, AWS, Azure, Google, Cloudflare, Linkerd, WebLogic. From outside they are
 * forged.
 */
const CLAIMED_IDENTITY =
  /^(?:client-cert(?:-chain)?|x-forwarded-(?:client-cert|tls-client-cert)(?:-.+)?|(?:x-)?ssl[-_](?:client|cert|issuer|subject|verif|dn).*|(?:wl-)?proxy-client-cert|x-client-(?:cert|verify|dn|ssl|tls|subject|issuer).*|x-(?:amzn-mtls|arr-clientcert|goog-client-cert|envoy-(?:peer|downstream-service)|spiffe|tls-client|forwarded-ssl-client).*|cf-client-cert.*|l5d-client-id)$/

/**
 * Whether a header (name in lower case) is removed wherever it crosses the border of a process: it
 * has our prefix, or claims an identity that only a certificate proves. Fast for all others.
 */
export function isReserved(name: string): boolean {
  switch (name.charCodeAt(0)) {
    case 0x69:
      return name.startsWith(PREFIX)
    case 0x63: {
      // 'cl' and 'cf', but not content-length.
      const second = name.charCodeAt(1)
      return (second === 0x6c || second === 0x66) && CLAIMED_IDENTITY.test(name)
    }
    case 0x6c:
    case 0x70:
    case 0x73:
    case 0x77:
    case 0x78:
      return CLAIMED_IDENTITY.test(name)
    default:
      return false
  }
}

/**
 * Marks a copy of a call that a route mirrors, and the calls that it causes. Not removed, so that a
 * handler may look at it.
 */
export const MIRROR = 'x-inmesh-mirror'

/** What the user agent of a gRPC client of the mesh begins with. */
export const GRPC_AGENT = 'inmesh'
/** gRPC's names for the same keys. */
export const GRPC_TIMEOUT = 'grpc-timeout'
export const GRPC_PREVIOUS_ATTEMPTS = 'grpc-previous-rpc-attempts'
export const GRPC_PUSHBACK = 'grpc-retry-pushback-ms'
