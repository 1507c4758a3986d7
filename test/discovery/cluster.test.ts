import { describe, expect, it } from 'vitest'
import type { Balancer, Endpoint } from '../../src/core/endpoint.ts'
import { ServiceCluster } from '../../src/discovery/cluster.ts'
import type { Instance } from '../../src/discovery/wire.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'

const first: Balancer = { name: 'first', picker: (endpoints) => ({ pick: () => endpoints[0] }) }

function instance(id: string, change: Partial<Instance> = {}): Instance {
  return {
    service: 'inventory',
    id,
    address: '127.0.0.1',
    port: 8080,
    protocol: 'http',
    tls: true,
    zone: undefined,
    version: undefined,
    weight: 100,
    metadata: {},
    state: 'ready',
    ...change,
  }
}

function setUp(): { clock: FakeClock; cluster: ServiceCluster; ids: () => string[] } {
  const clock = new FakeClock()
  const cluster = new ServiceCluster('inventory', () => first, clock)
  return { clock, cluster, ids: () => cluster.endpoints.map((endpoint) => endpoint.id).sort() }
}

describe('a cluster', () => {
  it('keeps the endpoint objects that survive a change, with all that is known of them', () => {
    const { cluster } = setUp()
    cluster.apply([instance('a'), instance('b')], false)
    const a = cluster.endpoints.find((endpoint) => endpoint.id === 'a') as Endpoint
    a.estimateMs = 12
    cluster.apply([instance('a', { weight: 10 }), instance('c')], false)
    expect(cluster.endpoints.find((endpoint) => endpoint.id === 'a')).toBe(a)
    expect(a.weight).toBe(10)
  })

  it('makes another endpoint of an instance that has moved, and withdraws the old one', () => {
    const { cluster } = setUp()
    cluster.apply([instance('a')], false)
    const old = cluster.endpoints[0] as Endpoint
    let closed = 0
    old.transport = { close: () => void closed++ }
    cluster.apply([instance('a', { port: 9090 })], false)
    expect(cluster.endpoints.map((endpoint) => endpoint.port)).toEqual([9090])
    expect(old.withdrawn).toBe(true)
    expect(closed).toBe(1)
  })

  it('removes a single endpoint that has vanished, at once', () => {
    const { cluster, ids } = setUp()
    cluster.apply([instance('a'), instance('b'), instance('c')], false)
    cluster.apply([instance('a'), instance('b')], false)
    expect(ids()).toEqual(['a', 'b'])
  })

  it('does not believe an empty answer: what still works goes on being called', () => {
    const { clock, cluster, ids } = setUp()
    cluster.apply([instance('a'), instance('b')], false)
    cluster.apply([], false)
    expect(ids()).toEqual(['a', 'b'])
    clock.advance(31_000)
    expect(ids()).toEqual(['a', 'b'])
    cluster.endpoints.find((endpoint) => endpoint.id === 'a')!.state = 'ejected'
    clock.advance(31_000)
    expect(ids()).toEqual(['b'])
  })

  it('believes an empty answer that is meant', () => {
    const { cluster, ids } = setUp()
    cluster.apply([instance('a'), instance('b')], false)
    cluster.apply([], true)
    expect(ids()).toEqual([])
  })

  it('keeps a vanished majority for 30 s, then lets it go for those that are listed', () => {
    const { clock, cluster, ids } = setUp()
    cluster.apply([instance('a'), instance('b'), instance('c')], false)
    cluster.apply([instance('a')], false)
    expect(ids()).toEqual(['a', 'b', 'c'])
    expect(cluster.inLimbo).toBe(2)
    clock.advance(30_001)
    expect(ids()).toEqual(['a'])
    expect(clock.timers).toBe(0)
  })

  it('takes a vanished endpoint back that is listed again', () => {
    const { clock, cluster, ids } = setUp()
    cluster.apply([instance('a'), instance('b'), instance('c')], false)
    cluster.apply([instance('a')], false)
    cluster.apply([instance('a'), instance('b')], false)
    clock.advance(30_001)
    expect(ids()).toEqual(['a', 'b'])
  })

  it('calls draining endpoints only when no other is left', () => {
    const { cluster, ids } = setUp()
    cluster.apply([instance('a', { state: 'draining' }), instance('b')], false)
    expect(ids()).toEqual(['b'])
    cluster.apply([instance('a', { state: 'draining' })], true)
    expect(ids()).toEqual(['a'])
  })

  it('lets what is found after the start warm up, and nothing else', () => {
    const { clock, cluster } = setUp()
    clock.advance(1_000)
    cluster.slowStartMs = 10_000
    const warmAt = (): Record<string, number> =>
      Object.fromEntries(cluster.endpoints.map((each) => [each.id, each.warmAt]))
    cluster.apply([instance('a'), instance('b')], false)
    expect(warmAt()).toEqual({ a: 0, b: 0 })
    clock.advance(1_000)
    cluster.apply([instance('a'), instance('c')], true)
    cluster.apply([instance('a'), instance('c'), instance('b')], true)
    expect(warmAt()).toEqual({ a: 0, b: 12_000, c: 12_000 })
    cluster.slowStartMs = 3_000
    cluster.rebalance()
    expect(warmAt()).toEqual({ a: 0, b: 5_000, c: 5_000 })
  })

  it('wakes waiting calls when the first endpoint comes, and at their bound when none does', () => {
    const { clock, cluster } = setUp()
    const heard: string[] = []
    cluster.whenAvailable(3_000, (available) => heard.push(`early ${available}`))
    cluster.whenAvailable(100, (available) => heard.push(`bounded ${available}`))
    const leave = cluster.whenAvailable(3_000, () => heard.push('left'))
    leave()
    clock.advance(100)
    cluster.apply([instance('a')], false)
    expect(heard).toEqual(['bounded false', 'early true'])
    expect(clock.timers).toBe(0)
  })

  it('tells those who wait when it is closed, and leaves no timer behind', () => {
    const { clock, cluster } = setUp()
    const heard: boolean[] = []
    cluster.whenAvailable(3_000, (available) => heard.push(available))
    cluster.close(0)
    expect(heard).toEqual([false])
    expect(clock.timers).toBe(0)
  })
})
