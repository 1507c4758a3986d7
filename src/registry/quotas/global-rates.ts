/** The global rates of services, by the documents in force. */
import { MESH_DOCUMENT, type PolicyDocument, resolvePolicy } from '../../discovery/policy-document.ts'
import { readPolicyDocument } from '../../discovery/policy-reader.ts'
import type { GlobalRateSettings } from '../../resilience/limits/global-rate-settings.ts'
import type { PolicyRecord } from '../records.ts'
import type { RegistryState } from '../state.ts'

interface Resolved {
  readonly mesh: PolicyRecord | null
  readonly own: PolicyRecord | null
  readonly global: GlobalRateSettings | undefined
}

export class GlobalRates {
  readonly #state: RegistryState
  readonly #resolved = new Map<string, Resolved>()

  constructor(state: RegistryState) {
    this.#state = state
  }

  /** `undefined`: there is no limit, or its document cannot be read. */
  of(service: string): GlobalRateSettings | undefined {
    const mesh = this.#state.service(MESH_DOCUMENT)?.policy ?? null
    const own = this.#state.service(service)?.policy ?? null
    let known = this.#resolved.get(service)
    if (known === undefined || known.mesh !== mesh || known.own !== own) {
      const { limits } = resolvePolicy(read(mesh), read(own)).settings
      known = { mesh, own, global: limits.global }
      this.#resolved.set(service, known)
    }
    return known.global
  }
}

/** As the processes read it. */
function read(record: PolicyRecord | null): PolicyDocument | null {
  if (!record?.document) return null
  return (readPolicyDocument(record.document)?.policy ?? null) as PolicyDocument | null
}
