/**
 * Policy documents: checked, stored with their history, applied all or none.
 */
import type { Clock } from '../core/clock.ts'
import { checkPolicyDocument } from '../discovery/check-document.ts'
import { LIMITS } from '../discovery/limits.ts'
import { type Issue, show } from '../options/fields.ts'
import { SERVICE_NAME } from '../options/names.ts'
import type { Warning } from '../routing/instance-warnings.ts'
import type { Reweighed, WeightChange } from '../routing/reweigh.ts'
import type { Audit } from './access/audit.ts'
import { ApiError, invalid } from './api/error.ts'
import type { Precondition } from './api/precondition.ts'
import { comparePolicy, type PolicyChange, type StoredPolicy } from './policy-change.ts'
import { refuseAcross, warningsOf } from './policy-checks.ts'
import { KEYS, type PolicyRecord } from './records.ts'
import { type RegistryState, VERSIONS_KEPT } from './state.ts'
import type { Operation } from './storage/storage.ts'

/** So that one apply stays one transaction. */
export const MOST_DOCUMENTS = 300
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
    if (found === undefined) throw new ApiError('not-found', `service ${show(service)} has no policy`)
    return found
  }

  /** Newest first. `document: null` is a deletion. */
  history(service: string): readonly PolicyRecord[] {
    const versions = this.#state.service(service)?.versions ?? []
    if (versions.length === 0) throw new ApiError('not-found', `service ${show(service)} has never had a policy`)
    return [...versions].reverse()
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
    const checked = checkAll(documents)
    return await this.#inTurn(() => this.#write(checked, 'policy-apply', who, options))
  }

  async remove(service: string, who: { by: string; source: string }, condition?: Precondition): Promise<PolicyChange> {
    return await this.#inTurn(async () => {
      this.get(service)
      const [change] = await this.#write(new Map([[service, null]]), 'policy-delete', who, only(service, condition))
      return change!
    })
  }

  /** Makes a new version that is like `version`. */
  async rollback(
    service: string,
    version: number,
    who: { by: string; source: string },
    condition?: Precondition,
  ): Promise<PolicyChange> {
    return await this.#inTurn(async () => {
      const found = this.history(service).find((one) => one.version === version)
      if (found === undefined) {
        const kept = this.history(service).map((one) => one.version)
        throw new ApiError('not-found', `version ${version} of '${service}' is not kept; there are ${kept.join(', ')}`)
      }
      const documents = new Map([[service, found.document]])
      const [change] = await this.#write(documents, 'policy-rollback', who, only(service, condition))
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
        const reweighed = reweigh(this.get(service).document)
        routes = reweighed.routes
        return checkAll([reweighed.document])
      }
      const [change] = await this.#write(documents, action, who, { ...options, detail: () => describeWeights(routes) })
      return { ...change!, routes }
    })
  }

  /** What the changes leave in force and sends to no instance now, by the index of the change. */
  warnings(changes: readonly PolicyChange[]): readonly Warning[] {
    return warningsOf(this.#state, new Map(changes.map(({ service, after }) => [service, after])))
  }

  #find(service: string): PolicyInfo | undefined {
    const policy = this.#state.service(service)?.policy
    if (!policy?.document) return undefined
    const { version, at, by, document } = policy
    return { service, version, at, by, document }
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
    for (const [service, document] of documents) {
      const state = this.#state.service(service)
      const current = state?.policy ?? null
      const version = current?.document ? current.version : undefined
      if (options.condition?.get(service)?.(version) === false) {
        const is = version === undefined ? 'does not exist' : `is at version ${version}`
        throw new ApiError(
          'conflict',
          `the policy of '${service}' ${is}, which is not what you expected; read it again and repeat the change`,
        )
      }
      const change = comparePolicy(service, current, document)
      changes.push(change)
      if (change.change === 'unchanged') continue
      const record: PolicyRecord = { document, version: change.version, at: this.#clock.wallNow(), by }
      const value = JSON.stringify(record)
      operations.push({ key: KEYS.policy(service), value }, { key: KEYS.version(service, change.version), value })
      const versions = state?.versions ?? []
      if (versions.length >= VERSIONS_KEPT) {
        operations.push({ key: KEYS.version(service, versions[0]!.version), value: undefined })
      }
    }
    refuseAcross(this.#state, documents)
    if (options.dryRun === true || operations.length === 0) return changes
    const changed = changes.filter((change) => change.change !== 'unchanged').map((change) => change.service)
    const detail = options.detail?.() ?? `${changed.length} changed: ${changed.join(', ')}`
    const [first] = changed
    const entry = { who: by, source, action, outcome: 'done', detail } as const
    operations.push(...this.#audit.operations(changed.length === 1 ? { ...entry, service: first! } : entry))
    const noneSince = { prefix: KEYS.versions, unchangedSince: this.#state.revision }
    const { ok } = await this.#state.write(operations, [noneSince])
    return ok ? changes : undefined
  }
}

function only(service: string, condition: Precondition | undefined): WriteOptions {
  return condition === undefined ? {} : { condition: new Map([[service, condition]]) }
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

function checkAll(documents: readonly unknown[]): Map<string, StoredPolicy> {
  const issues: Issue[] = []
  const checked = new Map<string, StoredPolicy>()
  if (documents.length === 0 || documents.length > MOST_DOCUMENTS) {
    throw invalid('policies', [
      { path: [], message: `expected 1 to ${MOST_DOCUMENTS} documents, got ${documents.length}` },
    ])
  }
  for (const [i, document] of documents.entries()) {
    const found = checkPolicyDocument(document).map((issue) => ({ ...issue, path: [i, ...issue.path] }))
    issues.push(...found)
    if (found.length > 0) continue
    const { service } = document as { service: string }
    if (!SERVICE_NAME.test(service)) issues.push({ path: [i, 'service'], message: 'expected a service name' })
    if (checked.has(service)) issues.push({ path: [i, 'service'], message: `'${service}' has two documents` })
    if (Buffer.byteLength(JSON.stringify(document)) > LIMITS.documentBytes) {
      issues.push({ path: [i], message: `longer than ${LIMITS.documentBytes} bytes` })
    }
    checked.set(service, document as StoredPolicy)
  }
  if (issues.length > 0) throw invalid('policies', issues, 'invalid-policy')
  return checked
}
