/**
 * Makes the records of authorities and token keys, and reads them. Ids are of what a record holds,
 * so that two registries with the same certificate in hand name it alike.
 */
import { createHash, randomBytes, X509Certificate } from 'node:crypto'
import { type Authority, createAuthority, loadAuthority, renewRoot } from '../../identity/certificate.ts'
import { createIntermediate } from '../../identity/intermediate.ts'
import { rootFingerprint } from '../../identity/join-token.ts'
import { generateIdentityKey, privateKeyPem } from '../../identity/key.ts'
import { BACKDATED_MS } from '../../identity/validity.ts'
import { readCertificatePem } from '../../identity/x509/pem.ts'
import { type AuthorityRecord, KEYS, type SigningKeyRecord } from '../records.ts'
import type { Operation } from '../storage/storage.ts'
import type { TrustRecords } from './trust-records.ts'

const DAY_MS = 24 * 3_600_000
export const ROOT_LIFE_MS = 10 * 365 * DAY_MS
/** At least three times the longest life of a leaf, which is 7 days. */
export const INTERMEDIATE_LIFE_MS = 30 * DAY_MS

/** A record with its id. */
export interface Made<T> {
  readonly id: string
  readonly record: T
}

export function makeRoot(trustDomain: string, wallNow: number): Made<AuthorityRecord> {
  const period = { notBefore: wallNow - BACKDATED_MS, notAfter: wallNow + ROOT_LIFE_MS }
  const { certificate, privateKey } = createAuthority({ trustDomain, ...period })
  return { id: idOf(certificate), record: { trustDomain, role: 'root', certificate, privateKey, createdAt: wallNow } }
}

/** @throws OptionsError if the root may have no authority below it */
export function makeIntermediate(root: Made<AuthorityRecord>, wallNow: number): Made<AuthorityRecord> {
  const authority = authorityOf(root.record)
  const period = { notBefore: wallNow - BACKDATED_MS, notAfter: wallNow + INTERMEDIATE_LIFE_MS }
  const { certificate, privateKey } = createIntermediate(authority, period)
  const { trustDomain } = root.record
  return {
    id: idOf(certificate),
    record: { trustDomain, role: 'intermediate', root: root.id, certificate, privateKey, createdAt: wallNow },
  }
}

/** The root of an older version with a certificate that allows intermediates; the key stays. */
export function renewedRoot(record: AuthorityRecord, wallNow: number): AuthorityRecord {
  const { notBefore, notAfter, pathLength } = authorityOf(record)
  const { trustDomain, privateKey } = record
  const certificate =
    pathLength === 0 ? renewRoot(authorityOf(record), { notBefore, notAfter }).certificate : record.certificate
  return { trustDomain, role: 'root', certificate, privateKey: privateKey!, createdAt: wallNow }
}

export async function makeTokenKey(wallNow: number): Promise<Made<SigningKeyRecord>> {
  const { privateKey } = await generateIdentityKey()
  const record = { privateKey: privateKeyPem(privateKey), createdAt: wallNow }
  return { id: randomBytes(6).toString('hex'), record }
}

export function putAuthority({ id, record }: Made<AuthorityRecord>): Operation {
  return { key: KEYS.authority(id), value: JSON.stringify(record) }
}

export function putTokenKey({ id, record }: Made<SigningKeyRecord>): Operation {
  return { key: KEYS.signingKey(id), value: JSON.stringify(record) }
}

/** Of the first certificate. */
export function idOf(certificate: string): string {
  return createHash('sha256').update(new X509Certificate(certificate).raw).digest('hex').slice(0, 12)
}

/** The root of an authority; its own id for a root that signs leaves. */
export function rootIdOf(id: string, { root }: AuthorityRecord): string {
  return root ?? id
}

/** The root with this key, whatever its certificate. */
export function findRoot(trust: TrustRecords, certificate: string): string | undefined {
  const fingerprint = rootFingerprint(certificate)
  for (const [id, record] of trust.authorities) {
    if (isRoot(record) && rootFingerprint(record.certificate) === fingerprint) return id
  }
  return undefined
}

export function isRoot({ role = 'root' }: AuthorityRecord): boolean {
  return role === 'root'
}

/** The certificates of a text, one text each. */
export function certificatesOf(pem: string): string[] {
  return (readCertificatePem(pem) ?? []).map((der) => new X509Certificate(der).toString())
}

const loaded = new WeakMap<AuthorityRecord, Authority>()

/** The authority of a record with its key. @throws OptionsError if they do not belong together */
export function authorityOf(record: AuthorityRecord): Authority {
  let authority = loaded.get(record)
  if (authority === undefined) {
    authority = loadAuthority({ certificate: record.certificate, privateKey: record.privateKey ?? '' })
    loaded.set(record, authority)
  }
  return authority
}
