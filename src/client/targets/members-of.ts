/** Which of a service's instances a target of a route means. */
import type { SubsetSettings, TargetSettings } from '../../routing/settings.ts'
import type { Membership } from './cluster-view.ts'
import type { EndpointOwner } from './endpoint-owner.ts'

/** Another service's own document says what a subset of it is. */
export function membersOf(to: TargetSettings | undefined, owner: EndpointOwner): Membership {
  const subset = to?.subset
  return typeof subset === 'string' ? subsetOf(owner, subset) : subset
}

/** As the owner's document defines it. */
export function subsetOf(owner: EndpointOwner, name: string): SubsetSettings | 'none' {
  return owner.routing?.subsets.get(name) ?? 'none'
}
