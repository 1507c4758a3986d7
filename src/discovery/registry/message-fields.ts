/**
 * The fields that messages of the session and the snapshot on disk share. An unreadable instance or
 * policy does not invalidate its neighbours; any other mistake refuses the whole message.
 */

import { formatPath, text } from '../../options/fields.ts'
import { integer } from '../../options/quantities.ts'
import { checkReceivedDocument } from '../check-document.ts'
import type { Instance, UnreadableInstance } from '../instance.ts'
import { INSTANCE_SHAPE, readInstances } from '../instance-reader.ts'
import { LIMITS } from '../limits.ts'
import { MESH_DOCUMENT } from '../policy-document.ts'
import { readPolicyDocument } from '../policy-reader.ts'
import { readField, readObject, SnapshotRejected } from '../read-field.ts'
import type { Removal } from './wire.ts'

export const EPOCH = text('an epoch', /^[A-Za-z0-9_-]+$/, 64)
export const REVISION = integer({ min: 0, max: Number.MAX_SAFE_INTEGER })

/**
 * Refuses a whole list without a single readable instance. `partial`: the list is part of a longer
 * one, or there is nothing better.
 */
export function readList(
  value: unknown,
  service: string,
  partial: boolean,
): { instances: readonly Instance[]; unread?: readonly UnreadableInstance[] } {
  const { instances, foreign, unread } = readInstances(value, service)
  if (instances.length > 0) return { instances, ...(unread && { unread }) }
  if (foreign.length > 0) {
    const issue = 'every instance has a protocol or a state that this version does not know'
    return { instances, unread: [...(unread ?? []), { id: undefined, issue }] }
  }
  if (unread !== undefined && !partial) throw new SnapshotRejected(unread[0]!.issue)
  return { instances, ...(unread && { unread }) }
}

/** Removes an instance whose new protocol or state this version does not know. */
export function readChange(
  put: unknown,
  gone: unknown,
  service: string,
): { put?: readonly Instance[]; gone?: readonly Removal[]; unread?: readonly UnreadableInstance[] } {
  const left = gone === undefined ? [] : readRemovals(gone)
  if (put === undefined) return gone === undefined ? {} : { gone: left }
  const { instances, foreign, unread } = readInstances(put, service)
  const all = [...left, ...foreign.map((id): Removal => ({ id, why: 'lost' }))]
  return { put: instances, ...(all.length > 0 && { gone: all }), ...(unread && { unread }) }
}

export function readRemovals(value: unknown): readonly Removal[] {
  if (!Array.isArray(value) || value.length > LIMITS.instancesPerService) throw new SnapshotRejected('gone: no list')
  return value.map((entry) => {
    const gone = readObject(entry, 'gone')
    // A newer registry may send another reason. 'lost' is the one that clusters doubt.
    const why = gone.why === 'left' ? 'left' : 'lost'
    return { id: readField(INSTANCE_SHAPE.id, gone.id, 'gone.id'), why }
  })
}

/** Reads a document apart from the instances: an unreadable document must hide no endpoint. */
export function readPolicy(value: unknown, service: string): { policy: unknown; policyIssue?: string } {
  if (value === null || value === undefined) return { policy: null }
  const read = readPolicyDocument(value)
  if (read !== undefined) {
    return read.issue === undefined ? { policy: read.policy } : { policy: read.policy, policyIssue: read.issue }
  }
  const issue = checkReceivedDocument(value)[0]!
  const denyAll = service === MESH_DOCUMENT ? { defaultIntention: 'deny' } : { allow: [] }
  return { policy: { service, ...denyAll }, policyIssue: `${formatPath(issue.path)}: ${issue.message}` }
}
