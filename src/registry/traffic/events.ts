/** Events of the mesh: changes that processes saw, instances, and the registry's audit log. */
import type { AuditRecord } from '../records.ts'
import type { InstanceEvent } from './instance-events.ts'
import type { Mark } from './marks.ts'

export const EVENT_KINDS = [
  'circuit',
  'ejection',
  'panic',
  'change',
  'instance',
  'push',
  'denial',
  'freeze',
  'refused',
  'audit',
] as const
export type EventKind = (typeof EVENT_KINDS)[number]

export interface MeshEvent {
  /** Wall clock, ms. */
  readonly at: number
  /**
   * `change`: of a kind that this version does not know; `push`: documents and manifests; `denial`:
   * identities; `freeze`: of leases; `refused`: what the registry refused.
   */
  readonly kind: EventKind
  /** Such as `open`, `ejected`, `draining` or `policy-apply`. */
  readonly what: string
  /** The service that it is about. */
  readonly service: string | null
  /** The caller that saw it, and its process. */
  readonly from: string | null
  readonly process: string | null
  /** Of a change: the state before. */
  readonly before: string | null
  /** An instance's id, or an endpoint's `address:port`. */
  readonly instance: string | null
  readonly route: string | null
  /** Who did it: an operator, an identity, or `registry`. */
  readonly who: string | null
  readonly detail: string | null
}

const NOTHING = {
  service: null,
  from: null,
  process: null,
  before: null,
  instance: null,
  route: null,
  who: null,
  detail: null,
} as const

const MARKS: ReadonlyMap<string, EventKind> = new Map([
  ['circuit', 'circuit'],
  ['ejected', 'ejection'],
  ['restored', 'ejection'],
  ['withdrawn', 'ejection'],
  ['panic', 'panic'],
])

/** `at`: on the wall clock. */
export function ofMark(
  { what, to, service, process, before, now, endpoint, route, reason }: Mark,
  at: number,
): MeshEvent {
  const kind = MARKS.get(what) ?? 'change'
  return {
    ...NOTHING,
    at: Math.round(at),
    kind,
    what: kind === 'ejection' ? what : (now ?? what),
    service: to,
    from: service,
    process,
    before: before ?? null,
    instance: endpoint ?? null,
    route: route ?? null,
    detail: reason ?? null,
  }
}

export function ofInstance({ at, service, id, what }: InstanceEvent): MeshEvent {
  return { ...NOTHING, at, kind: 'instance', what, service, instance: id }
}

export function ofAudit({ at, who, action, outcome, reason, service, detail }: AuditRecord): MeshEvent {
  return {
    ...NOTHING,
    at,
    kind: outcome === 'refused' ? 'refused' : kindOf(action),
    what: action,
    service: service ?? null,
    who,
    detail: detail ?? reason ?? null,
  }
}

function kindOf(action: string): EventKind {
  if (/^(policy|manifest)-/.test(action)) return 'push'
  if (action === 'deny' || action === 'allow') return 'denial'
  return action === 'release' || action.startsWith('expiry-') ? 'freeze' : 'audit'
}
