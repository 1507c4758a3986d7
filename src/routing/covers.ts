/**
 * Whether one match holds for every request for which another does. It is sound: where it cannot
 * tell, it says no.
 */
import { compileRegex } from './linear-regex.ts'
import { isWhole, type PathPattern, type SegmentPattern } from './path-pattern.ts'
import type { GrpcMatch, MatchSettings } from './settings.ts'
import type { ValueMatch } from './value-match.ts'

/** The conditions that are compared. A match with others is not known to cover any. */
const COMPARED: ReadonlySet<string> = new Set([
  'methods',
  'path',
  'headers',
  'query',
  'grpc',
  'from',
  'namespace',
  'protocol',
] satisfies (keyof MatchSettings)[])

/**
 * Conditions that a match shares with each one that it covers, as text: what its path or gRPC
 * method begins with, and the first header of which it asks an exact value. So only matches that
 * share the text need to be compared.
 */
export function sharedBy(match: MatchSettings): string {
  return `${beginningOf(match) ?? ''}|${match.headers.flatMap(exactly)[0] ?? ''}`
}

/** Of a match, all texts that {@link sharedBy} may say of one that covers it. */
export function sharedWith(match: MatchSettings): readonly string[] {
  const beginning = beginningOf(match)
  const headers = ['', ...match.headers.flatMap(exactly)]
  return (beginning === undefined ? [''] : ['', beginning]).flatMap((begin) =>
    headers.map((header) => `${begin}|${header}`),
  )
}

/** Whether `match` has no condition that {@link covers} does not know. */
export function isComparable(match: MatchSettings): boolean {
  return Object.entries(match).every(([key, condition]) => condition === undefined || COMPARED.has(key))
}

function beginningOf({ path, grpc }: MatchSettings): string | undefined {
  if (path?.kind === 'segments' && path.segments[0] !== undefined) return `/${path.segments[0]}`
  return grpc?.kind === 'names' ? grpc.service : undefined
}

function exactly([name, value]: readonly [string, ValueMatch]): string[] {
  return value.kind === 'exact' ? [`${name}=${value.value}`] : []
}

/** Whether `wide`, which is comparable, holds wherever `narrow` does. */
export function covers(wide: MatchSettings, narrow: MatchSettings): boolean {
  return (
    (wide.protocol === undefined || wide.protocol === narrow.protocol) &&
    contains(wide.methods, narrow.methods) &&
    contains(wide.from, narrow.from) &&
    (wide.namespace === undefined || wide.namespace === narrow.namespace) &&
    (wide.path === undefined ||
      isAll(wide.path) ||
      (narrow.path !== undefined && pathCovers(wide.path, narrow.path))) &&
    (wide.grpc === undefined || (narrow.grpc !== undefined && grpcCovers(wide.grpc, narrow.grpc))) &&
    valuesCover(wide.headers, narrow.headers) &&
    valuesCover(wide.query, narrow.query)
  )
}

function isAll(path: PathPattern): boolean {
  return path.kind === 'segments' && isWhole(path)
}

/** `undefined`: all. */
function contains(wide: readonly string[] | undefined, narrow: readonly string[] | undefined): boolean {
  return wide === undefined || (narrow?.every((value) => wide.includes(value)) ?? false)
}

function grpcCovers(wide: GrpcMatch, narrow: GrpcMatch): boolean {
  if (narrow.kind === 'regex') return wide.kind === 'regex' && wide.source === narrow.source
  const { service, method } = narrow
  if (wide.kind === 'names') {
    return (wide.service ?? service) === service && (wide.method ?? method) === method
  }
  return service !== undefined && method !== undefined && compileRegex(wide.source)(`${service}/${method}`)
}

type Values = readonly (readonly [name: string, value: ValueMatch])[]

function valuesCover(wide: Values, narrow: Values): boolean {
  return wide.every(([name, value]) => narrow.some((other) => other[0] === name && valueCovers(value, other[1])))
}

function valueCovers(wide: ValueMatch, narrow: ValueMatch): boolean {
  if (wide.kind === 'present') return true
  if (narrow.kind === 'exact') {
    return wide.kind === 'exact' ? wide.value === narrow.value : compileRegex(wide.source)(narrow.value)
  }
  return wide.kind === 'regex' && narrow.kind === 'regex' && wide.source === narrow.source
}

function pathCovers(wide: PathPattern, narrow: PathPattern): boolean {
  if (wide.kind === 'regex') {
    if (narrow.kind === 'regex') return wide.source === narrow.source
    const only = onlyPath(narrow)
    return only !== undefined && compileRegex(wide.source)(only)
  }
  return narrow.kind === 'segments' && segmentsCover(wide, narrow)
}

/** The only path that matches; `undefined`: there are several. */
function onlyPath({ segments, end }: SegmentPattern): string | undefined {
  return end === 'exact' && !segments.includes(undefined) ? `/${segments.join('/')}` : undefined
}

function segmentsCover(wide: SegmentPattern, narrow: SegmentPattern): boolean {
  const more = narrow.segments.length - wide.segments.length
  const alike = wide.segments.every((segment, i) => {
    const other = narrow.segments[i]
    return segment === undefined ? other !== '' : segment === other
  })
  if (more < 0 || !alike) return false
  switch (wide.end) {
    case 'prefix':
      return true
    case 'exact':
      return more === 0 && narrow.end === 'exact'
    case 'rest':
      // At least one character follows.
      return more === 0 ? narrow.end === 'rest' : more > 1 || narrow.segments.at(-1) !== '' || narrow.end === 'rest'
  }
}
