/**
 * What the store holds, as JSON by key. The only file that knows the keys.
 */
import type { Instance, InstanceState } from '../discovery/instance.ts'
import type { Removal } from '../discovery/registry/wire.ts'

export type { Removal } from '../discovery/registry/wire.ts'

/** An instance, with what the registry keeps about it and does not tell watchers. */
export interface InstanceRecord {
  /** As watchers see it. */
  readonly instance: Instance
  /** What its process registered instead, while an operator's override is in force. */
  readonly own?: { readonly weight: number; readonly state: InstanceState }
  /** SPIFFE id of who registered it. */
  readonly owner: string
  /** The registry that holds the session of its process. Absent: {@link LOCAL_REGISTRY}. */
  readonly registry?: string
  /** Wall clock, ms. */
  readonly registeredAt: number
}

/** The id of a registry that has its store for itself. */
export const LOCAL_REGISTRY = 'local'

/** The registry that holds the session of an instance's process. */
export function holderOf({ registry }: InstanceRecord): string {
  return registry ?? LOCAL_REGISTRY
}

/** What an operator decided about the instance at an address. */
export interface OverrideRecord {
  readonly disabled: boolean
  /** `null`: its own. */
  readonly weight: number | null
  /** Wall clock, ms. */
  readonly at: number
}

/** Written in the same transaction as every removal, so that watchers and later starts know why. */
export interface ServiceRecord {
  readonly gone: readonly Removal[]
  /** Wall clock of the last loss; 0: none. {@link LossRecord} may know of a newer one. */
  readonly lostAt: number
}

/**
 * The last loss of a service. A separate key: another registry that removes what left must not
 * write an older instant over it.
 */
export interface LossRecord {
  /** Wall clock, ms. */
  readonly at: number
}

export interface PolicyRecord {
  readonly document: Readonly<Record<string, unknown>> | null
  /** Counts up per service, also over deletions and rollbacks. `document: null` is a deletion. */
  readonly version: number
  /** Wall clock, ms. */
  readonly at: number
  readonly by: string
}

/** A Gateway API manifest; its `document` is the manifest as applied. */
export interface ManifestRecord extends PolicyRecord {
  /** Wall clock, ms. A manifest that replaces another keeps the age of the first. */
  readonly createdAt: number
}

/** A join token at rest: the secret is the key's hash and is not here. */
export interface TokenRecord {
  readonly id: string
  readonly service: string
  readonly uses: number
  readonly usesLeft: number
  /** Hashes of the keys that took the last uses: each may ask again for the use it took. */
  readonly keys?: readonly string[]
  readonly createdAt: number
  readonly expiresAt: number
  readonly by: string
}

/** An operator's token at rest: the secret is the key's hash and is not here. */
export interface OperatorRecord {
  readonly id: string
  readonly name: string
  /** `read`: everything, and change nothing. */
  readonly access: 'admin' | 'read'
  readonly createdAt: number
  /** Wall clock, ms; `null`: without end. */
  readonly expiresAt: number | null
  readonly by: string
}

/** A root, an intermediate, or a key that waits for its certificate. */
export interface AuthorityRecord {
  readonly trustDomain: string
  /** Absent in a store of an older version: `root`. */
  readonly role?: 'root' | 'intermediate' | 'request'
  /** PEM; empty for a request. */
  readonly certificate: string
  /** PEM, PKCS#8. Never logged. Absent: it is kept elsewhere. */
  readonly privateKey?: string
  /** Of an intermediate: the id of the root that signed it. */
  readonly root?: string
  /** Wall clock, ms. */
  readonly createdAt?: number
  /** In a store of an older version: the number of the bundle. */
  readonly sequence?: number
}

/** The key that signs tokens. Its id is its thumbprint. */
export interface SigningKeyRecord {
  /** PEM, PKCS#8. Never logged. */
  readonly privateKey: string
  /** Wall clock, ms. */
  readonly createdAt: number
}

/** An identity that operators deny all access. */
export interface DenialRecord {
  readonly spiffeId: string
  readonly reason?: string
  /** Wall clock, ms. */
  readonly at: number
  /** Wall clock, ms; `null`: until it is allowed again. */
  readonly until: number | null
  readonly by: string
}

/** One line of the audit log. */
export interface AuditRecord {
  readonly id: string
  /** Wall clock, ms. */
  readonly at: number
  /**
   * SPIFFE id, `operator:<name>`, `admin` for the first admin token, `anonymous`, or `registry` for
   * what it did by itself.
   */
  readonly who: string
  readonly source: string
  /** Such as `join`, `register`, `policy-apply`, `token-create`. */
  readonly action: string
  readonly outcome: 'done' | 'refused'
  /** The error code of a refusal. */
  readonly reason?: string
  readonly service?: string
  readonly detail?: string
}

export const KEYS = {
  instance: (service: string, id: string) => `inst/${service}/${id}`,
  instances: (service: string) => `inst/${service}/`,
  service: (service: string) => `svc/${service}`,
  loss: (service: string) => `lost/${service}`,
  override: (service: string, address: string) => `override/${service}/${address}`,
  policy: (service: string) => `policy/${service}`,
  version: (service: string, version: number) => `version/${service}/${String(version).padStart(12, '0')}`,
  versions: 'version/',
  /** `id`: kind, namespace and name. */
  manifest: (id: string) => `manifest/${id}`,
  manifestVersion: (id: string, version: number) => `manifest-version/${id}/${String(version).padStart(12, '0')}`,
  manifestVersions: 'manifest-version/',
  /** Of one registry each; they vanish with it. */
  registry: (id: string) => `registry/${id}`,
  silent: (id: string) => `silent/${id}`,
  seen: (id: string) => `seen/${id}`,
  watched: (id: string) => `watched/${id}`,
  demand: (id: string) => `demand/${id}`,
  freeze: (service: string) => `freeze/${service}`,
  token: (hash: string) => `token/${hash}`,
  audit: (id: string) => `audit/${id}`,
  /** What derives the seal key from a passphrase. */
  salt: 'seal/salt',
  /** The former, unsealed values may be in the files still. */
  erasing: 'seal/erasing',
  authority: (id: string) => `ca/${id}`,
  signingKey: (id: string) => `jwt/${id}`,
  rotation: 'rotation/state',
  /** How far the processes of a registry are; it vanishes with the registry. */
  progress: (registry: string) => `trust/${registry}`,
  /** A restore has begun and not ended. */
  restoring: 'restore/pending',
  denial: (spiffeId: string) => `deny/${encodeURIComponent(spiffeId)}`,
  admin: 'admin/token',
  operator: (hash: string) => `operator/${hash}`,
}

/** The kinds of records with private keys. With a seal key they are sealed as a whole. */
export const SECRET_KINDS = ['ca/', 'jwt/'] as const

/**
 * Kinds of records that describe running registries and no state of the mesh. No backup has them.
 */
const KINDS_OF_RUN: ReadonlySet<string> = new Set([
  'registry',
  'silent',
  'seen',
  'watched',
  'demand',
  'freeze',
  'tx',
  'trust',
  'meta',
  'restore',
])

export function isOfRun(key: string): boolean {
  return KINDS_OF_RUN.has(splitKey(key)[0])
}

/** `[kind, service, rest]` of a key. */
export function splitKey(key: string): [string, string, string] {
  const first = key.indexOf('/')
  if (first < 0) return [key, '', '']
  const second = key.indexOf('/', first + 1)
  if (second < 0) return [key.slice(0, first), key.slice(first + 1), '']
  return [key.slice(0, first), key.slice(first + 1, second), key.slice(second + 1)]
}
