/**
 * Reads a list of instances one by one. An instance that this version cannot read does not affect
 * the others.
 */
import type { LocalAddress } from '../core/endpoint.ts'
import { CALLABLE_PROTOCOLS } from '../core/protocol.ts'
import type { TransportName } from '../core/transport.ts'
import { canonicalSpelling } from '../net/network-address.ts'
import { fields, flag, type OptionalField, oneOf, optional, record, text, withDefault } from '../options/fields.ts'
import { INSTANCE_ID, serviceName } from '../options/names.ts'
import { integer } from '../options/quantities.ts'
import type { Instance, UnreadableInstance } from './instance.ts'
import { LIMITS } from './limits.ts'
import { readField, readObject, SnapshotRejected } from './read-field.ts'

export const HOST = /^(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-fA-F:]{2,45}|[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?)$/
const WORD = /^[A-Za-z0-9][A-Za-z0-9._-]*$/

export const METADATA = record({ maxEntries: LIMITS.metadataEntries, maxLength: LIMITS.metadataText })

const MOST_TRANSPORTS = 8
const TRANSPORT = /^[a-z0-9][a-z0-9./-]{0,31}$/

/**
 * Those of later versions are kept: a registry passes them on. What is malformed is left out,
 * because calls need none of it.
 */
const TRANSPORTS: OptionalField<readonly TransportName[] | undefined> = {
  optional: true,
  schema: { type: 'array', items: { type: 'string', pattern: TRANSPORT.source }, maxItems: MOST_TRANSPORTS },
  parse(value) {
    if (!Array.isArray(value)) return undefined
    const readable = value.filter((one) => typeof one === 'string' && TRANSPORT.test(one))
    return readable.length === 0 ? undefined : Object.freeze(readable.slice(0, MOST_TRANSPORTS))
  },
}

const MACHINE = /^[A-Za-z0-9_-]{8,64}$/
const SOCKET = /^[a-z0-9]{8,40}$/

/** What is malformed is left out, because every instance can be called without it. */
const LOCAL: OptionalField<LocalAddress | undefined> = {
  optional: true,
  schema: {
    type: 'object',
    properties: {
      machine: { type: 'string', pattern: MACHINE.source },
      socket: { type: 'string', pattern: SOCKET.source },
    },
  },
  parse(value) {
    const { machine, socket } = (value ?? {}) as Record<string, unknown>
    if (typeof machine !== 'string' || typeof socket !== 'string') return undefined
    return MACHINE.test(machine) && SOCKET.test(socket) ? Object.freeze({ machine, socket }) : undefined
  },
}

export const INSTANCE_SHAPE = {
  service: serviceName(),
  id: text("an instance id: letters, digits, '.', '_' and '-'", INSTANCE_ID, LIMITS.instanceId),
  address: text('an IP address or a host name', HOST),
  port: integer({ min: 1, max: 65_535 }),
  protocol: oneOf(CALLABLE_PROTOCOLS),
  tls: flag(),
  zone: optional(text('a zone name', WORD, 63)),
  version: optional(text('a version', WORD, 63)),
  weight: withDefault(integer({ min: 0, max: 1_000 }), 100),
  metadata: withDefault(METADATA, Object.freeze({})),
  transports: TRANSPORTS,
  local: LOCAL,
  state: oneOf(['ready', 'draining']),
} as const
const INSTANCE = fields(INSTANCE_SHAPE)

export interface InstanceList {
  readonly instances: readonly Instance[]
  /** Those of a protocol or in a state of a newer version: none that this one could call. */
  readonly foreign: readonly string[]
  /** Absent: all could be read. */
  readonly unread?: readonly UnreadableInstance[]
}

/**
 * An instance from a document or a message; unknown keys are dropped, its address has one spelling.
 * @throws SnapshotRejected
 */
export function readInstance(value: unknown): Instance {
  const instance = readField(INSTANCE, pick(value), 'instance')
  const address = canonicalSpelling(instance.address)
  return address === instance.address ? instance : { ...instance, address }
}

/** @throws SnapshotRejected if the list as a whole is none that a registry sends */
export function readInstances(value: unknown, service: string): InstanceList {
  if (!Array.isArray(value)) throw new SnapshotRejected('instances: no list')
  const most = LIMITS.instancesPerService
  if (value.length > most) throw new SnapshotRejected(`instances: ${value.length}, at most ${most}`)
  const ids = new Set<string>()
  const instances: Instance[] = []
  const foreign: string[] = []
  const unread: UnreadableInstance[] = []
  for (const entry of value as unknown[]) {
    const id = idOf(entry)
    if (isForeign(entry)) {
      if (id !== undefined) foreign.push(id)
      continue
    }
    try {
      const instance = readInstance(entry)
      if (instance.service !== service) throw new SnapshotRejected(`instance.service: it is of ${instance.service}`)
      instances.push(instance)
    } catch (error) {
      unread.push({ id, issue: (error as Error).message })
      continue
    }
    if (ids.has(id!)) throw new SnapshotRejected(`instances: id ${id} twice`)
    ids.add(id!)
  }
  return { instances: Object.freeze(instances), foreign, ...(unread.length > 0 && { unread }) }
}

/** Only the known keys: the other side may be newer. A `null` counts as absent. */
function pick(value: unknown): Record<string, unknown> {
  const source = readObject(value, 'instance')
  const picked: Record<string, unknown> = {}
  for (const key of Object.keys(INSTANCE_SHAPE)) {
    if (Object.hasOwn(source, key) && source[key] !== null) picked[key] = source[key]
  }
  return picked
}

function isForeign(entry: unknown): boolean {
  const { protocol, state } = (entry ?? {}) as Record<string, unknown>
  const known = (value: unknown, ...kinds: string[]) => typeof value !== 'string' || kinds.includes(value)
  return !known(protocol, ...CALLABLE_PROTOCOLS) || !known(state, 'ready', 'draining')
}

function idOf(entry: unknown): string | undefined {
  const { id } = (entry ?? {}) as Record<string, unknown>
  return typeof id === 'string' && id.length <= LIMITS.instanceId && INSTANCE_ID.test(id) ? id : undefined
}

/** The first instance that could not be read, with why and how many more there are. */
export function unreadableIssue({
  unread,
}: {
  readonly unread?: readonly UnreadableInstance[] | undefined
}): string | undefined {
  const first = unread?.[0]
  if (first === undefined) return undefined
  const others = unread!.length > 1 ? `, and ${unread!.length - 1} more` : ''
  return `${first.id === undefined ? '' : `instance ${first.id}: `}${first.issue}${others}`
}
