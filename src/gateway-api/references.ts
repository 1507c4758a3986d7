/**
 * What a route is attached to (`parentRefs`), and where it sends (`backendRefs`). A Service of a
 * manifest is the service of that name in the mesh: the mesh has one room of names for all
 * namespaces.
 */
import { MESH_DOCUMENT } from '../discovery/policy-document.ts'
import { fields, type Issue, oneOf, optional, type Parsed, type Path, text } from '../options/fields.ts'
import { SERVICE_NAME } from '../options/names.ts'
import { integer } from '../options/quantities.ts'
import { namespaceName, nonEmpty, sectionName } from './names.ts'

const GROUP = /^(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*)?$/
const KIND = /^[A-Za-z](?:[A-Za-z0-9-]*[A-Za-z0-9])?$/
const PORT = { min: 1, max: 65_535 }
const MOST_WEIGHT = 1_000_000

const REFERENCE = {
  group: optional(text("an API group; '' is that of Service", GROUP)),
  kind: optional(text('a kind of object, such as Service', KIND, 63)),
  namespace: optional(namespaceName()),
  name: nonEmpty('a name', 253),
  port: optional(integer(PORT)),
}

export const PARENT_REF = fields({ ...REFERENCE, sectionName: optional(sectionName()) })
/** Of a mirror. */
export const TARGET_REF_SHAPE = REFERENCE
/** Of a rule; a route's kind adds its `filters`. */
export const BACKEND_REF_SHAPE = {
  ...REFERENCE,
  weight: optional(integer({ min: 0, max: MOST_WEIGHT })),
}
export const GATEWAY_SCOPE = oneOf(['All', 'None'])

type ParentRef = Parsed<typeof PARENT_REF>

/** A service that a route is attached to. */
export interface Attachment {
  readonly service: string
  /**
   * The namespace that a consumer route is for: it concerns the callers of that namespace only.
   * `undefined`: a producer route, for all callers.
   */
  readonly consumer: string | undefined
}

/** `''` is the core group; Linkerd's manifests write it out. */
function isCore(group: string): boolean {
  return group === '' || group === 'core'
}

/**
 * The services among the parents of a route of `namespace`. Parents of other kinds, Gateways above
 * all, are not for the mesh.
 */
export function attachmentsOf(parents: readonly ParentRef[], namespace: string): readonly Attachment[] {
  const found = new Map<string, Attachment>()
  for (const { group = 'gateway.networking.k8s.io', kind = 'Gateway', name, namespace: its = namespace } of parents) {
    if (kind !== 'Service' || !isCore(group)) continue
    const consumer = its === namespace ? undefined : namespace
    found.set(`${consumer ?? ''}/${name}`, { service: name, consumer })
  }
  return [...found.values()]
}

export function checkParents(parents: readonly ParentRef[], path: Path, issues: Issue[]): void {
  const seen = new Set<string>()
  for (const [i, parent] of parents.entries()) {
    const { group, kind = 'Gateway', name, namespace = '', port = '', sectionName = '' } = parent
    if (kind !== 'Service') continue
    const at = [...path, i]
    if (group === undefined) {
      const message = "is missing; a Service is of the group '', and without a group this is an object of a Gateway"
      issues.push({ path: [...at, 'group'], message })
      continue
    }
    if (!isCore(group)) {
      issues.push({ path: [...at, 'group'], message: "expected '' for a Service; there is no other kind of Service" })
      continue
    }
    checkServiceName(name, [...at, 'name'], issues)
    const part = `${namespace}/${name}/${port}/${sectionName}`
    if (seen.has(part)) issues.push({ path: at, message: `'${name}' is named twice` })
    seen.add(part)
  }
}

/** A reference to where requests go. */
export interface TargetRef {
  readonly group: string | undefined
  readonly kind: string | undefined
  readonly name: string
  readonly port: number | undefined
}

export function checkTarget(
  { group = '', kind = 'Service', name, port }: TargetRef,
  path: Path,
  issues: Issue[],
): void {
  if (kind !== 'Service' || !isCore(group)) {
    const what = group === '' ? kind : `${kind} of ${group}`
    issues.push({ path: [...path, 'kind'], message: `is '${what}'; requests can go to a Service only` })
    return
  }
  checkServiceName(name, [...path, 'name'], issues)
  if (port === undefined)
    issues.push({ path: [...path, 'port'], message: 'is missing; a Service needs a port from 1 to 65535' })
}

function checkServiceName(name: string, path: Path, issues: Issue[]): void {
  if (name === MESH_DOCUMENT) issues.push({ path, message: `'${name}' is reserved for the defaults of all services` })
  if (SERVICE_NAME.test(name)) return
  const message = "expected the name of a service: 1 to 63 lower-case letters, digits and '-'"
  issues.push({ path, message })
}
