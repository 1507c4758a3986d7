/** The mirrors of a route, compiled: each with its target's endpoints as mirrors see them. */
import type { Clock } from '../../core/clock.ts'
import type { Balancer } from '../../core/picker.ts'
import type { Telemetry } from '../../core/telemetry.ts'
import type { MirrorSettings, RouteSettings, TargetSettings } from '../../routing/settings.ts'
import type { BalancingClient } from '../balancing/arranged.ts'
import { present } from '../routed.ts'
import { ClusterView } from '../targets/cluster-view.ts'
import type { EndpointOwner } from '../targets/endpoint-owner.ts'
import { membersOf } from '../targets/members-of.ts'
import { MirrorsInFlight } from './in-flight.ts'
import { ShadowCluster } from './shadow-cluster.ts'
import { MirrorTarget } from './target.ts'

export interface MirrorParts {
  readonly clock: Clock
  readonly client: BalancingClient
  readonly telemetry: Telemetry
}

/** `owner`: the service that owns its endpoints; `undefined`: it cannot be watched now. */
export function compileMirror(
  route: RouteSettings,
  { target, share }: MirrorSettings,
  owner: EndpointOwner | undefined,
  parts: MirrorParts,
): MirrorTarget {
  return new MirrorTarget({
    service: target.service,
    route: route.name,
    share,
    requestChanges: present(route.headers, target.headers),
    cluster: owner === undefined || target.missing ? undefined : shadowsOf(owner, target, parts),
    inFlight: owner === undefined ? new MirrorsInFlight() : owner.mirrors,
    telemetry: parts.telemetry.mirrors,
    clock: parts.clock,
  })
}

function shadowsOf(owner: EndpointOwner, target: TargetSettings, { clock, client }: MirrorParts): ShadowCluster {
  const { cluster: source } = owner
  const members = membersOf(target, owner)
  const view = { source, balancer: NO_BALANCER, clock, watch: ignore }
  const cluster = members === undefined ? source : new ClusterView(view, members)
  return new ShadowCluster({
    endpoints: () => cluster.endpoints,
    balancing: () => owner.settings,
    health: owner.state.ejection,
    client,
    clock,
  })
}

/** The view only filters: mirrors choose among the shadows of its endpoints. */
const NO_BALANCER: Balancer = { name: 'none', picker: () => ({ pick: () => undefined }) }

function ignore(): void {}
