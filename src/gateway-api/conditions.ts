/** The conditions of a manifest's match in the words of our documents. */
import { firstOfEach, type GrpcMatch, type HttpMatch, pathOf } from './matches.ts'
import { asWritten, lowerCase } from './precedence.ts'

/** A `match` of a route in a document. */
export type OwnMatch = Readonly<Record<string, unknown>>

interface ValueMatch {
  readonly type: 'Exact' | 'RegularExpression' | undefined
  readonly name: string
  readonly value: string
}

function conditionOf({ type, value }: ValueMatch): unknown {
  if (type === 'RegularExpression') return { regex: value }
  return value === '*' ? { exact: value } : value
}

/** By `fromEntries`, so that a name such as `__proto__` is a key like any other. */
function valuesOf(matches: readonly ValueMatch[], nameOf: (name: string) => string): object {
  return Object.fromEntries(matches.map((match) => [nameOf(match.name), conditionOf(match)]))
}

export function httpCondition(match: HttpMatch): OwnMatch {
  const { type, value } = pathOf(match)
  const path = type === 'PathPrefix' ? { prefix: value } : type === 'Exact' ? { exact: value } : { regex: value }
  const headers = firstOfEach(match.headers, lowerCase)
  const parameters = firstOfEach(match.queryParams, asWritten)
  return {
    path,
    ...(match.method !== undefined && { method: match.method }),
    ...(headers.length > 0 && { headers: valuesOf(headers, lowerCase) }),
    ...(parameters.length > 0 && { query: valuesOf(parameters, asWritten) }),
  }
}

export function grpcCondition(match: GrpcMatch): OwnMatch {
  const headers = firstOfEach(match.headers, lowerCase)
  return { grpc: grpcMethodOf(match), ...(headers.length > 0 && { headers: valuesOf(headers, lowerCase) }) }
}

function grpcMethodOf({ method }: GrpcMatch): unknown {
  const { type = 'Exact', service = '', method: name = '' } = method ?? {}
  if (type === 'Exact') return `${service.replace(/^\./, '') || '*'}/${name || '*'}`
  const part = (pattern: string) => (pattern === '' ? '[^/]+' : `(?:${pattern})`)
  return { regex: `${part(service)}/${part(name)}` }
}
