/** A service as a whole, as the registry tells it to a watcher. */
import { LIMITS } from '../../discovery/limits.ts'
import { splitSnapshot } from '../../discovery/registry/snapshot-parts.ts'
import type { ServerMessage } from '../../discovery/registry/wire.ts'
import type { Removal } from '../records.ts'
import { documentOf, instanceBytes } from '../service-entry.ts'
import type { RegistryState } from '../state.ts'
import type { Channel } from './channel.ts'
import { mergeChanges } from './merge-changes.ts'
import type { ServiceHistory } from './service-history.ts'

type Snapshot = Extract<ServerMessage, { type: 'snapshot' }>
type Part = Extract<ServerMessage, { type: 'part' }>

/** Removed instances that a snapshot names, at most: one deployment of a large service. */
const MOST_GONE = 2_000

/** The messages of a snapshot as of the channel's position. */
export function snapshotOf(
  channel: Channel,
  state: RegistryState,
  history: ServiceHistory,
  intended: boolean,
): readonly (Snapshot | Part)[] {
  const service = state.service(channel.service)
  const snapshot: Snapshot = {
    type: 'snapshot',
    service: channel.service,
    epoch: state.epoch,
    revision: channel.position.revision,
    instances: service === undefined ? [] : [...service.instances.values()].map((record) => record.instance),
    policy: documentOf(service?.policy ?? null),
    intended,
    frozen: channel.frozen,
    ...goneOf(channel.service, history),
  }
  const fits = (service?.bytes ?? 0) < LIMITS.partBytes
  return fits ? [snapshot] : splitSnapshot(snapshot, instanceBytes)
}

/** Who is gone of late, for watchers that knew them. */
function goneOf(service: string, history: ServiceHistory): { gone?: readonly Removal[] } {
  const { gone } = mergeChanges(service, 0, 0, history.recent(service))
  return gone === undefined ? {} : { gone: gone.slice(-MOST_GONE) }
}
