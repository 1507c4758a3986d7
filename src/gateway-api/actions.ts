/** What a rule of a manifest does with a request, in the words of our documents. */
import { createHash } from 'node:crypto'
import { LONGEST_DEADLINE_MS } from '../core/deadline.ts'
import { formatDuration } from '../options/duration.ts'
import type { Filter, HeaderFilter, MirrorFilter, PathModifier, RedirectFilter } from './filters.ts'
import { withoutFinalSlash } from './matches.ts'
import { lowerCase } from './precedence.ts'
import type { Backend, GrpcRule, HttpRule, RetryRule, Timeouts } from './route-spec.ts'

/** The keys of a route in a document, but its name and its match. */
export type Actions = Readonly<Record<string, unknown>>

/** Whether the mesh knows a service of this name. */
export type Exists = (service: string) => boolean

/** The first wait of a backoff of ours is at most this long. */
const LONGEST_BASE_MS = 60_000
const LONGEST_WAIT_MS = 300_000

/** The answer where there is no backend. */
const NO_BACKEND = { status: 500, grpcStatus: 'UNAVAILABLE', body: 'no backend' }

/** `name`: of the rule, for a cookie that the manifest does not name. */
export function httpActions(rule: HttpRule, exists: Exists, name: string): Actions {
  const to = destination(rule, exists)
  return {
    ...to,
    ...filterActions(rule.filters ?? [], exists, to),
    ...sessionOf(rule, to, name),
    ...policies(rule.timeouts, rule.retry),
  }
}

export function grpcActions(rule: GrpcRule, exists: Exists, name: string): Actions {
  const to = destination(rule, exists)
  return { ...to, ...filterActions(rule.filters ?? [], exists, to), ...sessionOf(rule, to, name) }
}

/** Without a backend there is no endpoint to stay with. */
function sessionOf({ sessionPersistence: given }: HttpRule | GrpcRule, { to, split }: Actions, name: string): Actions {
  if (given === undefined || (to === undefined && split === undefined)) return {}
  const { type = 'Cookie', absoluteTimeout, cookie, header } = given
  const life = absoluteTimeout !== undefined && absoluteTimeout > 0 ? { lifetime: formatDuration(absoluteTimeout) } : {}
  if (type === 'Header') return { session: { header: header!.name.toLowerCase(), ...life } }
  const unique = `inmesh-${createHash('sha256').update(name).digest('hex').slice(0, 16)}`
  return {
    session: {
      cookie: cookie?.name ?? unique,
      ...(cookie?.path !== undefined && cookie.path !== '' && { path: cookie.path }),
      ...(cookie?.lifetimeType === 'Permanent' && { permanent: true }),
      ...life,
    },
  }
}

interface AnyRule {
  readonly filters: readonly Filter[] | undefined
  readonly backendRefs: readonly Backend[] | undefined
}

/**
 * A backend that does not exist keeps its share. The name of a backend means its endpoints, so the
 * service may stand among its own backends.
 */
function destination({ filters, backendRefs = [] }: AnyRule, exists: Exists): Actions {
  if (filters?.some(({ type }) => type === 'RequestRedirect') === true) return {}
  const backends = withoutDuplicates(backendRefs)
  const usable = backends.some(({ name, weight = 1 }) => weight > 0 && exists(name))
  if (!usable) return { respond: NO_BACKEND }
  const targets = backends.map((backend) => {
    const headers = headerActions(backend.filters ?? [])
    return {
      to: { service: backend.name, ...(!exists(backend.name) && { missing: true }) },
      weight: backend.weight ?? 1,
      ...(headers !== undefined && { headers }),
    }
  })
  const [only] = targets
  if (targets.length === 1 && only!.headers === undefined) return { to: only!.to }
  return { split: targets }
}

/** The same service named twice, without filters, is one target with both weights. */
function withoutDuplicates(backends: readonly Backend[]): readonly Backend[] {
  const plain = new Map<string, number>()
  const kept: Backend[] = []
  for (const backend of backends) {
    const before = plain.get(backend.name)
    if ((backend.filters?.length ?? 0) > 0) kept.push(backend)
    else if (before === undefined) {
      plain.set(backend.name, kept.length)
      kept.push(backend)
    } else {
      const first = kept[before]!
      kept[before] = { ...first, weight: Math.min(1_000_000, (first.weight ?? 1) + (backend.weight ?? 1)) }
    }
  }
  return kept
}

/** What is answered without a backend is neither rewritten nor copied. */
function filterActions(filters: readonly Filter[], exists: Exists, { respond }: Actions): Actions {
  const mirrors = filters.flatMap(({ requestMirror }) =>
    requestMirror === undefined ? [] : mirrorOf(requestMirror, exists),
  )
  const redirect = filters.find(({ type }) => type === 'RequestRedirect')?.requestRedirect
  const rewrite = filters.find(({ type }) => type === 'URLRewrite')?.urlRewrite
  const headers = headerActions(filters)
  const rewritten = {
    ...(rewrite?.hostname !== undefined && { host: rewrite.hostname }),
    ...(rewrite?.path !== undefined && { path: pathOf(rewrite.path) }),
  }
  const isSent = respond === undefined
  return {
    ...(isSent && mirrors.length > 0 && { mirror: mirrors }),
    ...(headers !== undefined && { headers }),
    ...(isSent && Object.keys(rewritten).length > 0 && { rewrite: rewritten }),
    ...(redirect !== undefined && { redirect: redirectOf(redirect) }),
  }
}

/** A mirror that gets nothing, or whose service does not exist, is none. */
function mirrorOf({ backendRef, percent, fraction }: MirrorFilter, exists: Exists): object[] {
  const share = fraction === undefined ? (percent ?? 100) / 100 : fraction.numerator / (fraction.denominator ?? 100)
  if (share === 0 || !exists(backendRef.name)) return []
  return [{ to: { service: backendRef.name }, share }]
}

/** A redirect to the same URL says so by the scheme, which is that of calls by name. */
function redirectOf({ statusCode = 302, scheme, hostname, port, path }: RedirectFilter): object {
  const same = [scheme, hostname, port, path].every((part) => part === undefined)
  return {
    status: statusCode,
    ...(same ? { scheme: 'http' } : scheme !== undefined && { scheme }),
    ...(hostname !== undefined && { host: hostname }),
    ...(port !== undefined && { port }),
    ...(path !== undefined && { path: pathOf(path) }),
  }
}

/** An empty prefix, and one that is `/`, remove the prefix. */
function pathOf({ replaceFullPath, replacePrefixMatch = '' }: PathModifier): unknown {
  if (replaceFullPath !== undefined) return replaceFullPath
  return { prefix: withoutFinalSlash(replacePrefixMatch || '/') }
}

function headerActions(filters: readonly Filter[]): object | undefined {
  const request = filters.find(({ type }) => type === 'RequestHeaderModifier')?.requestHeaderModifier
  const response = filters.find(({ type }) => type === 'ResponseHeaderModifier')?.responseHeaderModifier
  const changes = {
    ...(request !== undefined && changesOf('request', request)),
    ...(response !== undefined && changesOf('response', response)),
  }
  return Object.keys(changes).length === 0 ? undefined : changes
}

function changesOf(side: string, { set = [], add = [], remove = [] }: HeaderFilter): object {
  const changes = {
    ...(set.length > 0 && { set: byName(set) }),
    ...(add.length > 0 && { add: byName(add) }),
    ...(remove.length > 0 && { remove: [...new Set(remove.map(lowerCase))] }),
  }
  return Object.keys(changes).length === 0 ? {} : { [side]: changes }
}

/** Of equivalent names the first counts. */
function byName(headers: readonly { readonly name: string; readonly value: string }[]): object {
  return Object.fromEntries([...headers].reverse().map(({ name, value }) => [name.toLowerCase(), value]))
}

function policies(timeouts: Timeouts | undefined, retry: RetryRule | undefined): Actions {
  const { request, backendRequest } = timeouts ?? {}
  const retries = {
    ...(retry?.attempts !== undefined && { attempts: retry.attempts + 1 }),
    ...(retry?.codes !== undefined && { statuses: [...retry.codes] }),
    ...(retry?.backoff !== undefined && { backoff: backoffOf(retry.backoff) }),
    // Lifted, an attempt has what the whole call has.
    ...(backendRequest !== undefined && {
      perTryTimeout: timeoutOf(backendRequest || request || 0),
      boundLastTry: true,
    }),
  }
  return {
    ...(request !== undefined && { timeout: timeoutOf(request) }),
    ...(Object.keys(retries).length > 0 && { retry: retries }),
  }
}

/** `0s` is the longest there is: the specification's meaning where a timeout cannot be lifted. */
function timeoutOf(ms: number): string {
  return formatDuration(ms === 0 ? LONGEST_DEADLINE_MS : ms)
}

/** `least`, because a manifest's backoff bounds the wait from below, and ours from above. */
function backoffOf(ms: number): object {
  const base = Math.min(ms, LONGEST_BASE_MS)
  return {
    least: formatDuration(ms),
    base: formatDuration(base),
    max: formatDuration(Math.min(Math.max(ms, base * 10), LONGEST_WAIT_MS)),
  }
}
