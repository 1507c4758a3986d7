/**
 * The policy in force for each service: its document over the mesh's over the defaults. Resolved
 * once per pair of documents, because endpoints change far more often; the same documents give the
 * same object, which tells that nothing is new.
 */
import { MESH_DOCUMENT, type PolicyDocument, resolvePolicy, type ServicePolicy } from '../discovery/policy-document.ts'

interface Resolved {
  readonly mesh: PolicyDocument | null
  readonly own: PolicyDocument | null
  readonly dev: boolean
  readonly policy: ServicePolicy
}

export class Policies {
  readonly #documentOf: (service: string) => unknown
  readonly #resolved = new Map<string, Resolved>()

  /**
   * `documentOf`: the checked document of a service or `null`; another object when it has changed.
   */
  constructor(documentOf: (service: string) => unknown) {
    this.#documentOf = documentOf
  }

  /** `dev`: whether the registry runs with `--dev`. */
  of(service: string, dev: boolean): ServicePolicy {
    const mesh = this.#documentOf(MESH_DOCUMENT) as PolicyDocument | null
    const own = this.#documentOf(service) as PolicyDocument | null
    const known = this.#resolved.get(service)
    if (known !== undefined && known.mesh === mesh && known.own === own && known.dev === dev) return known.policy
    const policy = resolvePolicy(mesh, own, { dev })
    this.#resolved.set(service, { mesh, own, dev, policy })
    return policy
  }

  forget(service: string): void {
    this.#resolved.delete(service)
  }
}
