/**
 * What comes from outside (a registry, the disk) is believed only after this file has built it anew, field by field: nothing of the
 * received objects survives, so no prototype, no surprise key and no absurd value gets further. A mistake refuses the
 * whole message; what was in force stays in force.
 */
import {
  type Field,
  fields,
  flag,
  formatPath,
  type Issue,
  integer,
  list,
  oneOf,
  record,
  text,
  withDefault,
} from '../core/fields.ts'
import { INSTANCE_ID, serviceName } from '../core/names.ts'
import { usualSpelling } from '../core/network-address.ts'
import { LIMITS } from './limits.ts'
import { checkPolicyDocument } from './policy-document.ts'
import { readPolicyDocument } from './readable-policy.ts'
import type { Instance, ServerMessage } from './wire.ts'

/** What is in force about one service in this process. Immutable. */
export interface ServiceView {
  readonly service: string
  readonly epoch: string
  readonly revision: number
  readonly instances: readonly Instance[]
  /** The document as applied, or `null`. */
  readonly policy: unknown
  /** Why the document that the registry sent is not in force as it is. */
  readonly policyIssue?: string | undefined
  /** `policy` is the part of it that could be read, because there was no good one before. */
  readonly partial?: boolean
  /** An empty or shrunken list is meant: all that it lacks left on purpose. */
  readonly intended: boolean
  /** Ids of instances that left on purpose, as far as the last message told. */
  readonly left: ReadonlySet<string>
  /** The registry has stopped expiring. */
  readonly frozen: boolean
  /** From the disk, not from a live registry. */
  readonly stale: boolean
}

/** A message that was refused, and why, for the event and the counter. */
export class SnapshotRejected extends Error {
  override readonly name = 'SnapshotRejected'
}

const HOST = /^(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-fA-F:]{2,45}|[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?)$/
const WORD = /^[A-Za-z0-9][A-Za-z0-9._-]*$/

const INSTANCE_SHAPE = {
  service: serviceName(),
  id: text("an instance id: letters, digits, '.', '_' and '-'", INSTANCE_ID, LIMITS.instanceId),
  address: text('an IP address or a host name', HOST),
  port: integer({ min: 1, max: 65_535 }),
  protocol: oneOf(['http', 'grpc']),
  tls: flag(),
  zone: withDefault<string | undefined>(text('a zone name', WORD, 63), undefined),
  version: withDefault<string | undefined>(text('a version', WORD, 63), undefined),
  weight: withDefault(integer({ min: 0, max: 1_000 }), 100),
  metadata: withDefault(
    record({ maxEntries: LIMITS.metadataEntries, maxLength: LIMITS.metadataText }),
    Object.freeze({}),
  ),
  state: oneOf(['ready', 'draining']),
} as const
const INSTANCE = fields(INSTANCE_SHAPE)
const EPOCH = text('an epoch', /^[A-Za-z0-9_-]+$/, 64)
const REVISION = integer({ min: 0, max: Number.MAX_SAFE_INTEGER })
const PARTS = integer({ min: 0, max: LIMITS.instancesPerService })
const ROOTS = list(
  text('a PEM certificate', /^-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----\s*$/, 16_384),
  {
    max: 32,
  },
)

/** An instance from a document or a message; unknown keys are dropped, its address has one spelling. @throws SnapshotRejected */
export function readInstance(value: unknown): Instance {
  const instance = read(INSTANCE, pick(value, INSTANCE_SHAPE), 'instance')
  const address = usualSpelling(instance.address)
  return address === instance.address ? instance : { ...instance, address }
}

/** One line of the session. `undefined`: a type this version does not know. @throws SnapshotRejected */
export function readServerMessage(line: string): ServerMessage | undefined {
  const message = object(parseJson(line), 'message')
  switch (message.type) {
    case 'welcome':
      return {
        type: 'welcome',
        protocol: read(integer({ min: 1, max: 1_000 }), message.protocol, 'protocol'),
        epoch: read(EPOCH, message.epoch, 'epoch'),
        leaseMs: read(integer({ min: 100, max: 3_600_000 }), message.leaseMs, 'leaseMs'),
        beatMs: read(integer({ min: 30, max: 3_600_000 }), message.beatMs, 'beatMs'),
        wallNow: read(REVISION, message.wallNow, 'wallNow'),
        dev: message.dev === true,
      }
    case 'snapshot':
      return {
        type: 'snapshot',
        service: read(serviceName(), message.service, 'service'),
        epoch: read(EPOCH, message.epoch, 'epoch'),
        revision: read(REVISION, message.revision, 'revision'),
        instances: readInstances(message.instances, message.service as string),
        ...readPolicy(message.policy),
        intended: message.intended === true,
        frozen: message.frozen === true,
        ...(message.gone === undefined ? {} : { gone: readGone(message.gone) }),
        ...(message.parts === undefined ? {} : { parts: read(PARTS, message.parts, 'parts') }),
      }
    case 'part':
      return {
        type: 'part',
        service: read(serviceName(), message.service, 'service'),
        revision: read(REVISION, message.revision, 'revision'),
        part: read(PARTS, message.part, 'part'),
        instances: readInstances(message.instances, message.service as string),
      }
    case 'delta':
      return {
        type: 'delta',
        service: read(serviceName(), message.service, 'service'),
        previous: read(REVISION, message.previous, 'previous'),
        revision: read(REVISION, message.revision, 'revision'),
        ...(message.put === undefined ? {} : { put: readInstances(message.put, message.service as string) }),
        ...(message.gone === undefined ? {} : { gone: readGone(message.gone) }),
        ...(message.policy === undefined ? {} : readPolicy(message.policy)),
        ...(typeof message.frozen === 'boolean' ? { frozen: message.frozen } : {}),
      }
    case 'mark':
      return {
        type: 'mark',
        epoch: read(EPOCH, message.epoch, 'epoch'),
        revision: read(REVISION, message.revision, 'revision'),
        wallNow: read(REVISION, message.wallNow, 'wallNow'),
      }
    case 'bundle':
      return {
        type: 'bundle',
        trustDomain: read(text('a trust domain', /^[a-z0-9._-]+$/, 255), message.trustDomain, 'trustDomain'),
        sequence: read(REVISION, message.sequence, 'sequence'),
        roots: read(ROOTS, message.roots, 'roots'),
      }
    case 'done':
      return {
        type: 'done',
        ref: read(REVISION, message.ref, 'ref'),
        revision: read(REVISION, message.revision, 'revision'),
      }
    case 'seen':
      return {
        type: 'seen',
        id: read(INSTANCE_SHAPE.id, message.id, 'id'),
        watchers: read(REVISION, message.watchers, 'watchers'),
      }
    case 'unlisted':
      return {
        type: 'unlisted',
        id: read(INSTANCE_SHAPE.id, message.id, 'id'),
        why: read(oneOf(['expired', 'released', 'replaced']), message.why, 'why'),
      }
    case 'error':
      return {
        type: 'error',
        ...(message.ref === undefined ? {} : { ref: read(REVISION, message.ref, 'ref') }),
        code: read(text('a code', WORD, 64), message.code, 'code'),
        message: String(message.message ?? '').slice(0, 1_000),
      }
    case 'goaway':
      return {
        type: 'goaway',
        retryAfterMs: read(integer({ min: 0, max: 600_000 }), message.retryAfterMs, 'retryAfterMs'),
      }
    default:
      if (typeof message.type !== 'string') throw new SnapshotRejected('a message without a type')
      return undefined
  }
}

/** A view as it was written to the disk. @throws SnapshotRejected */
export function readStoredView(value: unknown): ServiceView {
  const view = object(value, 'view')
  return {
    service: read(serviceName(), view.service, 'service'),
    epoch: read(EPOCH, view.epoch, 'epoch'),
    revision: read(REVISION, view.revision, 'revision'),
    instances: readInstances(view.instances, view.service as string),
    ...readPolicy(view.policy),
    intended: view.intended === true,
    frozen: view.frozen === true,
    left: NOBODY,
    stale: true,
  }
}

/** What is in force after a whole snapshot. */
export function viewOf(snapshot: Extract<ServerMessage, { type: 'snapshot' }>): ServiceView {
  const { type: _type, gone, parts: _parts, ...view } = snapshot
  return { ...view, left: leftOf(gone), stale: false }
}

/**
 * `next` with the policy that is in force after `known`: of a document that cannot be read whole the last good one stays, and
 * without one what can be read.
 */
export function keepGoodPolicy(next: ServiceView, known: ServiceView | undefined): ServiceView {
  if (next.policyIssue === undefined) return { ...next, partial: false }
  if (known === undefined || known.partial === true) return { ...next, partial: true }
  return { ...next, policy: known.policy, partial: false }
}

/** `view` after `delta`; the caller has checked that it chains. */
export function applyDelta(view: ServiceView, delta: Extract<ServerMessage, { type: 'delta' }>): ServiceView {
  const gone = new Set(delta.gone?.map(({ id }) => id))
  const put = new Map(delta.put?.map((instance) => [instance.id, instance]))
  const instances: Instance[] = []
  for (const instance of view.instances) {
    const { id } = instance
    const next = put.get(id)
    if (next !== undefined) {
      instances.push(next)
      put.delete(id)
    } else if (!gone.has(id)) instances.push(instance)
  }
  instances.push(...put.values())
  return {
    ...view,
    revision: delta.revision,
    instances: Object.freeze(instances),
    ...(delta.policy === undefined ? {} : { policy: delta.policy, policyIssue: delta.policyIssue }),
    // Of what the list lacks since before this says nothing.
    intended: false,
    left: leftOf(delta.gone),
    frozen: delta.frozen ?? view.frozen,
    stale: false,
  }
}

const NOBODY: ReadonlySet<string> = new Set()

/** The ids of those that left on purpose. */
export function leftOf(gone: readonly { id: string; why: 'left' | 'lost' }[] | undefined): ReadonlySet<string> {
  return gone === undefined ? NOBODY : new Set(gone.filter(({ why }) => why === 'left').map(({ id }) => id))
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line)
  } catch (error) {
    throw new SnapshotRejected(`not JSON: ${error instanceof Error ? error.message.slice(0, 100) : 'unreadable'}`)
  }
}

function object(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new SnapshotRejected(`${what} is no object`)
  }
  return value as Record<string, unknown>
}

function read<T>(field: Field<T>, value: unknown, name: string): T {
  const issues: Issue[] = []
  const parsed = field.parse(value, [name], issues)
  const issue = issues[0]
  if (issue !== undefined) throw new SnapshotRejected(`${formatPath(issue.path)}: ${issue.message}`)
  return parsed
}

/** Only the known keys: the other side may be newer. A `null` counts as absent. */
function pick(value: unknown, shape: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const source = object(value, 'instance')
  const picked: Record<string, unknown> = {}
  for (const key of Object.keys(shape)) {
    if (Object.hasOwn(source, key) && source[key] !== null) picked[key] = source[key]
  }
  return picked
}

function readInstances(value: unknown, service: string): readonly Instance[] {
  if (!Array.isArray(value)) throw new SnapshotRejected('instances: no list')
  const most = LIMITS.instancesPerService
  if (value.length > most) throw new SnapshotRejected(`instances: ${value.length}, at most ${most}`)
  const ids = new Set<string>()
  const known = value.filter(isKnownKind)
  if (known.length === 0 && value.length > 0)
    throw new SnapshotRejected('instances: none of a known protocol and state')
  const instances = known.map((entry) => {
    const instance = readInstance(entry)
    if (instance.service !== service) throw new SnapshotRejected(`instances: one of service ${instance.service}`)
    if (ids.has(instance.id)) throw new SnapshotRejected(`instances: id ${instance.id} twice`)
    ids.add(instance.id)
    return instance
  })
  return Object.freeze(instances)
}

/** An instance of a protocol or in a state of a newer version is none that this one could call. */
function isKnownKind(entry: unknown): boolean {
  const { protocol, state } = (entry ?? {}) as Record<string, unknown>
  const known = (value: unknown, ...kinds: string[]) => typeof value !== 'string' || kinds.includes(value)
  return known(protocol, 'http', 'grpc') && known(state, 'ready', 'draining')
}

function readGone(value: unknown): readonly { id: string; why: 'left' | 'lost' }[] {
  if (!Array.isArray(value) || value.length > LIMITS.instancesPerService) throw new SnapshotRejected('gone: no list')
  return value.map((entry) => {
    const gone = object(entry, 'gone')
    return {
      id: read(INSTANCE_SHAPE.id, gone.id, 'gone.id'),
      why: read(oneOf(['left', 'lost']), gone.why, 'gone.why'),
    }
  })
}

/** Judged apart from the instances: a key of a newer registry must hide no endpoint. */
function readPolicy(value: unknown): { policy: unknown; policyIssue?: string } {
  if (value === null || value === undefined) return { policy: null }
  const read = readPolicyDocument(value)
  if (read === undefined) {
    const issue = checkPolicyDocument(value)[0]!
    throw new SnapshotRejected(`policy: ${formatPath(issue.path)}: ${issue.message}`)
  }
  return read.issue === undefined ? { policy: read.policy } : { policy: read.policy, policyIssue: read.issue }
}
