/**
 * Policy documents: checked, stored with their history, applied all or none.
 */
import type { Clock } from '../core/clock.ts'
import type { ManifestKey } from '../gateway-api/manifest.ts'
import type { Attachment } from '../gateway-api/references.ts'
import type { Warning } from '../routing/instance-warnings.ts'
import type { Reweighed, WeightChange } from '../routing/reweigh.ts'
import type { Audit } from './access/audit.ts'
import { ApiError } from './api/error.ts'
import type { Precondition } from './api/precondition.ts'
import { noneSince, slotOf, writesOf } from './document-slots.ts'
import { attachedBy, refuseMerged } from './manifests/manifest-checks.ts'
import { describeId, isManifestId } from './manifests/manifest-records.ts'
import { comparePolicy, type PolicyChange, type StoredPolicy } from './policy-change.ts'
import { refuseAcross, warningsOf } from './policy-checks.ts'
import { readDocuments } from './read-documents.ts'
import type { PolicyRecord } from './records.ts'
import type { RegistryState } from './state.ts'
import type { Operation } from './storage/storage.ts'

/** Changes by other registries in between, in a row. */
const MOST_CONFLICTS = 20
/** Of the audit log, in characters. */
const LONGEST_DETAIL = 1_000

/** One service's document in force. */
export interface PolicyInfo {
  readonly service: string
  readonly version: number
  /** Wall clock, ms. */
  readonly at: number
  readonly by: string
  readonly document: StoredPolicy
}

/** A Gateway API manifest in force. */
export interface ManifestInfo extends ManifestKey {
  /** The services that it is attached to; empty: it is for Gateways. */
  readonly attachments: readonly Attachment[]
  readonly version: number
  /** Wall clock, ms: of the first of this key, and of the last change. */
  readonly createdAt: number
  readonly at: number
  readonly by: string
  readonly manifest: StoredPolicy
}

/** By service, or by the id of a manifest. */
type Documents = ReadonlyMap<string, StoredPolicy | null>

interface WriteOptions {
  readonly dryRun?: boolean
  readonly condition?: ReadonlyMap<string, Precondition>
}

export class Policies {
  readonly #state: RegistryState
  readonly #audit: Audit
  readonly #clock: Clock
  #last: Promise<unknown> = Promise.resolve()

  constructor(state: RegistryState, audit: Audit, clock: Clock) {
    this.#state = state
    this.#audit = audit
    this.#clock = clock
  }

  list(): PolicyInfo[] {
    return [...this.#state.services.keys()].sort().flatMap((service) => {
      const found = this.#find(service)
      return found === undefined ? [] : [found]
    })
  }

  get(service: string): PolicyInfo {
    const found = this.#find(service)
    if (found === undefined) throw new ApiError('not-found', `service '${service}' has no policy`)
    return found
  }

  /** In the order of their keys. */
  listManifests(): ManifestInfo[] {
    return [...this.#state.manifests.entries.keys()].sort().flatMap((id) => {
      const found = this.#findManifest(id)
      return found === undefined ? [] : [found]
    })
  }

  getManifest(id: string): ManifestInfo {
    const found = this.#findManifest(id)
    if (found === undefined) throw new ApiError('not-found', `there is no ${describeId(id)}`)
    return found
  }

  /** Newest first. `document: null` is a deletion. `id`: a service, or a manifest's. */
  history(id: string): readonly PolicyRecord[] {
    const { versions } = slotOf(this.#state, id)
    if (versions.length > 0) return [...versions].reverse()
    const never = isManifestId(id) ? `there never was a ${describeId(id)}` : `service '${id}' has never had a policy`
    throw new ApiError('not-found', never)
  }

  /**
   * Applies all documents or none. `dryRun` only tells what would change. `condition`: by service,
   * of the version in force. Throws `invalid-policy` with every mistake, its path beginning with
   * the document's index.
   */
  async apply(
    documents: readonly unknown[],
    who: { by: string; source: string },
    options: WriteOptions = {},
  ): Promise<PolicyChange[]> {
    const checked = readDocuments(documents)
    return await this.#inTurn(() => this.#write(checked, 'policy-apply', who, options))
  }

  /** `id`: a service, or a manifest's. */
  async remove(id: string, who: { by: string; source: string }, condition?: Precondition): Promise<PolicyChange> {
    return await this.#inTurn(async () => {
      if (isManifestId(id)) this.getManifest(id)
      else this.get(id)
      const [change] = await this.#write(new Map([[id, null]]), 'policy-delete', who, only(id, condition))
      return change!
    })
  }

  /** Makes a new version that is like `version`. */
  async rollback(
    id: string,
    version: number,
    who: { by: string; source: string },
    condition?: Precondition,
  ): Promise<PolicyChange> {
    return await this.#inTurn(async () => {
      const found = this.history(id).find((one) => one.version === version)
      if (found === undefined) {
        const kept = this.history(id).map((one) => one.version)
        throw new ApiError('not-found', `version ${version} of '${id}' is not kept; there are ${kept.join(', ')}`)
      }
      const documents = new Map([[id, found.document]])
      const [change] = await this.#write(documents, 'policy-rollback', who, only(id, condition))
      return change!
    })
  }

  /**
   * Changes the weights of splits: `reweigh` gets the document in force, again if another registry
   * changed policies in between. So no change made at the same time is lost.
   */
  async reweigh(
    service: string,
    action: 'policy-split' | 'policy-switch',
    reweigh: (document: StoredPolicy) => Reweighed<StoredPolicy>,
    who: { by: string; source: string },
    options: WriteOptions = {},
  ): Promise<PolicyChange & { readonly routes: readonly WeightChange[] }> {
    return await this.#inTurn(async () => {
      let routes: readonly WeightChange[] = []
      const documents = (): Documents => {
        const reweighed = reweigh(this.#find(service)?.document ?? this.#onlyManifests(service))
        routes = reweighed.routes
        return readDocuments([reweighed.document])
      }
      const [change] = await this.#write(documents, action, who, { ...options, detail: () => describeWeights(routes) })
      return { ...change!, routes }
    })
  }

  /** What the changes leave in force and sends to no instance now, by the index of the change. */
  warnings(changes: readonly PolicyChange[]): readonly Warning[] {
    return warningsOf(this.#state, new Map(changes.map(({ service, after }) => [service, after])))
  }

  /** A service that has manifests and no document has no weights here. */
  #onlyManifests(service: string): StoredPolicy {
    if (this.#state.manifests.of(service).length === 0) return this.get(service).document
    return { service }
  }

  #find(service: string): PolicyInfo | undefined {
    const policy = this.#state.service(service)?.policy
    if (!policy?.document) return undefined
    const { version, at, by, document } = policy
    return { service, version, at, by, document }
  }

  #findManifest(id: string): ManifestInfo | undefined {
    const entry = this.#state.manifests.entries.get(id)
    if (!entry?.record?.document) return undefined
    const { version, createdAt, at, by, document } = entry.record
    const attachments = entry.route?.attachments ?? []
    return { ...entry.key, attachments, version, createdAt, at, by, manifest: document }
  }

  /** One change after another, so that each is judged by what the last one left. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work)
    this.#last = result.catch(() => undefined)
    return result
  }

  /** After a change by another registry all is judged anew. */
  async #write(
    documents: Documents | (() => Documents),
    action: string,
    who: { by: string; source: string },
    options: WriteOptions & { readonly detail?: () => string },
  ): Promise<PolicyChange[]> {
    for (let i = 0; i < MOST_CONFLICTS; i++) {
      const given = typeof documents === 'function' ? documents() : documents
      const changes = await this.#tryWrite(given, action, who, options)
      if (changes !== undefined) return changes
    }
    throw new ApiError('overloaded', 'other registries change policies too often; try again')
  }

  /** `undefined`: another registry changed policies in between. */
  async #tryWrite(
    documents: Documents,
    action: string,
    { by, source }: { by: string; source: string },
    options: WriteOptions & { readonly detail?: () => string },
  ): Promise<PolicyChange[] | undefined> {
    const changes: PolicyChange[] = []
    const operations: Operation[] = []
    const at = this.#clock.wallNow()
    for (const [id, document] of documents) {
      const slot = slotOf(this.#state, id)
      const { current, what } = slot
      const version = current?.document ? current.version : undefined
      if (options.condition?.get(id)?.(version) === false) {
        const is = version === undefined ? 'does not exist' : `is at version ${version}`
        throw new ApiError(
          'conflict',
          `${what} ${is}, which is not what you expected; read it again and repeat the change`,
        )
      }
      const change = comparePolicy(id, current, document)
      changes.push(isManifestId(id) ? { ...change, attached: attachedBy(change) } : change)
      if (change.change !== 'unchanged')
        operations.push(...writesOf(id, slot, { document, version: change.version }, { at, by }))
    }
    refuseAcross(this.#state, documents)
    refuseMerged(this.#state, documents)
    if (options.dryRun === true || operations.length === 0) return changes
    const changed = changes.filter((change) => change.change !== 'unchanged').map((change) => change.service)
    const detail = options.detail?.() ?? `${changed.length} changed: ${changed.join(', ')}`
    const [first] = changed
    const entry = { who: by, source, action, outcome: 'done', detail } as const
    const about = changed.length === 1 && !isManifestId(first!) ? { ...entry, service: first! } : entry
    operations.push(...this.#audit.operations(about))
    const { ok } = await this.#state.write(operations, noneSince(this.#state))
    return ok ? changes : undefined
  }
}

function only(id: string, condition: Precondition | undefined): WriteOptions {
  return condition === undefined ? {} : { condition: new Map([[id, condition]]) }
}

/** `item-pages: blue 90 -> 75, green 10 -> 25`. */
function describeWeights(routes: readonly WeightChange[]): string {
  return routes
    .map(({ route, before, after }) => {
      const targets = Object.keys(after).map((name) => `${name} ${before[name]} -> ${after[name]}`)
      return `${route}: ${targets.join(', ')}`
    })
    .join('; ')
    .slice(0, LONGEST_DETAIL)
}
