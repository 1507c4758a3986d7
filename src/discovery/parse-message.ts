/**
 * What comes from outside (a registry, the disk) is believed only after this file has built it
 * anew, field by field: nothing of the received objects survives, so no prototype, no surprise key
 * and no absurd value gets further. What cannot be read of an instance or a policy takes nothing
 * else along; any other mistake refuses the whole message.
 */
import { formatPath, list, text } from '../options/fields.ts'
import { serviceName } from '../options/names.ts'
import { integer } from '../options/quantities.ts'
import { checkPolicyDocument, MESH_DOCUMENT } from './policy-document.ts'
import { readField, readObject, SnapshotRejected } from './read-field.ts'
import { INSTANCE_SHAPE, readInstances } from './readable-instances.ts'
import { readPolicyDocument } from './readable-policy.ts'
import { duplicateKey } from './registry/duplicate-key.ts'
import { LIMITS } from './registry/limits.ts'
import type { Removal, Instance, ServerMessage, UnreadableInstance } from './registry/wire.ts'
import { NONE_LEFT, type ServiceView } from './service-view.ts'

const WORD = /^[A-Za-z0-9][A-Za-z0-9._-]*$/
const EPOCH = text('an epoch', /^[A-Za-z0-9_-]+$/, 64)
const REVISION = integer({ min: 0, max: Number.MAX_SAFE_INTEGER })
const PARTS = integer({ min: 0, max: LIMITS.instancesPerService })
const ROOTS = list(
  text('a PEM certificate', /^-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----\s*$/, 16_384),
  {
    max: 32,
  },
)

/**
 * One line of the session. `undefined`: a type this version does not know. @throws SnapshotRejected
 */
export function readServerMessage(line: string): ServerMessage | undefined {
  const message = readObject(parseJson(line), 'message')
  switch (message.type) {
    case 'welcome':
      return {
        type: 'welcome',
        protocol: readField(integer({ min: 1, max: 1_000 }), message.protocol, 'protocol'),
        epoch: readField(EPOCH, message.epoch, 'epoch'),
        leaseMs: readField(integer({ min: 100, max: 3_600_000 }), message.leaseMs, 'leaseMs'),
        beatMs: readField(integer({ min: 30, max: 3_600_000 }), message.beatMs, 'beatMs'),
        wallNow: readField(REVISION, message.wallNow, 'wallNow'),
        dev: message.dev === true,
      }
    case 'snapshot':
      return {
        type: 'snapshot',
        service: readField(serviceName(), message.service, 'service'),
        epoch: readField(EPOCH, message.epoch, 'epoch'),
        revision: readField(REVISION, message.revision, 'revision'),
        ...readList(message.instances, message.service as string, message.parts !== undefined),
        ...readPolicy(message.policy, message.service as string),
        intended: message.intended === true,
        frozen: message.frozen === true,
        ...(message.gone === undefined ? {} : { gone: readGone(message.gone) }),
        ...(message.parts === undefined ? {} : { parts: readField(PARTS, message.parts, 'parts') }),
      }
    case 'part':
      return {
        type: 'part',
        service: readField(serviceName(), message.service, 'service'),
        revision: readField(REVISION, message.revision, 'revision'),
        part: readField(PARTS, message.part, 'part'),
        ...readList(message.instances, message.service as string, true),
      }
    case 'delta':
      return {
        type: 'delta',
        service: readField(serviceName(), message.service, 'service'),
        previous: readField(REVISION, message.previous, 'previous'),
        revision: readField(REVISION, message.revision, 'revision'),
        ...readChange(message.put, message.gone, message.service as string),
        ...(message.policy === undefined ? {} : readPolicy(message.policy, message.service as string)),
        ...(typeof message.frozen === 'boolean' ? { frozen: message.frozen } : {}),
      }
    case 'mark':
      return {
        type: 'mark',
        epoch: readField(EPOCH, message.epoch, 'epoch'),
        revision: readField(REVISION, message.revision, 'revision'),
        wallNow: readField(REVISION, message.wallNow, 'wallNow'),
      }
    case 'bundle':
      return {
        type: 'bundle',
        trustDomain: readField(text('a trust domain', /^[a-z0-9._-]+$/, 255), message.trustDomain, 'trustDomain'),
        sequence: readField(REVISION, message.sequence, 'sequence'),
        roots: readField(ROOTS, message.roots, 'roots'),
      }
    case 'done':
      return {
        type: 'done',
        ref: readField(REVISION, message.ref, 'ref'),
        revision: readField(REVISION, message.revision, 'revision'),
        ...(message.isNew === true && { isNew: true }),
      }
    case 'seen':
      return {
        type: 'seen',
        id: readField(INSTANCE_SHAPE.id, message.id, 'id'),
        watchers: readField(REVISION, message.watchers, 'watchers'),
      }
    case 'unlisted':
      return {
        type: 'unlisted',
        id: readField(INSTANCE_SHAPE.id, message.id, 'id'),
        // Told to the user, and decides nothing: a newer registry may have more.
        why: readField(text('a reason', WORD, 64), message.why, 'why'),
      }
    case 'error':
      return {
        type: 'error',
        ...(message.ref === undefined ? {} : { ref: readField(REVISION, message.ref, 'ref') }),
        code: readField(text('a code', WORD, 64), message.code, 'code'),
        message: String(message.message ?? '').slice(0, 1_000),
      }
    case 'goaway':
      return {
        type: 'goaway',
        retryAfterMs: readField(integer({ min: 0, max: 600_000 }), message.retryAfterMs, 'retryAfterMs'),
      }
    default:
      if (typeof message.type !== 'string') throw new SnapshotRejected('a message without a type')
      return undefined
  }
}

/** A view as it was written to the disk. @throws SnapshotRejected */
export function readStoredView(value: unknown): ServiceView {
  const view = readObject(value, 'view')
  return {
    service: readField(serviceName(), view.service, 'service'),
    epoch: readField(EPOCH, view.epoch, 'epoch'),
    revision: readField(REVISION, view.revision, 'revision'),
    stale: true,
    endpoints: {
      ...readList(view.instances, view.service as string, true),
      intended: view.intended === true,
      left: NONE_LEFT,
      frozen: view.frozen === true,
    },
    document: readPolicy(view.policy, view.service as string),
  }
}

function parseJson(line: string): unknown {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch (error) {
    throw new SnapshotRejected(`not JSON: ${error instanceof Error ? error.message.slice(0, 100) : 'unreadable'}`)
  }
  const twice = duplicateKey(line)
  if (twice !== undefined) throw new SnapshotRejected(`the key '${twice.slice(0, 40)}' is there twice`)
  return value
}

/**
 * A whole list of which nothing at all can be read is no news. `some`: there is more of it, or
 * nothing better.
 */
function readList(
  value: unknown,
  service: string,
  some: boolean,
): { instances: readonly Instance[]; unread?: readonly UnreadableInstance[] } {
  const { instances, foreign, unread } = readInstances(value, service)
  if (instances.length > 0) return { instances, ...(unread && { unread }) }
  if (foreign.length > 0) {
    const issue = 'every instance has a protocol or a state that this version does not know'
    return { instances, unread: [...(unread ?? []), { id: undefined, issue }] }
  }
  if (unread !== undefined && !some) throw new SnapshotRejected(unread[0]!.issue)
  return { instances, ...(unread && { unread }) }
}

/** An instance that has become one of a kind that this version could not call is listed no more. */
function readChange(
  put: unknown,
  gone: unknown,
  service: string,
): { put?: readonly Instance[]; gone?: readonly Removal[]; unread?: readonly UnreadableInstance[] } {
  const left = gone === undefined ? [] : readGone(gone)
  if (put === undefined) return gone === undefined ? {} : { gone: left }
  const { instances, foreign, unread } = readInstances(put, service)
  const all = [...left, ...foreign.map((id): Removal => ({ id, why: 'lost' }))]
  return { put: instances, ...(all.length > 0 && { gone: all }), ...(unread && { unread }) }
}

function readGone(value: unknown): readonly Removal[] {
  if (!Array.isArray(value) || value.length > LIMITS.instancesPerService) throw new SnapshotRejected('gone: no list')
  return value.map((entry) => {
    const gone = readObject(entry, 'gone')
    // Another word of a newer registry: the one that is not believed at once.
    const why = gone.why === 'left' ? 'left' : 'lost'
    return { id: readField(INSTANCE_SHAPE.id, gone.id, 'gone.id'), why }
  })
}

/** Judged apart from the instances: a document that cannot be read must hide no endpoint. */
function readPolicy(value: unknown, service: string): { policy: unknown; policyIssue?: string } {
  if (value === null || value === undefined) return { policy: null }
  const read = readPolicyDocument(value)
  if (read !== undefined) {
    return read.issue === undefined ? { policy: read.policy } : { policy: read.policy, policyIssue: read.issue }
  }
  const issue = checkPolicyDocument(value)[0]!
  const nobody = service === MESH_DOCUMENT ? { defaultIntention: 'deny' } : { allow: [] }
  return { policy: { service, ...nobody }, policyIssue: `${formatPath(issue.path)}: ${issue.message}` }
}
