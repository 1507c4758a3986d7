/**
 * The failover levels of a target: the owner of the endpoints of each level, and the endpoints that
 * stand in it. An endpoint stands in the first level that takes it.
 */
import type { Endpoint } from '../../core/endpoint.ts'
import type { FailoverLevel } from '../../routing/settings.ts'
import type { BalancingClient } from '../balancing/arranged.ts'
import { isMember, type Membership } from './cluster-view.ts'
import type { EndpointOwner } from './endpoint-owner.ts'

export type Subset = Membership

export interface LevelMembers {
  readonly owner: EndpointOwner
  isMember(endpoint: Endpoint): boolean
}

export interface LevelsParts {
  /** The owner and the subset to which calls go without failover. */
  readonly owner: EndpointOwner
  readonly subset: () => Subset
  /** The service that is called. */
  readonly called: EndpointOwner
  readonly client: BalancingClient
  /** `undefined`: the service cannot be watched. */
  readonly ownerOf: (service: string) => EndpointOwner | undefined
  readonly subsetOf: (owner: EndpointOwner, name: string) => Subset
}

/**
 * If no level divides the target's endpoints, the target stands in front of all levels.
 */
export function levelsOf(levels: readonly FailoverLevel[], parts: LevelsParts): readonly LevelMembers[] {
  const { owner, subset, called } = parts
  const target = (holds: (endpoint: Endpoint) => boolean): LevelMembers => ({
    owner,
    isMember: (endpoint) => isIn(endpoint, subset()) && holds(endpoint),
  })
  const made: LevelMembers[] = []
  const divides = levels.some((level) => {
    if (level.kind !== 'service') return true
    return subset() === undefined && (level.service ?? called.service) === owner.service
  })
  if (!divides) made.push(target(() => true))
  for (const level of levels) {
    if (level.kind !== 'service') {
      made.push(target(conditionOf(level, parts.client)))
      continue
    }
    const other = parts.ownerOf(level.service ?? called.service)
    if (other === undefined) continue
    const { subset: name } = level
    // Asked anew: the document of the other service may come after the first call.
    const members = () => (name === undefined ? undefined : parts.subsetOf(other, name))
    made.push({ owner: other, isMember: (endpoint) => isIn(endpoint, members()) })
  }
  return made
}

function isIn(endpoint: Endpoint, subset: Subset): boolean {
  return subset === undefined || (subset !== 'none' && isMember(endpoint, subset))
}

type Condition = Exclude<FailoverLevel, { readonly kind: 'service' }>

/** `same` holds for no endpoint where this process does not say its zone, region or value. */
function conditionOf(
  level: Condition,
  { zone, metadata = NO_METADATA }: BalancingClient,
): (endpoint: Endpoint) => boolean {
  if (level.kind === 'metadata') {
    const wanted = level.entries.map(([key, value]) => [key, value === SAME ? entryOf(metadata, key) : value] as const)
    return (endpoint) =>
      wanted.every(([key, value]) => value !== undefined && entryOf(endpoint.metadata, key) === value)
  }
  if (level.where === 'any') return () => true
  if (level.kind === 'zone') return (endpoint) => zone !== undefined && endpoint.zone === zone
  const region = entryOf(metadata, REGION)
  return (endpoint) => region !== undefined && entryOf(endpoint.metadata, REGION) === region
}

const NO_METADATA: Readonly<Record<string, string>> = Object.freeze({})
const SAME = 'same'
/** The entry of the metadata of an instance, and of this process, that names its region. */
const REGION = 'region'

function entryOf(metadata: Readonly<Record<string, string>>, key: string): string | undefined {
  return Object.hasOwn(metadata, key) ? metadata[key] : undefined
}
