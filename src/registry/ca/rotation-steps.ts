/**
 * The steps of a rotation as changes of records. Each is decided on the record that it replaces, so
 * any registry may take it, and what is written is written whole.
 */
import type { AuditEntry } from '../access/audit.ts'
import { ApiError } from '../api/error.ts'
import { type AuthorityRecord, KEYS, type SigningKeyRecord } from '../records.ts'
import type { Operation } from '../storage/storage.ts'
import { isRoot, type Made, putAuthority, putTokenKey, rootIdOf } from './authority-records.ts'
import { type RotationRecord, withdraw } from './rotation-record.ts'
import { advance, begin, cancel, type Facts, replaceEnded, type Succession, trustedOf } from './succession.ts'
import type { TrustRecords } from './trust-records.ts'
import type { Moment, TrustStep } from './trust-store.ts'

/** What is rotated: who signs certificates, or who signs tokens. */
export type Track = 'certificates' | 'tokens'

/** Who takes a step, and how it is noted in the same transaction. */
export interface Actor {
  readonly who: string
  readonly source: string
  readonly operations: (entry: AuditEntry) => Operation[]
}

export type Step = (rotation: RotationRecord, at: Moment) => TrustStep | undefined

/** Publishes another authority. @throws ApiError `conflict` while a rotation is under way */
export function publishAuthority(
  trust: TrustRecords,
  next: Made<AuthorityRecord>,
  root: Made<AuthorityRecord>,
  actor: Actor,
  more: readonly Operation[] = [],
): Step {
  return (rotation, at) => {
    const { certificates } = rotation
    const begun = begin(certificates, next.id, at) ?? refuseSecond('certificates', certificates)
    const active = trust.authorities.get(certificates.active)
    const isOther = active === undefined || rootIdOf(certificates.active, active) !== root.id
    const detail = `publishes ${isOther ? `root ${root.id} with ` : ''}intermediate ${next.id}`
    return {
      rotation: { certificates: begun },
      operations: [
        putAuthority(next),
        ...(trust.authorities.has(root.id) ? [] : [putAuthority(root)]),
        ...more,
        ...note(actor, 'ca-rotate', detail),
      ],
    }
  }
}

/** @throws ApiError `conflict` while a rotation is under way */
export function publishTokenKey(next: Made<SigningKeyRecord>, actor: Actor): Step {
  return ({ tokens }, at) => ({
    rotation: { tokens: begin(tokens, next.id, at) ?? refuseSecond('tokens', tokens) },
    operations: [putTokenKey(next), ...note(actor, 'ca-rotate', `publishes token key ${next.id}`)],
  })
}

/** The authority in use has ended: the next one signs at once. */
export function replaceEndedAuthority(ended: string, next: Made<AuthorityRecord>, actor: Actor): Step {
  return ({ certificates }, at) => {
    if (certificates.active !== ended || certificates.stage !== 'steady') return undefined
    return {
      rotation: { certificates: replaceEnded(certificates, next.id, at) },
      operations: [putAuthority(next), ...note(actor, 'ca-use', `intermediate ${next.id}, because ${ended} has ended`)],
    }
  }
}

/** The step that is due on `track`, if there is one. */
export function advanceTrack(
  track: Track,
  trust: TrustRecords,
  factsOf: (succession: Succession) => Facts,
  actor: Actor,
): Step {
  return (rotation, at) => {
    const before = rotation[track]
    const after = advance(before, factsOf(before), at)
    if (after === undefined) return undefined
    const action = after.stage === 'use' ? 'ca-use' : 'ca-withdraw'
    const kind = track === 'tokens' ? 'token key' : 'authority'
    const detail = after.stage === 'use' ? `${kind} ${after.active} signs` : `${kind} ${before.former} is withdrawn`
    return {
      rotation: {
        [track]: after,
        ...(track === 'certificates' &&
          before.former !== undefined && { withdrawn: withdraw(rotation, before.former) }),
      },
      operations: [...superfluous(track, trust, after), ...note(actor, action, detail)],
    }
  }
}

/** @throws ApiError `conflict` if nothing can be cancelled */
export function cancelTrack(track: Track, trust: TrustRecords, actor: Actor): Step {
  return (rotation, at) => {
    const before = rotation[track]
    const after = cancel(before, at)
    if (after === undefined) {
      const why = before.stage === 'use' ? 'the new one signs already' : 'no rotation is under way'
      throw new ApiError('conflict', `the rotation of ${track} cannot be cancelled: ${why}`)
    }
    return {
      rotation: { [track]: after },
      operations: [...superfluous(track, trust, after), ...note(actor, 'ca-cancel', `${track}: ${before.next}`)],
    }
  }
}

/** Deletes what is trusted no more, with its keys. Requests that wait for a certificate stay. */
function superfluous(track: Track, trust: TrustRecords, after: Succession): Operation[] {
  const trusted = new Set(trustedOf(after))
  if (track === 'tokens') {
    const ids = [...trust.signingKeys.keys()].filter((id) => !trusted.has(id))
    return ids.map((id) => ({ key: KEYS.signingKey(id), value: undefined }))
  }
  for (const id of [...trusted]) {
    const record = trust.authorities.get(id)
    if (record !== undefined) trusted.add(rootIdOf(id, record))
  }
  const gone = [...trust.authorities].filter(
    ([id, record]) => !trusted.has(id) && (isRoot(record) || record.role === 'intermediate'),
  )
  return gone.map(([id]) => ({ key: KEYS.authority(id), value: undefined }))
}

function note(actor: Actor, action: string, detail: string): Operation[] {
  const { who, source } = actor
  return actor.operations({ who, source, action, outcome: 'done', detail })
}

function refuseSecond(track: Track, { stage, next, active }: Succession): never {
  const which = stage === 'publish' ? `${next} is published` : `${active} signs, and its predecessor is not withdrawn`
  throw new ApiError(
    'conflict',
    `a rotation of ${track} is under way: ${which}; see 'inmesh ca status', or end the stage by --force`,
  )
}
