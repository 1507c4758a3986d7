import { describe, expect, it } from 'vitest'
import type { Endpoint } from '../../src/core/endpoint.ts'
import type { Balancer } from '../../src/core/picker.ts'
import { ServiceCluster } from '../../src/discovery/cluster.ts'
import type { Instance } from '../../src/discovery/instance.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import { instance } from '../rigs/instance.ts'

const first: Balancer = { name: 'first', picker: (endpoints) => ({ pick: () => endpoints[0] }) }

function setUp(): { clock: FakeClock; cluster: ServiceCluster; ids: () => string[] } {
  const clock = new FakeClock()
  const cluster = new ServiceCluster('inventory', () => first, clock)
  return { clock, cluster, ids: () => cluster.endpoints.map((endpoint) => endpoint.id).sort() }
}

describe('a cluster', () => {
  it('tells the endpoints in use with each publication, and none once the last has left', () => {
    const watched: (readonly string[])[] = []
    const some: Balancer = {
      name: 'some',
      picker: (endpoints) => ({
        pick: () => endpoints[0],
        inUse: endpoints.length > 2 ? endpoints.slice(0, 2) : undefined,
      }),
    }
    const cluster = new ServiceCluster(
      'inventory',
      () => some,
      new FakeClock(),
      (inUse) => watched.push(inUse.map(({ id }) => id)),
    )
    const all = ['a', 'b', 'c'].map((id) => instance('inventory', id))
    cluster.apply(all, {})
    cluster.apply(all.slice(1), { left: new Set(['a']) })
    cluster.rebalance()
    cluster.apply([], { intended: true })
    expect(watched).toEqual([['a', 'b'], ['b', 'c'], ['b', 'c'], []])
  })

  it('keeps the endpoint objects that survive a change, with all that is known of them', () => {
    const { cluster } = setUp()
    cluster.apply([instance('inventory', 'a'), instance('inventory', 'b')], {})
    const a = cluster.endpoints.find((endpoint) => endpoint.id === 'a') as Endpoint
    a.estimateMs = 12
    cluster.apply([instance('inventory', 'a', { weight: 10 }), instance('inventory', 'c')], {})
    expect(cluster.endpoints.find((endpoint) => endpoint.id === 'a')).toBe(a)
    expect(a.weight).toBe(10)
  })

  it('keeps the endpoint whose instance begins or stops to announce transports', () => {
    const { cluster } = setUp()
    const told = (transports?: readonly string[]) => {
      cluster.apply([instance('inventory', 'a', { transports })], {})
      return cluster.endpoints[0]!
    }
    const endpoint = told()
    expect(endpoint.transports).toBeUndefined()
    expect(told(['inmesh/1', 'http/1.1'])).toBe(endpoint)
    expect(endpoint.transports).toEqual(['inmesh/1', 'http/1.1'])
    expect(told()).toBe(endpoint)
    expect(endpoint.transports).toBeUndefined()
  })

  it('makes another endpoint of an instance that has moved, and withdraws the old one', () => {
    const { cluster } = setUp()
    cluster.apply([instance('inventory', 'a')], {})
    const old = cluster.endpoints[0] as Endpoint
    let closed = 0
    old.transport = { close: () => void closed++ }
    cluster.apply([instance('inventory', 'a', { port: 9090 })], {})
    expect(cluster.endpoints.map((endpoint) => endpoint.port)).toEqual([9090])
    expect(old.withdrawn).toBe(true)
    expect(closed).toBe(1)
  })

  it('removes a single endpoint that has vanished, at once', () => {
    const { cluster, ids } = setUp()
    cluster.apply([instance('inventory', 'a'), instance('inventory', 'b'), instance('inventory', 'c')], {})
    cluster.apply([instance('inventory', 'a'), instance('inventory', 'b')], {})
    expect(ids()).toEqual(['a', 'b'])
  })

  it('does not believe an empty answer: what still works goes on being called', () => {
    const { clock, cluster, ids } = setUp()
    cluster.apply([instance('inventory', 'a'), instance('inventory', 'b')], {})
    cluster.apply([], {})
    expect(ids()).toEqual(['a', 'b'])
    clock.advance(31_000)
    expect(ids()).toEqual(['a', 'b'])
    cluster.endpoints.find((endpoint) => endpoint.id === 'a')!.state = 'ejected'
    clock.advance(31_000)
    expect(ids()).toEqual(['b'])
  })

  it('believes an empty answer that is meant', () => {
    const { cluster, ids } = setUp()
    cluster.apply([instance('inventory', 'a'), instance('inventory', 'b')], {})
    cluster.apply([], { intended: true })
    expect(ids()).toEqual([])
  })

  it('keeps a vanished majority for 30 s, then lets it go for those that are listed', () => {
    const { clock, cluster, ids } = setUp()
    cluster.apply([instance('inventory', 'a'), instance('inventory', 'b'), instance('inventory', 'c')], {})
    cluster.apply([instance('inventory', 'a')], {})
    expect(ids()).toEqual(['a', 'b', 'c'])
    expect(cluster.inLimbo).toBe(2)
    clock.advance(30_001)
    expect(ids()).toEqual(['a'])
    expect(clock.timers).toBe(0)
  })

  it('keeps for 30 s what a source with another history does not know, unless it says that it left', () => {
    const { clock, cluster, ids } = setUp()
    const all = ['a', 'b', 'c', 'd', 'e'].map((id) => instance('inventory', id))
    const [a, b, c, d] = all as [Instance, Instance, Instance, Instance]
    cluster.apply(all, {})
    cluster.apply([a, b, c], { doubted: true, left: new Set(['e']) })
    expect(ids()).toEqual(['a', 'b', 'c', 'd'])
    // Its process has registered again, and another one has gone as usual.
    cluster.apply([a, b, d], {})
    expect(ids()).toEqual(['a', 'b', 'd'])
    cluster.apply([a, b], { doubted: true })
    clock.advance(30_001)
    expect(ids()).toEqual(['a', 'b'])
  })

  it('asks about what a doubted list lacks, and lets go at once what is dead and still not listed', () => {
    const asked: (readonly Endpoint[])[] = []
    const cluster = new ServiceCluster(
      'inventory',
      () => first,
      new FakeClock(),
      undefined,
      (lost) => asked.push(lost),
    )
    const ids = (): string[] => cluster.endpoints.map(({ id }) => id).sort()
    const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((id) => instance('inventory', id)) as Instance[]
    cluster.apply([a!, b!, c!, d!], {})
    cluster.apply([a!, b!, c!], {})
    expect(asked).toEqual([])
    cluster.apply([a!], { doubted: true })
    expect(asked.map((lost) => lost.map(({ id }) => id).sort())).toEqual([['b', 'c', 'd']])
    cluster.apply([a!, b!], {})
    let published = 0
    cluster.onChange(() => published++)
    const dead = asked[0]!.filter(({ id }) => id !== 'c')
    cluster.bury(dead)
    expect(ids()).toEqual(['a', 'b', 'c'])
    expect(dead.map(({ withdrawn }) => withdrawn)).toContain(true)
    cluster.bury(dead)
    expect(published).toBe(1)
  })

  it('takes a vanished endpoint back that is listed again', () => {
    const { clock, cluster, ids } = setUp()
    cluster.apply([instance('inventory', 'a'), instance('inventory', 'b'), instance('inventory', 'c')], {})
    cluster.apply([instance('inventory', 'a')], {})
    cluster.apply([instance('inventory', 'a'), instance('inventory', 'b')], {})
    clock.advance(30_001)
    expect(ids()).toEqual(['a', 'b'])
  })

  it('calls draining endpoints only when no other is left', () => {
    const { cluster, ids } = setUp()
    cluster.apply([instance('inventory', 'a', { state: 'draining' }), instance('inventory', 'b')], {})
    expect(ids()).toEqual(['b'])
    cluster.apply([instance('inventory', 'a', { state: 'draining' })], { intended: true })
    expect(ids()).toEqual(['a'])
  })

  it('lets what is found after the start warm up, and nothing else', () => {
    const { clock, cluster } = setUp()
    clock.advance(1_000)
    cluster.slowStartMs = 10_000
    const warmAt = (): Record<string, number> =>
      Object.fromEntries(cluster.endpoints.map((each) => [each.id, each.warmAt]))
    cluster.apply([instance('inventory', 'a'), instance('inventory', 'b')], {})
    expect(warmAt()).toEqual({ a: 0, b: 0 })
    clock.advance(1_000)
    cluster.apply([instance('inventory', 'a'), instance('inventory', 'c')], { intended: true })
    cluster.apply([instance('inventory', 'a'), instance('inventory', 'c'), instance('inventory', 'b')], {
      intended: true,
    })
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
    cluster.apply([instance('inventory', 'a')], {})
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

  describe('says of each vanished endpoint why it is gone:', () => {
    const [a, b, c] = ['a', 'b', 'c'].map((id) => instance('inventory', id)) as [Instance, Instance, Instance]

    it('one that leaves on purpose takes nobody along who was lost', () => {
      const { cluster, ids } = setUp()
      cluster.apply([a, b, c], {})
      cluster.apply([c], {})
      expect(ids()).toEqual(['a', 'b', 'c'])
      cluster.apply([], { left: new Set(['c']) })
      expect(ids()).toEqual(['a', 'b'])
      expect(cluster.inLimbo).toBe(2)
    })

    it('of those that are lost and those that leave with one change, only the lost are kept', () => {
      const { cluster, ids } = setUp()
      cluster.apply([a, b, c], {})
      cluster.apply([], { left: new Set(['a']) })
      expect(ids()).toEqual(['b', 'c'])
    })

    it('one in doubt that turns out to have left goes at once', () => {
      const { cluster, ids } = setUp()
      cluster.apply([a, b], {})
      cluster.apply([], {})
      cluster.apply([], { left: new Set(['a']) })
      expect(ids()).toEqual(['b'])
    })

    it('losses one after another count together', () => {
      const { clock, cluster, ids } = setUp()
      cluster.apply([a, b, c], {})
      cluster.apply([b, c], {})
      clock.advance(1_000)
      expect(ids()).toEqual(['b', 'c'])
      cluster.apply([c], {})
      // The first was believed too soon, so it is asked again.
      expect(ids()).toEqual(['a', 'b', 'c'])
      expect(cluster.inLimbo).toBe(2)
      clock.advance(30_000)
      expect(ids()).toEqual(['c'])
    })
  })

  describe('known from the disk', () => {
    const [a, b, c] = ['a', 'b', 'c'].map((id) => instance('inventory', id)) as [Instance, Instance, Instance]

    it('is replaced by the first live list', () => {
      const { cluster, ids } = setUp()
      cluster.apply([a, b], { stale: true })
      cluster.apply([c], {})
      expect(ids()).toEqual(['c'])
    })

    it('is kept while the live list is empty', () => {
      const { cluster, ids } = setUp()
      cluster.apply([a, b], { stale: true })
      cluster.apply([], {})
      expect(ids()).toEqual(['a', 'b'])
      cluster.apply([c], {})
      expect(ids()).toEqual(['c'])
    })

    it('and listed by a live registry, is doubted like any other afterwards', () => {
      const { cluster, ids } = setUp()
      cluster.apply([a, b, c], { stale: true })
      cluster.apply([a, b, c], {})
      cluster.apply([a], {})
      expect(ids()).toEqual(['a', 'b', 'c'])
    })
  })

  describe('at one address', () => {
    const at = (id: string, more: Partial<Instance> = {}) => instance('inventory', id, { port: 9_000, ...more })

    it('is one endpoint, that of the instance which came last', () => {
      const { cluster, ids } = setUp()
      cluster.apply([at('old'), instance('inventory', 'other'), at('new', { weight: 7 })], {})
      expect(ids()).toEqual(['new', 'other'])
      expect(cluster.endpoints.find(({ id }) => id === 'new')!.weight).toBe(7)
    })

    it('stays one when stale ids go, and starts anew when its process does', () => {
      const { cluster } = setUp()
      cluster.apply([at('old'), at('new')], {})
      const [before] = cluster.endpoints
      cluster.apply([at('new')], {})
      expect(cluster.endpoints).toEqual([before])
      expect(before!.withdrawn).toBe(false)
      cluster.apply([at('new'), at('newest')], { left: new Set(['new']) })
      expect(cluster.endpoints.map(({ id }) => id)).toEqual(['newest'])
      expect(before!.withdrawn).toBe(true)
    })

    it('is draining when its last instance is', () => {
      const { cluster, ids } = setUp()
      cluster.apply([at('old'), at('new', { state: 'draining' }), instance('inventory', 'other')], {})
      expect(ids()).toEqual(['other'])
    })
  })
})
