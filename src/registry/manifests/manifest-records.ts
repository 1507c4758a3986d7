/** The Gateway API manifests that the store holds, and the services that they are attached to. */
import { backendsOf } from '../../gateway-api/backends.ts'
import { type ManifestKey, showKey } from '../../gateway-api/manifest.ts'
import { type GatewayRoute, readManifest } from '../../gateway-api/read-manifest.ts'
import type { AttachedRoute } from '../../gateway-api/service-routes.ts'
import type { ManifestRecord } from '../records.ts'

/** One object: what is in force, and what was. */
export interface ManifestEntry {
  readonly key: ManifestKey
  /** `null`: only its history is left. */
  readonly record: ManifestRecord | null
  /** Oldest first. */
  readonly versions: readonly ManifestRecord[]
  /** Absent: deleted, or written by a newer registry in words that this one cannot read. */
  readonly route: GatewayRoute | undefined
}

/** `HTTPRoute/shop/items`; the name of a service has no `/`. */
export function manifestId({ kind, namespace, name }: ManifestKey): string {
  return `${kind}/${namespace}/${name}`
}

export function isManifestId(id: string): boolean {
  return id.includes('/')
}

/** `HTTPRoute shop/items`. */
export function describeId(id: string): string {
  return showKey(keyOfId(id))
}

function keyOfId(id: string): ManifestKey {
  const [kind, namespace, name] = id.split('/') as [ManifestKey['kind'], string, string]
  return { kind, namespace, name }
}

const NONE: readonly AttachedRoute[] = Object.freeze([])

export class ManifestRecords {
  readonly #entries = new Map<string, ManifestEntry>()
  readonly #attached = new Map<string, readonly AttachedRoute[]>()
  /** By service that some rule sends to: the services whose routes do. */
  #dependents: ReadonlyMap<string, ReadonlySet<string>> | undefined
  #touched = new Set<string>()

  /** By {@link manifestId}, those that were deleted included. */
  get entries(): ReadonlyMap<string, ManifestEntry> {
    return this.#entries
  }

  /** The services that manifests are attached to. */
  get services(): Iterable<string> {
    return this.#attached.keys()
  }

  of(service: string): readonly AttachedRoute[] {
    return this.#attached.get(service) ?? NONE
  }

  dependentsOf(backend: string): ReadonlySet<string> {
    this.#dependents ??= dependents(this.#entries.values())
    return this.#dependents.get(backend) ?? NO_SERVICES
  }

  /** The services that a rule sends to. */
  get backends(): Iterable<string> {
    this.#dependents ??= dependents(this.#entries.values())
    return this.#dependents.keys()
  }

  /** The services whose manifests changed since the last question. */
  takeTouched(): Set<string> {
    const touched = this.#touched
    this.#touched = new Set()
    return touched
  }

  /** Returns whether the record is one of manifests. */
  set(kind: string, name: string, rest: string, record: unknown): boolean {
    if (kind === 'manifest') this.#setCurrent(`${name}/${rest}`, record as ManifestRecord | undefined)
    else if (kind === 'manifest-version') this.#setVersion(`${name}/${rest}`, record as ManifestRecord | undefined)
    else return false
    return true
  }

  #setCurrent(id: string, record: ManifestRecord | undefined): void {
    const before = this.#entries.get(id)
    const route = record?.document ? readManifest(record.document).route : undefined
    this.#put({ key: keyOfId(id), record: record ?? null, versions: before?.versions ?? [], route }, id)
    for (const { service } of [...(before?.route?.attachments ?? []), ...(route?.attachments ?? [])]) {
      this.#touched.add(service)
      this.#attach(service)
    }
    this.#dependents = undefined
  }

  #setVersion(key: string, record: ManifestRecord | undefined): void {
    const end = key.lastIndexOf('/')
    const [id, version] = [key.slice(0, end), Number(key.slice(end + 1))]
    const entry = this.#entries.get(id) ?? { key: keyOfId(id), record: null, versions: [], route: undefined }
    const others = entry.versions.filter((one) => one.version !== version)
    this.#put({ ...entry, versions: record === undefined ? others : [...others, record] }, id)
  }

  #put(entry: ManifestEntry, id: string): void {
    if (entry.record === null && entry.versions.length === 0) this.#entries.delete(id)
    else this.#entries.set(id, entry)
  }

  #attach(service: string): void {
    const attached = [...this.#entries.values()].flatMap(({ route, record }) =>
      route?.attachments.some((one) => one.service === service) === true
        ? [{ route, createdAt: record!.createdAt }]
        : [],
    )
    if (attached.length === 0) this.#attached.delete(service)
    else this.#attached.set(service, attached)
  }
}

const NO_SERVICES: ReadonlySet<string> = new Set()

function dependents(entries: Iterable<ManifestEntry>): ReadonlyMap<string, ReadonlySet<string>> {
  const found = new Map<string, Set<string>>()
  for (const { route } of entries) {
    if (route === undefined) continue
    for (const backend of backendsOf(route)) {
      const services = found.get(backend) ?? new Set()
      found.set(backend, services)
      for (const { service } of route.attachments) services.add(service)
    }
  }
  return found
}
