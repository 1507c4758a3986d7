/**
 * The HTTP methods that documents may name: RFC 9110, RFC 5789 (PATCH) and QUERY. CONNECT is not
 * among them, because no service of a mesh answers it.
 */
export const HTTP_METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'QUERY'] as const

export type HttpMethod = (typeof HTTP_METHODS)[number]
