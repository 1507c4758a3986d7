/**
 * Methods and header names that travel as one byte. The order is part of the wire format, so names
 * are only ever added at the end.
 */

/** 0 precedes a method as text. */
export const METHODS: readonly string[] = Object.freeze([
  '',
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'PATCH',
  'DELETE',
  'OPTIONS',
  'TRACE',
])

/** 0 precedes a name as text. */
export const NAMES: readonly string[] = Object.freeze([
  '',
  'host',
  'content-type',
  'content-length',
  'date',
  'etag',
  'cache-control',
  'accept',
  'accept-encoding',
  'authorization',
  'cookie',
  'set-cookie',
  'content-encoding',
  'location',
  'vary',
  'user-agent',
  'traceparent',
  'tracestate',
  'baggage',
  'retry-after',
  'idempotency-key',
  'x-request-id',
  'inmesh-timeout-ms',
  'inmesh-previous-attempts',
  'inmesh-not-executed',
  'x-inmesh-mirror',
  'last-modified',
  'accept-language',
  'content-language',
  'content-disposition',
  'content-range',
  'range',
  'accept-ranges',
  'if-none-match',
  'if-match',
  'if-modified-since',
  'if-unmodified-since',
  'expires',
  'age',
  'allow',
  'link',
  'origin',
  'referer',
  'server',
  'www-authenticate',
  'access-control-allow-origin',
  'access-control-allow-headers',
  'access-control-allow-methods',
  'access-control-allow-credentials',
  'strict-transport-security',
  'x-content-type-options',
  'x-powered-by',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
  'expect',
  'trailer',
  'te',
  'grpc-status',
  'grpc-message',
  'grpc-encoding',
  'grpc-accept-encoding',
  'grpc-timeout',
  'grpc-status-details-bin',
  'grpc-previous-rpc-attempts',
  'grpc-retry-pushback-ms',
])

export const METHOD_CODES: ReadonlyMap<string, number> = codesOf(METHODS)
export const NAME_CODES: ReadonlyMap<string, number> = codesOf(NAMES)

function codesOf(table: readonly string[]): ReadonlyMap<string, number> {
  return new Map(table.slice(1).map((name, i) => [name, i + 1]))
}
