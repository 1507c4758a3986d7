/**
 * Resolves the policy of each service once per pair of documents: its own over the mesh's over the
 * defaults. The same documents yield the same object, so identity shows that nothing has changed.
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

  /** `documentOf`: the checked document of a service, or `null`; a new object after a change. */
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
