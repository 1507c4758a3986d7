/**
 * What this process knows of one service: its endpoints and its policy, which change apart. A
 * change of the one keeps the object of the other, so that identity tells what is new.
 */
import { isDeepStrictEqual } from 'node:util'
import type { Protocol } from '../core/protocol.ts'
import type { Instance, ServerMessage, UnreadableInstance } from './registry/wire.ts'

type Snapshot = Extract<ServerMessage, { type: 'snapshot' }>
type Delta = Extract<ServerMessage, { type: 'delta' }>

/** Where a service is. Immutable. */
export interface ServiceEndpoints {
  readonly instances: readonly Instance[]
  /**
   * The protocol of all instances, if they share one: with it, a change of ten thousand needs no
   * look at each.
   */
  readonly protocol?: Protocol | undefined
  /** Instances that the registry sent and that could not be read: in force as they last could. */
  readonly unread?: readonly UnreadableInstance[] | undefined
  /** An empty or shrunken list is meant: all that it lacks left on purpose. */
  readonly intended: boolean
  /** Ids of instances that left on purpose, as far as the last message told. */
  readonly left: ReadonlySet<string>
  /** The registry has stopped expiring. */
  readonly frozen: boolean
}

/** How a service is to be called. Immutable. */
export interface ServiceDocument {
  /** As applied, or `null`; another object only if it says something else. */
  readonly policy: unknown
  /** Why the document that the registry sent is not in force as it is. */
  readonly policyIssue?: string | undefined
  /** `policy` is the part of it that could be read, because there was no good one before. */
  readonly partial?: boolean
}

/** What is in force about one service in this process. Immutable. */
export interface ServiceView {
  readonly service: string
  readonly epoch: string
  readonly revision: number
  /** From the disk, not from a live registry. */
  readonly stale: boolean
  readonly endpoints: ServiceEndpoints
  readonly document: ServiceDocument
}

export const NONE_LEFT: ReadonlySet<string> = new Set()

/** What is in force after a whole snapshot. */
export function viewOf(snapshot: Snapshot): ServiceView {
  const { service, epoch, revision, instances, unread, frozen, gone, policy, policyIssue } = snapshot
  // What this version cannot read has not left.
  const intended = snapshot.intended && unread === undefined
  return {
    service,
    epoch,
    revision,
    stale: false,
    endpoints: { instances, protocol: sharedProtocol(instances), unread, intended, left: departedIds(gone), frozen },
    document: { policy, policyIssue },
  }
}

/** `view` after `delta`; the caller has checked that it chains. */
export function applyDelta(view: ServiceView, delta: Delta): ServiceView {
  const { policy, policyIssue } = delta
  return {
    ...view,
    revision: delta.revision,
    stale: false,
    endpoints: changesEndpoints(delta) ? afterDelta(view.endpoints, delta) : view.endpoints,
    ...(policy !== undefined && { document: { policy, policyIssue } }),
  }
}

/**
 * `next` with what is in force after `known`: of a document that cannot be read whole the last good
 * one stays, and without one what can be read. An instance that cannot be read stays as it last
 * could.
 */
export function retainLastGood(next: ServiceView, known: ServiceView | undefined): ServiceView {
  const endpoints = goodEndpoints(next.endpoints, known?.endpoints)
  const document = goodDocument(next.document, known?.document)
  return endpoints === next.endpoints && document === next.document ? next : { ...next, endpoints, document }
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
    return known !== undefined && isDeepStrictEqual(policy, known.policy) ? { policy: known.policy } : next
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
    // Of what the list lacks since before this says nothing.
    intended: false,
    left: departedIds(delta.gone),
    unread: delta.unread,
    frozen: delta.frozen ?? endpoints.frozen,
  }
}

/** Of two protocols it is taken for mixed until the next whole list. */
function protocolAfter({ instances, protocol }: ServiceEndpoints, put: readonly Instance[]): Protocol | undefined {
  if (instances.length === 0) return sharedProtocol(put)
  return put.every((instance) => instance.protocol === protocol) ? protocol : undefined
}

function sharedProtocol(instances: readonly Instance[]): Protocol | undefined {
  const first = instances[0]?.protocol
  for (const { protocol } of instances) if (protocol !== first) return undefined
  return first
}

/** The ids of those that left on purpose. */
function departedIds(gone: Delta['gone']): ReadonlySet<string> {
  return gone === undefined ? NONE_LEFT : new Set(gone.filter(({ why }) => why === 'left').map(({ id }) => id))
}
