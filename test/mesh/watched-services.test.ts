import { describe, expect, it } from 'vitest'
import { MESH_DOCUMENT } from '../../src/discovery/policy-document.ts'
import type { PolicySource, ServiceDocument } from '../../src/discovery/policy-source.ts'
import { NONE_LEFT, type Resolver, type ServiceEndpoints } from '../../src/discovery/resolver.ts'
import { WatchedServices } from '../../src/mesh/watched-services.ts'

const endpoints = (): ServiceEndpoints => ({
  instances: [],
  intended: true,
  left: NONE_LEFT,
  frozen: false,
  stale: false,
})

/** A resolver and a policy source that push what the test says. */
class Sources implements Resolver, PolicySource {
  readonly endpoints = new Map<string, (endpoints: ServiceEndpoints) => void>()
  readonly documents = new Map<string, (document: ServiceDocument) => void>()

  watchEndpoints(service: string, listener: (endpoints: ServiceEndpoints) => void): () => void {
    this.endpoints.set(service, listener)
    return () => this.endpoints.delete(service)
  }

  watchDocument(service: string, listener: (document: ServiceDocument) => void): () => void {
    this.documents.set(service, listener)
    return () => this.documents.delete(service)
  }
}

function setUp() {
  const changes: string[] = []
  const services = new WatchedServices({
    policyChanged: (service) => changes.push(`policy of ${service}`),
    endpointsChanged: (service) => changes.push(`endpoints of ${service}`),
  })
  const sources = new Sources()
  return { changes, services, sources }
}

describe('the watched services', () => {
  it('begin at the sources that come later', () => {
    const { services, sources } = setUp()
    services.watch('stock')
    services.use({ resolver: sources, policies: sources })
    services.watch('prices')
    expect([...sources.endpoints.keys()]).toEqual(['stock', 'prices'])
    expect([...sources.documents.keys()]).toEqual(['stock', 'prices'])
  })

  it('put the policy of a service in force before its first endpoints, whichever source is faster', () => {
    const { changes, services, sources } = setUp()
    services.use({ resolver: sources, policies: sources })
    services.watch('stock')
    sources.endpoints.get('stock')!(endpoints())
    expect(changes).toEqual([])
    expect(services.endpointsOf('stock')).toBeUndefined()
    sources.documents.get('stock')!({ policy: { service: 'stock', timeout: '1s' } })
    expect(changes).toEqual(['policy of stock', 'endpoints of stock'])
    expect(services.policyOf('stock').settings.timeoutMs).toBe(1_000)
    const next = endpoints()
    sources.endpoints.get('stock')!(next)
    expect(changes).toHaveLength(3)
    expect(services.endpointsOf('stock')).toBe(next)
  })

  it('keep the resolved policy while endpoints change', () => {
    const { services, sources } = setUp()
    services.use({ resolver: sources, policies: sources })
    services.watch('stock')
    sources.documents.get('stock')!({ policy: null })
    const before = services.policyOf('stock')
    sources.endpoints.get('stock')!(endpoints())
    expect(services.policyOf('stock')).toBe(before)
  })

  it('forget a service and stop both of its sources', () => {
    const { services, sources } = setUp()
    services.use({ resolver: sources, policies: sources })
    services.watch('stock')
    sources.documents.get('stock')!({ policy: { service: 'stock', timeout: '1s' } })
    services.unwatch('stock')
    expect(sources.endpoints.size + sources.documents.size).toBe(0)
    expect(services.policyOf('stock').settings.timeoutMs).not.toBe(1_000)
  })

  it('report that the defaults of all have changed, once', () => {
    const { changes, services } = setUp()
    services.dev = true
    services.dev = true
    expect(changes).toEqual([`policy of ${MESH_DOCUMENT}`])
    expect(services.policyOf('stock').defaultIntention).toBe('allow')
  })
})
