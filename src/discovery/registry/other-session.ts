/**
 * What a session says of a service about which another session spoke last: of a registry that may
 * be behind the other one, but has the same history. Nothing that is known is unlearned.
 */
import { applyDelta, type ServiceView, viewOf } from './service-view.ts'
import type { ServerMessage } from './wire.ts'

type Snapshot = Extract<ServerMessage, { type: 'snapshot' }>
type Delta = Extract<ServerMessage, { type: 'delta' }>

/** The view to put in force after `known` by a whole snapshot. */
export function afterOtherSnapshot(snapshot: Snapshot, known: ServiceView | undefined): ServiceView {
  const isBehind = known?.epoch === snapshot.epoch && known.revision > snapshot.revision
  // A process that begins with what was on its disk knows only what a registry confirms.
  if (!isBehind || known.endpoints.stale) return viewOf(snapshot)
  return withFrozen(known, snapshot.frozen)
}

/**
 * The view to put in force after `known` by a delta of the same epoch; `undefined`: there is a gap.
 * The two may overlap, because a delta says of each instance how it is in the end.
 */
export function afterOtherDelta(delta: Delta, known: ServiceView): ServiceView | undefined {
  const { previous, revision, frozen = known.endpoints.frozen } = delta
  if (previous > known.revision) return undefined
  const isKnown = revision < known.revision || (revision === known.revision && previous < revision)
  return isKnown ? withFrozen(known, frozen) : applyDelta(known, delta)
}

function withFrozen(view: ServiceView, frozen: boolean): ServiceView {
  const { endpoints } = view
  return frozen === endpoints.frozen ? view : { ...view, endpoints: { ...endpoints, frozen } }
}
