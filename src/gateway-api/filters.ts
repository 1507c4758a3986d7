/**
 * The filters of rules and of backends: what is done with a request or an answer on its way. A
 * filter carries the settings of its type, and of no other.
 */

import {
  type AnyField,
  type Field,
  field,
  fields,
  type Issue,
  list,
  oneOf,
  optional,
  type Parsed,
  type Path,
} from '../options/fields.ts'
import { didYouMean } from '../options/nearest.ts'
import { integer } from '../options/quantities.ts'
import { mistakeOfPath } from './matches.ts'
import { headerName, hostName, nonEmpty } from './names.ts'
import { checkTarget, TARGET_REF_SHAPE } from './references.ts'

const MOST_FILTERS = 16
const MOST_HEADERS = 16
const INT32 = 2_147_483_647

const HEADER = fields({ name: headerName(), value: nonEmpty('the value of the header', 4_096) })
const HEADERS = fields({
  set: optional(list(HEADER, { max: MOST_HEADERS })),
  add: optional(list(HEADER, { max: MOST_HEADERS })),
  remove: optional(list(headerName(), { max: MOST_HEADERS })),
})

const path = (): Field<string> =>
  field('a path of at most 1024 characters', { type: 'string', maxLength: 1_024 }, (value) =>
    typeof value === 'string' && value.length <= 1_024 ? value : undefined,
  )

const PATH_MODIFIER = fields({
  type: oneOf(['ReplaceFullPath', 'ReplacePrefixMatch']),
  replaceFullPath: optional(path()),
  replacePrefixMatch: optional(path()),
})

const STATUSES = [301, 302, 303, 307, 308]
const redirectStatus: Field<number> = field('301, 302, 303, 307 or 308', { enum: STATUSES }, (value) =>
  STATUSES.includes(value as number) ? (value as number) : undefined,
)

const REDIRECT = fields({
  scheme: optional(oneOf(['http', 'https'])),
  hostname: optional(hostName()),
  path: optional(PATH_MODIFIER),
  port: optional(integer({ min: 1, max: 65_535 })),
  statusCode: optional(redirectStatus),
})

const REWRITE = fields({ hostname: optional(hostName()), path: optional(PATH_MODIFIER) })

const MIRROR = fields({
  backendRef: fields(TARGET_REF_SHAPE),
  percent: optional(integer({ min: 0, max: 100 })),
  fraction: optional(
    fields({
      numerator: integer({ min: 0, max: INT32 }),
      denominator: optional(integer({ min: 1, max: INT32 })),
    }),
  ),
})

const PARTS = {
  requestHeaderModifier: optional(HEADERS),
  responseHeaderModifier: optional(HEADERS),
  requestMirror: optional(MIRROR),
  requestRedirect: optional(REDIRECT),
  urlRewrite: optional(REWRITE),
}

const ALL = fields({
  type: oneOf(['RequestHeaderModifier', 'ResponseHeaderModifier', 'RequestMirror', 'RequestRedirect', 'URLRewrite']),
  ...PARTS,
})

export interface Filter extends Parsed<typeof ALL> {}
export interface HeaderFilter extends Parsed<typeof HEADERS> {}
export interface PathModifier extends Parsed<typeof PATH_MODIFIER> {}
export interface RedirectFilter extends Parsed<typeof REDIRECT> {}
export interface MirrorFilter extends Parsed<typeof MIRROR> {}

/** By type, the key of its settings. */
const PART_OF = {
  RequestHeaderModifier: 'requestHeaderModifier',
  ResponseHeaderModifier: 'responseHeaderModifier',
  RequestMirror: 'requestMirror',
  RequestRedirect: 'requestRedirect',
  URLRewrite: 'urlRewrite',
} as const

/** Known to the specification, and not to the mesh. */
const DECLINED: Readonly<Record<string, string>> = {
  CORS: 'CORS is not supported: browsers do not call a service through the mesh; answer preflights in the service',
  ExternalAuth:
    "external authorization is not supported: the mesh authorizes by identity; write intentions ('allow') instead",
  ExtensionRef: 'filters of other vendors are not supported; a filter that cannot be applied must not be skipped',
}

const GRPC_TYPES: ReadonlySet<string> = new Set(['RequestHeaderModifier', 'ResponseHeaderModifier', 'RequestMirror'])

/** Refuses in the specification's terms what the mesh does not do. */
function filterOf(protocol: 'http' | 'grpc'): Field<Filter> {
  return {
    optional: false,
    schema: ALL.schema,
    parse(value, at, issues) {
      const type = typeof value === 'object' && value !== null && 'type' in value ? value.type : undefined
      const declined = typeof type === 'string' && Object.hasOwn(DECLINED, type) ? DECLINED[type] : undefined
      if (declined !== undefined) {
        issues.push({ path: [...at, 'type'], message: declined })
        return value as Filter
      }
      if (protocol === 'grpc' && typeof type === 'string' && Object.hasOwn(PART_OF, type) && !GRPC_TYPES.has(type)) {
        issues.push({
          path: [...at, 'type'],
          message: `a GRPCRoute has no filter '${type}'${didYouMean(type, [...GRPC_TYPES])}`,
        })
        return value as Filter
      }
      return ALL.parse(value, at, issues)
    },
  }
}

export const HTTP_FILTERS: AnyField<readonly Filter[]> = list(filterOf('http'), { max: MOST_FILTERS })
export const GRPC_FILTERS: AnyField<readonly Filter[]> = list(filterOf('grpc'), { max: MOST_FILTERS })

/** `prefixes`: the rule's one match is a `PathPrefix`, so that its prefix can be replaced. */
export function checkFilters(filters: readonly Filter[], prefixes: boolean, at: Path, issues: Issue[]): void {
  const seen = new Set<string>()
  for (const [i, filter] of filters.entries()) {
    const here = [...at, i]
    const { type } = filter
    if (seen.has(type) && type !== 'RequestMirror') {
      issues.push({ path: [...here, 'type'], message: `'${type}' is given twice; only RequestMirror may be repeated` })
    }
    seen.add(type)
    const own = PART_OF[type]
    if (filter[own] === undefined) issues.push({ path: here, message: `has type '${type}' and no '${own}'` })
    for (const key of Object.values(PART_OF)) {
      if (key === own || filter[key] === undefined) continue
      issues.push({ path: [...here, key], message: `does not belong to a filter of type '${type}'` })
    }
    checkParts(filter, prefixes, here, issues)
  }
  if (seen.has('RequestRedirect') && seen.has('URLRewrite')) {
    issues.push({ path: at, message: 'has both RequestRedirect and URLRewrite; a redirected request is not forwarded' })
  }
}

function checkParts(filter: Filter, prefixes: boolean, at: Path, issues: Issue[]): void {
  const { requestHeaderModifier, responseHeaderModifier, requestMirror, requestRedirect, urlRewrite } = filter
  if (requestHeaderModifier !== undefined) checkHeaders(requestHeaderModifier, [...at, 'requestHeaderModifier'], issues)
  if (responseHeaderModifier !== undefined) {
    checkHeaders(responseHeaderModifier, [...at, 'responseHeaderModifier'], issues)
  }
  if (requestMirror !== undefined) checkMirror(requestMirror, [...at, 'requestMirror'], issues)
  if (requestRedirect?.path !== undefined) {
    checkPathModifier(requestRedirect.path, prefixes, [...at, 'requestRedirect', 'path'], issues)
  }
  if (urlRewrite?.path !== undefined) {
    checkPathModifier(urlRewrite.path, prefixes, [...at, 'urlRewrite', 'path'], issues)
  }
}

/** "Filters specifying multiple actions for any one header name are invalid." */
function checkHeaders({ set = [], add = [], remove = [] }: HeaderFilter, at: Path, issues: Issue[]): void {
  const actions = new Map<string, string>()
  const names: [string, readonly string[]][] = [
    ['set', set.map(({ name }) => name)],
    ['add', add.map(({ name }) => name)],
    ['remove', remove],
  ]
  for (const [action, list] of names) {
    for (const [i, name] of list.entries()) {
      const before = actions.get(name.toLowerCase())
      if (before !== undefined && before !== action) {
        issues.push({
          path: [...at, action, i],
          message: `'${name}' stands in '${before}', too; one action for each header`,
        })
      }
      actions.set(name.toLowerCase(), action)
    }
  }
}

function checkMirror({ backendRef, percent, fraction }: MirrorFilter, at: Path, issues: Issue[]): void {
  checkTarget(backendRef, [...at, 'backendRef'], issues)
  if (percent !== undefined && fraction !== undefined) {
    issues.push({ path: [...at, 'fraction'], message: "stands beside 'percent'; give one of them" })
  }
  if (fraction !== undefined && fraction.numerator > (fraction.denominator ?? 100)) {
    issues.push({ path: [...at, 'fraction', 'numerator'], message: 'is more than the denominator' })
  }
}

function checkPathModifier(modifier: PathModifier, prefixes: boolean, at: Path, issues: Issue[]): void {
  const { type, replaceFullPath, replacePrefixMatch } = modifier
  const [own, other] =
    type === 'ReplaceFullPath'
      ? (['replaceFullPath', 'replacePrefixMatch'] as const)
      : (['replacePrefixMatch', 'replaceFullPath'] as const)
  if (modifier[own] === undefined) issues.push({ path: [...at, own], message: `is missing; type is '${type}'` })
  if (modifier[other] !== undefined) {
    issues.push({ path: [...at, other], message: `does not belong to type '${type}'` })
  }
  if (type === 'ReplacePrefixMatch' && !prefixes) {
    issues.push({ path: at, message: "replaces a prefix, so the rule needs exactly one match, of type 'PathPrefix'" })
  }
  const value = type === 'ReplaceFullPath' ? replaceFullPath : replacePrefixMatch
  // An empty prefix stands for the root.
  if (value === undefined || (value === '' && type === 'ReplacePrefixMatch')) return
  const mistake = mistakeOfPath(value)
  if (mistake !== undefined) issues.push({ path: [...at, own], message: mistake })
}
