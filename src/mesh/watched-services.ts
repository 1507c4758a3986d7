/**
 * The services that this process watches: the last endpoints and policy of each, from whichever
 * source. The policy of a service comes into force before its first endpoints.
 */
import { MESH_DOCUMENT, type PolicyDocument, type ServicePolicy } from '../discovery/policy-document.ts'
import type { PolicySource, ServiceDocument } from '../discovery/policy-source.ts'
import type { Resolver, ServiceEndpoints } from '../discovery/resolver.ts'
import { Policies } from './policies.ts'

/** Both are in force when the call returns. */
export interface WatchedServicesListener {
  /** The policy of `service` may have changed; a change of `mesh` concerns all services. */
  policyChanged(service: string): void
  endpointsChanged(service: string, endpoints: ServiceEndpoints): void
}

interface Sources {
  readonly resolver: Resolver
  readonly policies: PolicySource
}

interface Watched {
  endpoints: ServiceEndpoints | undefined
  document: ServiceDocument | undefined
  stop: (() => void)[]
}

export class WatchedServices {
  readonly #listener: WatchedServicesListener
  readonly #services = new Map<string, Watched>()
  readonly #policies = new Policies((service) => this.documentOf(service))
  #sources: Sources | undefined
  #dev = false

  constructor(listener: WatchedServicesListener) {
    this.#listener = listener
  }

  /** Begins to watch at these sources; services watched before included. */
  use(sources: Sources): void {
    this.#sources = sources
    for (const [service, watched] of this.#services) this.#begin(service, watched, sources)
  }

  /** Whether the defaults are those of development, where every caller is allowed. */
  set dev(dev: boolean) {
    if (dev === this.#dev) return
    this.#dev = dev
    this.#listener.policyChanged(MESH_DOCUMENT)
  }

  watch(service: string): void {
    if (this.#services.has(service)) return
    const watched: Watched = { endpoints: undefined, document: undefined, stop: [] }
    this.#services.set(service, watched)
    if (this.#sources !== undefined) this.#begin(service, watched, this.#sources)
  }

  /** Forgets what is known of `service`. */
  unwatch(service: string): void {
    const watched = this.#services.get(service)
    if (watched === undefined) return
    this.#services.delete(service)
    for (const stop of watched.stop.splice(0)) stop()
    this.#policies.forget(service)
  }

  /** The policy in force: the document of `service` over that of the mesh over the defaults. */
  policyOf(service: string): ServicePolicy {
    return this.#policies.of(service, this.#dev)
  }

  /** The checked document of `service` itself, or `null`. */
  documentOf(service: string): PolicyDocument | null {
    return (this.#services.get(service)?.document?.policy ?? null) as PolicyDocument | null
  }

  /** `undefined` until endpoints and document of `service` are known. */
  endpointsOf(service: string): ServiceEndpoints | undefined {
    const watched = this.#services.get(service)
    return watched?.document === undefined ? undefined : watched.endpoints
  }

  #begin(service: string, watched: Watched, { resolver, policies }: Sources): void {
    watched.stop.push(
      policies.watchDocument(service, (document) => {
        const isFirst = watched.document === undefined
        watched.document = document
        this.#listener.policyChanged(service)
        const { endpoints } = watched
        if (isFirst && endpoints !== undefined) this.#listener.endpointsChanged(service, endpoints)
      }),
      resolver.watchEndpoints(service, (endpoints) => {
        watched.endpoints = endpoints
        if (watched.document !== undefined) this.#listener.endpointsChanged(service, endpoints)
      }),
    )
  }
}
