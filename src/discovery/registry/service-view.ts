/**
 * One service as the registry describes it: a revision of its endpoints and its policy document. A
 * change of one keeps the object of the other, so a comparison by identity shows what is new.
 */
import { isDeepStrictEqual } from 'node:util'
import type { Protocol } from '../../core/protocol.ts'
import type { Instance } from '../instance.ts'
import type { ServiceDocument } from '../policy-source.ts'
import { NONE_LEFT, type ServiceEndpoints } from '../resolver.ts'
import type { ServerMessage } from './wire.ts'

type Snapshot = Extract<ServerMessage, { type: 'snapshot' }>
type Delta = Extract<ServerMessage, { type: 'delta' }>

/** Immutable. */
export interface ServiceView {
  readonly service: string
  readonly epoch: string
  readonly revision: number
  readonly endpoints: ServiceEndpoints
  readonly document: ServiceDocument
}

/** The view that a whole snapshot describes. */
export function viewOf(snapshot: Snapshot): ServiceView {
  const { service, epoch, revision, instances, unread, frozen, gone, nearest, policy, policyIssue } = snapshot
  // An instance that this version cannot read has not left.
  const intended = snapshot.intended && unread === undefined
  return {
    service,
    epoch,
    revision,
    endpoints: {
      instances,
      protocol: sharedProtocol(instances),
      unread,
      intended,
      left: departedIds(gone),
      nearest,
      frozen,
      stale: false,
    },
    document: { policy, policyIssue },
  }
}

/** `view` after `delta`. The caller has checked that `delta` follows `view`. */
export function applyDelta(view: ServiceView, delta: Delta): ServiceView {
  const { policy, policyIssue } = delta
  return {
    ...view,
    revision: delta.revision,
    endpoints: changesEndpoints(delta) ? afterDelta(view.endpoints, delta) : view.endpoints,
    ...(policy !== undefined && { document: { policy, policyIssue } }),
  }
}

/**
 * The view to put in force after `known`. An unreadable document or instance gives way to its last
 * good version; without one, the readable part of the document comes into force.
 */
export function retainLastGood(next: ServiceView, known: ServiceView | undefined): ServiceView {
  const believed = beginsHistory(next, known) ? { ...next.endpoints, intended: false, doubted: true } : next.endpoints
  const endpoints = goodEndpoints(believed, known?.endpoints)
  const document = goodDocument(next.document, known?.document)
  return endpoints === next.endpoints && document === next.document ? next : { ...next, endpoints, document }
}

/** What such a list says of instances that left is said by a history that does not know all. */
function beginsHistory(next: ServiceView, known: ServiceView | undefined): boolean {
  return known !== undefined && known.epoch !== next.epoch && !known.endpoints.stale
}

function goodEndpoints(next: ServiceEndpoints, known: ServiceEndpoints | undefined): ServiceEndpoints {
  const { instances, unread } = next
  if (next === known || unread === undefined) return next
  const missing = new Set(unread.map(({ id }) => id))
  for (const { id } of instances) missing.delete(id)
  const kept = (known?.instances ?? []).filter(({ id }) => missing.has(id))
  if (kept.length === 0) return next
  const all = Object.freeze([...instances, ...kept])
  return { ...next, instances: all, protocol: sharedProtocol(all) }
}

function goodDocument(next: ServiceDocument, known: ServiceDocument | undefined): ServiceDocument {
  if (next === known) return next
  const { policy, policyIssue } = next
  if (policyIssue === undefined) {
    // A whole snapshot repeats the document that is in force already.
    if (known === undefined || !isDeepStrictEqual(policy, known.policy)) return next
    return known.policyIssue === undefined ? known : { policy: known.policy }
  }
  if (known === undefined || known.partial === true) return { policy, policyIssue, partial: true }
  return { policy: known.policy, policyIssue }
}

function changesEndpoints({ put, gone, unread, frozen }: Delta): boolean {
  return put !== undefined || gone !== undefined || unread !== undefined || frozen !== undefined
}

function afterDelta(endpoints: ServiceEndpoints, delta: Delta): ServiceEndpoints {
  const gone = new Set(delta.gone?.map(({ id }) => id))
  const put = new Map(delta.put?.map((instance) => [instance.id, instance]))
  const instances: Instance[] = []
  for (const instance of endpoints.instances) {
    const { id } = instance
    const next = put.get(id)
    if (next !== undefined) {
      instances.push(next)
      put.delete(id)
    } else if (!gone.has(id)) instances.push(instance)
  }
  instances.push(...put.values())
  return {
    instances: Object.freeze(instances),
    protocol: protocolAfter(endpoints, delta.put ?? []),
    // A delta says nothing about instances that the list lacked before.
    intended: false,
    left: departedIds(delta.gone),
    unread: delta.unread,
    frozen: delta.frozen ?? endpoints.frozen,
    stale: false,
  }
}

/** A list of two protocols counts as mixed until the next whole list. */
function protocolAfter({ instances, protocol }: ServiceEndpoints, put: readonly Instance[]): Protocol | undefined {
  if (instances.length === 0) return sharedProtocol(put)
  return put.every((instance) => instance.protocol === protocol) ? protocol : undefined
}

function sharedProtocol(instances: readonly Instance[]): Protocol | undefined {
  const first = instances[0]?.protocol
  for (const { protocol } of instances) if (protocol !== first) return undefined
  return first
}

/** Ids of the instances that left on purpose. */
function departedIds(gone: Delta['gone']): ReadonlySet<string> {
  return gone === undefined ? NONE_LEFT : new Set(gone.filter(({ why }) => why === 'left').map(({ id }) => id))
}
