/**
 * The headers of the mesh's own, for both protocols. A server drops all that begin with the prefix
 * before user code sees them, and a client drops them from responses: they mean something between
 * two neighbours only.
 */

export const PREFIX = 'inmesh-'
/** Remaining time in whole ms: a duration, because clocks differ. */
export const TIMEOUT = 'inmesh-timeout-ms'
/** How many attempts of this call came before this one. */
export const PREVIOUS_ATTEMPTS = 'inmesh-previous-attempts'
/** On a response: this request was certainly not executed, and why (an `ErrorCode`). */
export const NOT_EXECUTED = 'inmesh-not-executed'
/**
 * Headers by which proxies tell who the peer is: RFC 9440, Envoy, nginx and Apache, Traefik,
 * HAProxy, AWS, Azure, Google, Cloudflare, Linkerd, WebLogic. From outside they are lies. Names in
 * lower case.
 */
const CLAIMED_IDENTITY =
  /^(?:client-cert(?:-chain)?|x-forwarded-(?:client-cert|tls-client-cert)(?:-.+)?|(?:x-)?ssl[-_](?:client|cert|issuer|subject|verif|dn).*|(?:wl-)?proxy-client-cert|x-client-(?:cert|verify|dn|ssl|tls|subject|issuer).*|x-(?:amzn-mtls|arr-clientcert|goog-client-cert|envoy-(?:peer|downstream-service)|spiffe|tls-client|forwarded-ssl-client).*|cf-client-cert.*|l5d-client-id)$/

/** Whether a header claims who the peer is. Quick for those that do not. */
export function claimsIdentity(name: string): boolean {
  switch (name.charCodeAt(0)) {
    case 0x63: {
      // 'cl' or 'cf', and not content-length.
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

/** gRPC's own words for the same things. */
export const GRPC_TIMEOUT = 'grpc-timeout'
export const GRPC_PREVIOUS_ATTEMPTS = 'grpc-previous-rpc-attempts'
export const GRPC_PUSHBACK = 'grpc-retry-pushback-ms'
