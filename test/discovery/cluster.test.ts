import { describe, expect, it } from 'vitest'
import type { Balancer, Endpoint } from '../../src/core/endpoint.ts'
import { ServiceCluster } from '../../src/discovery/cluster.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import { instance } from '../support/instance.ts'

const first: Balancer = { name: 'first', picker: (endpoints) => ({ pick: () => endpoints[0] }) }

function setUp(): { clock: FakeClock; cluster: ServiceCluster; ids: () => string[] } {
  const clock = new FakeClock()
  const cluster = new ServiceCluster('inventory', () => first, clock)
  return { clock, cluster, ids: () => cluster.endpoints.map((endpoint) => endpoint.id).sort() }
}

describe('a cluster', () => {
  it('keeps the endpoint objects that survive a change, with all that is known of them', () => {
    const { cluster } = setUp()
    cluster.apply([instance('inventory', 'a'), instance('inventory', 'b')], false)
    const a = cluster.endpoints.find((endpoint) => endpoint.id === 'a') as Endpoint
    a.estimateMs = 12
    cluster.apply([instance('inventory', 'a', { weight: 10 }), instance('inventory', 'c')], false)
    expect(cluster.endpoints.find((endpoint) => endpoint.id === 'a')).toBe(a)
    expect(a.weight).toBe(10)
  })

  it('makes another endpoint of an instance that has moved, and withdraws the old one', () => {
    const { cluster } = setUp()
    cluster.apply([instance('inventory', 'a')], false)
    const old = cluster.endpoints[0] as Endpoint
    let closed = 0
    old.transport = { close: () => void closed++ }
    cluster.apply([instance('inventory', 'a', { port: 9090 })], false)
    expect(cluster.endpoints.map((endpoint) => endpoint.port)).toEqual([9090])
    expect(old.withdrawn).toBe(true)
    expect(closed).toBe(1)
  })

  it('removes a single endpoint that has vanished, at once', () => {
    const { cluster, ids } = setUp()
    cluster.apply([instance('inventory', 'a'), instance('inventory', 'b'), instance('inventory', 'c')], false)
    cluster.apply([instance('inventory', 'a'), instance('inventory', 'b')], false)
    expect(ids()).toEqual(['a', 'b'])
  })

  it('does not believe an empty answer: what still works goes on being called', () => {
    const { clock, cluster, ids } = setUp()
    cluster.apply([instance('inventory', 'a'), instance('inventory', 'b')], false)
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
    cluster.apply([instance('inventory', 'a'), instance('inventory', 'b')], false)
    cluster.apply([], true)
    expect(ids()).toEqual([])
  })

  it('keeps a vanished majority for 30 s, then lets it go for those that are listed', () => {
    const { clock, cluster, ids } = setUp()
    cluster.apply([instance('inventory', 'a'), instance('inventory', 'b'), instance('inventory', 'c')], false)
    cluster.apply([instance('inventory', 'a')], false)
    expect(ids()).toEqual(['a', 'b', 'c'])
    expect(cluster.inLimbo).toBe(2)
    clock.advance(30_001)
    expect(ids()).toEqual(['a'])
    expect(clock.timers).toBe(0)
  })

  it('takes a vanished endpoint back that is listed again', () => {
    const { clock, cluster, ids } = setUp()
    cluster.apply([instance('inventory', 'a'), instance('inventory', 'b'), instance('inventory', 'c')], false)
    cluster.apply([instance('inventory', 'a')], false)
    cluster.apply([instance('inventory', 'a'), instance('inventory', 'b')], false)
    clock.advance(30_001)
    expect(ids()).toEqual(['a', 'b'])
  })

  it('calls draining endpoints only when no other is left', () => {
    const { cluster, ids } = setUp()
    cluster.apply([instance('inventory', 'a', { state: 'draining' }), instance('inventory', 'b')], false)
    expect(ids()).toEqual(['b'])
    cluster.apply([instance('inventory', 'a', { state: 'draining' })], true)
    expect(ids()).toEqual(['a'])
  })

  it('lets what is found after the start warm up, and nothing else', () => {
    const { clock, cluster } = setUp()
    clock.advance(1_000)
    cluster.slowStartMs = 10_000
    const warmAt = (): Record<string, number> =>
      Object.fromEntries(cluster.endpoints.map((each) => [each.id, each.warmAt]))
    cluster.apply([instance('inventory', 'a'), instance('inventory', 'b')], false)
    expect(warmAt()).toEqual({ a: 0, b: 0 })
    clock.advance(1_000)
    cluster.apply([instance('inventory', 'a'), instance('inventory', 'c')], true)
    cluster.apply([instance('inventory', 'a'), instance('inventory', 'c'), instance('inventory', 'b')], true)
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
    cluster.apply([instance('inventory', 'a')], false)
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
