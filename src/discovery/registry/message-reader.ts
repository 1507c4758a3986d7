/**
 * Reads a line of the session into a message that is built anew, field by field. No prototype,
 * unknown key or absurd value of the received object gets further.
 */
import { BUNDLE_LIMITS } from '../../identity/trust-bundle.ts'
import { list, text } from '../../options/fields.ts'
import { serviceName } from '../../options/names.ts'
import { integer, number } from '../../options/quantities.ts'
import { RATES } from '../../resilience/limits/rate-limit.ts'
import { INSTANCE_SHAPE } from '../instance-reader.ts'
import { LIMITS } from '../limits.ts'
import { readField, readObject, SnapshotRejected } from '../read-field.ts'
import { readTap, readTapId } from '../tap/message.ts'
import { TRAFFIC_LIMITS } from '../traffic/message.ts'
import { PER_SECOND, readDemand } from './demand-reader.ts'
import { duplicateKey } from './duplicate-key.ts'
import { EPOCH, REVISION, readChange, readList, readPolicy, readRemovals } from './message-fields.ts'
import type { ServerMessage } from './wire.ts'

const WORD = /^[A-Za-z0-9][A-Za-z0-9._-]*$/
const COUNT = integer({ min: 1, max: 1_000 })
const EVERY_MS = integer(TRAFFIC_LIMITS.everyMs)
const PARTS = integer({ min: 0, max: LIMITS.instancesPerService })
const PEM = /^-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----\s*$/
const certificates = (max: number) => list(text('a PEM certificate', PEM, BUNDLE_LIMITS.pemBytes), { max })
const ROOTS = certificates(BUNDLE_LIMITS.roots)
const INTERMEDIATES = certificates(BUNDLE_LIMITS.intermediates)
const DENIED = list(text('a SPIFFE id', /^spiffe:/, 2_048), { max: BUNDLE_LIMITS.denied })

/** `undefined`: a type that this version does not know. @throws SnapshotRejected */
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
        ...(message.registries !== undefined && { registries: readField(COUNT, message.registries, 'registries') }),
        ...(message.traffic !== undefined && { traffic: readTrafficWanted(message.traffic) }),
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
        ...(message.nearest === undefined ? {} : { nearest: readField(serviceName(), message.nearest, 'nearest') }),
        ...(message.gone === undefined ? {} : { gone: readRemovals(message.gone) }),
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
        intermediates: readField(INTERMEDIATES, message.intermediates ?? [], 'intermediates'),
        denied: readField(DENIED, message.denied ?? [], 'denied'),
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
        // For the user only. A newer registry may have more reasons.
        why: readField(text('a reason', WORD, 64), message.why, 'why'),
      }
    case 'quota':
      return {
        type: 'quota',
        leaseMs: readField(integer({ min: 100, max: 3_600_000 }), message.leaseMs, 'leaseMs'),
        rate: readField(number(RATES), message.rate, 'rate'),
        share: readField(PER_SECOND, message.share, 'share'),
        ...(message.callers === undefined ? {} : { callers: readDemand(message.callers, 'callers') }),
      }
    case 'tap':
      return readTap(message)
    case 'untap':
      return { type: 'untap', tap: readTapId(message.tap) }
    case 'moved':
      return { type: 'moved', id: readField(INSTANCE_SHAPE.id, message.id, 'id') }
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
        ...(message.gently === true && { gently: true }),
      }
    default:
      if (typeof message.type !== 'string') throw new SnapshotRejected('a message without a type')
      return undefined
  }
}

function readTrafficWanted(value: unknown): { everyMs: number } {
  return { everyMs: readField(EVERY_MS, readObject(value, 'traffic').everyMs, 'traffic.everyMs') }
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
