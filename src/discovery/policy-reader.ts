/**
 * Reads a policy document of a newer registry: unknown keys are dropped, and in lists the whole
 * entry. An intention or a subset is dropped and never widened; in doubt no caller is allowed.
 */
import { formatPath, type Path, show } from '../options/fields.ts'
import { ROUTE_POLICY_KEYS } from '../routing/route.ts'
import { checkReceivedDocument } from './check-document.ts'

/** More mistakes than this, and it is no document of a newer registry. */
const MOST_MISTAKES = 200

type Json = Record<string | number, unknown>

export interface ReadPolicy {
  readonly policy: unknown
  /** Why it is not the whole document. */
  readonly issue: string | undefined
}

/** `undefined`: nothing of it can be read. */
export function readPolicyDocument(document: unknown): ReadPolicy | undefined {
  const [first] = checkReceivedDocument(document)
  if (first === undefined) return { policy: document, issue: undefined }
  if (typeof document !== 'object' || document === null || first.path.length === 0) return undefined
  const policy = structuredClone(document) as Json
  const lost: string[] = []
  for (let i = 0; i < MOST_MISTAKES; i++) {
    const [mistake] = checkReceivedDocument(policy)
    if (mistake === undefined) return { policy, issue: `${formatPath(first.path)}: ${first.message}${without(lost)}` }
    const route = routeLeftOut(policy, mistake.path)
    if (route !== undefined) lost.push(route)
    if (!leaveOut(policy, mistake.path)) return undefined
  }
  return undefined
}

/** Returns whether anything has changed. */
function leaveOut(policy: Json, path: Path): boolean {
  const [key, index] = path
  if (key === undefined || key === 'service') return false
  if (key === 'allow' && !(Array.isArray(policy.allow) && typeof index === 'number')) {
    const changed = !(Array.isArray(policy.allow) && policy.allow.length === 0)
    policy.allow = []
    return changed
  }
  if (key === 'defaultIntention' && policy.defaultIntention !== 'deny' && policy.service === 'mesh') {
    policy.defaultIntention = 'deny'
    return true
  }
  if (WHOLE.has(key) && path.length > depthOf(key)) return remove(policy, path.slice(0, depthOf(key)))
  const route =
    key === 'routes' && typeof index === 'number' && !isRouteLost(path) ? list(policy.routes)[index] : undefined
  return route === undefined ? remove(policy, path) : remove(route as Json, path.slice(2))
}

/** Each part of them narrows what the rest allows, so none is left out alone. */
const WHOLE: ReadonlySet<string | number> = new Set(['subsets', 'overrides'])

/** A subset by its name; all of the overrides. */
function depthOf(key: string | number): number {
  return key === 'subsets' ? 2 : 1
}

/** A route keeps its place without a policy that is not known, but not without another key. */
function isRouteLost([, , key]: Path): boolean {
  return !(ROUTE_POLICY_KEYS as readonly unknown[]).includes(key)
}

function routeLeftOut(policy: Json, path: Path): string | undefined {
  const [key, index] = path
  if (key !== 'routes' || typeof index !== 'number' || !isRouteLost(path)) return undefined
  const route = list(policy.routes)[index] as Json | null | undefined
  return typeof route?.name === 'string' ? show(route.name) : 'one without a name'
}

function without(lost: readonly string[]): string {
  if (lost.length === 0) return ''
  const [what, their] = lost.length === 1 ? ['the route', 'its'] : ['the routes', 'their']
  return `; without ${what} ${lost.slice(0, 10).join(', ')}, ${their} requests go on to the next that matches`
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

function remove(holder: Json | unknown[], path: Path): boolean {
  const [key, ...rest] = path
  if (key === undefined) return false
  if (Array.isArray(holder)) return holder.splice(Number(key), 1).length > 0
  const inner = holder[key]
  if (rest.length > 0 && typeof inner === 'object' && inner !== null && remove(inner as Json, rest)) return true
  // A mistake about what is missing is one of its holder.
  return Object.hasOwn(holder, key) && delete holder[key]
}
