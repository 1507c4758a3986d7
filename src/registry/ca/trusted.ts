/** The trust bundle and what may sign now, read from the records. Pure. */
import { rootFingerprint } from '../../identity/join-token.ts'
import type { TrustBundle } from '../../identity/trust-bundle.ts'
import type { AuthorityRecord } from '../records.ts'
import { certificatesOf, isRoot, type Made, rootIdOf } from './authority-records.ts'
import type { RotationRecord } from './rotation-record.ts'
import { trustedOf } from './succession.ts'
import type { TrustRecords } from './trust-records.ts'

/** The authorities whose certificates are trusted, the one that signs first. */
export function trustedAuthorities(trust: TrustRecords, rotation: RotationRecord): Made<AuthorityRecord>[] {
  return trustedOf(rotation.certificates).flatMap((id) => {
    const record = trust.authorities.get(id)
    return record === undefined ? [] : [{ id, record }]
  })
}

/** Their roots, each once, that of the one that signs first. */
export function trustedRoots(trust: TrustRecords, rotation: RotationRecord): Made<AuthorityRecord>[] {
  const ids = new Set(trustedAuthorities(trust, rotation).map(({ id, record }) => rootIdOf(id, record)))
  return [...ids].flatMap((id) => {
    const record = trust.authorities.get(id)
    return record === undefined ? [] : [{ id, record }]
  })
}

export function bundleFrom(trust: TrustRecords, rotation: RotationRecord, denied: readonly string[]): TrustBundle {
  const { trustDomain, sequence } = rotation
  const intermediates = trustedAuthorities(trust, rotation).filter(({ record }) => !isRoot(record))
  return {
    trustDomain,
    sequence,
    roots: trustedRoots(trust, rotation).map(({ record }) => record.certificate),
    intermediates: [...new Set(intermediates.flatMap(({ record }) => certificatesOf(record.certificate)))],
    denied,
  }
}

/** What tokens pin: the fingerprints of the trusted roots, that of the root in use first. */
export function pinsOf(trust: TrustRecords, rotation: RotationRecord): string[] {
  return trustedRoots(trust, rotation).map(({ record }) => rootFingerprint(record.certificate))
}

/**
 * The authority of the registries' own certificates. Under another root the former one, so that a
 * process that was away verifies us until the former root is withdrawn.
 */
export function ownIssuerOf(trust: TrustRecords, { certificates }: RotationRecord): string {
  const { active, former } = certificates
  if (former === undefined) return active
  const rootOf = (id: string): string => rootIdOf(id, trust.authorities.get(id) ?? ({} as AuthorityRecord))
  // Older processes know a root that signs leaves, and not its intermediate.
  return rootOf(former) === rootOf(active) && rootOf(former) !== former ? active : former
}

/** An authority under the root with this fingerprint, of those that this registry can sign with. */
export function issuerUnder(
  trust: TrustRecords,
  rotation: RotationRecord,
  fingerprint: string,
  holds: (id: string) => boolean,
): string | undefined {
  return trustedAuthorities(trust, rotation).find(({ id, record }) => {
    const root = trust.authorities.get(rootIdOf(id, record))
    return holds(id) && root !== undefined && rootFingerprint(root.certificate) === fingerprint
  })?.id
}
