/**
 * Reads a policy document of a newer registry: unknown keys are dropped, and in lists the whole
 * entry. An intention is dropped and never widened; in doubt no caller is allowed.
 */
import { formatPath } from '../options/fields.ts'
import { checkPolicyDocument } from './check-document.ts'

/** More mistakes than this, and it is no document of a newer registry. */
const MOST_MISTAKES = 200

type Path = readonly (string | number)[]
type Json = Record<string | number, unknown>

export interface ReadPolicy {
  readonly policy: unknown
  /** Why it is not the whole document. */
  readonly issue: string | undefined
}

/** `undefined`: nothing of it can be read. */
export function readPolicyDocument(document: unknown): ReadPolicy | undefined {
  const [first] = checkPolicyDocument(document)
  if (first === undefined) return { policy: document, issue: undefined }
  if (typeof document !== 'object' || document === null || first.path.length === 0) return undefined
  const policy = structuredClone(document) as Json
  for (let i = 0; i < MOST_MISTAKES; i++) {
    const [mistake] = checkPolicyDocument(policy)
    if (mistake === undefined) return { policy, issue: `${formatPath(first.path)}: ${first.message}` }
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
  return remove(policy, path)
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
