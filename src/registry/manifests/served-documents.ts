/**
 * The documents that watchers get: a service's document with the routes of its manifests. A rule
 * depends on which services exist, so a document may change without a change of the service.
 */
import { withManifests } from '../../gateway-api/attach.ts'
import { splitKey } from '../records.ts'
import type { ServiceEntry } from '../service-entry.ts'
import type { Batch } from '../storage/storage.ts'
import type { ServiceChange } from '../watch/service-change.ts'
import type { ManifestRecords } from './manifest-records.ts'

type Document = Readonly<Record<string, unknown>>

const NO_CHANGES: never[] = []

export class ServedDocuments {
  readonly #manifests: ManifestRecords
  readonly #services: ReadonlyMap<string, ServiceEntry>
  readonly #made = new Map<string, { readonly own: Document | null; readonly document: Document | null }>()
  /** By backend, whether it existed when documents were made last. */
  #existed = new Map<string, boolean>()

  constructor(manifests: ManifestRecords, services: ReadonlyMap<string, ServiceEntry>) {
    this.#manifests = manifests
    this.#services = services
  }

  /** The registry knows a service by its instances, its document or its past. */
  exists(service: string): boolean {
    return this.#services.get(service)?.known === true
  }

  documentOf(service: string): Document | null {
    const own = this.#services.get(service)?.policy?.document ?? null
    const manifests = this.#manifests.of(service)
    if (manifests.length === 0) return own
    const before = this.#made.get(service)
    if (before !== undefined && before.own === own) return before.document
    const document = withManifests(service, own, manifests, (name) => this.exists(name))
    this.#made.set(service, { own, document })
    return document
  }

  /** The services whose documents the batch may have changed, but not by their documents alone. */
  affectedBy(changes: Batch['changes']): Set<string> {
    const affected = this.#manifests.takeTouched()
    if (affected.size === 0 && this.#manifests.entries.size === 0) return affected
    const changed = new Set<string>()
    for (const { key } of changes) {
      const [kind, name] = splitKey(key)
      changed.add(name)
      if (kind === 'policy' && this.#manifests.of(name).length > 0) affected.add(name)
    }
    if (affected.size > 0) this.#lookAt(this.#manifests.backends)
    for (const name of changed) {
      const dependents = this.#manifests.dependentsOf(name)
      if (dependents.size === 0 || this.#existed.get(name) === this.exists(name)) continue
      this.#existed.set(name, this.exists(name))
      for (const service of dependents) affected.add(service)
    }
    for (const service of affected) this.#made.delete(service)
    return affected
  }

  /** Their documents are made anew, and judge these. */
  #lookAt(backends: Iterable<string>): void {
    const existed = this.#existed
    this.#existed = new Map([...backends].map((name) => [name, existed.get(name) ?? this.exists(name)]))
  }

  /** The changes as watchers get them. */
  served(changes: Iterable<ServiceChange>, affected: Set<string>, revision: number): readonly ServiceChange[] {
    if (affected.size === 0) return [...changes]
    const rest = new Set(affected)
    const served = [...changes].map((change) =>
      rest.delete(change.service) ? { ...change, policy: this.documentOf(change.service) } : change,
    )
    for (const service of rest) {
      served.push({ service, revision, put: NO_CHANGES, gone: NO_CHANGES, policy: this.documentOf(service) })
    }
    return served
  }
}
