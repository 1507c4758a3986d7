/** Failover of a destination under the fake clock: real destinations, no sockets. */
import { describe, expect, it } from 'vitest'
import { type Outcome, outcome } from '../../../src/core/outcome.ts'
import type { PolicyDocument } from '../../../src/discovery/policy-document.ts'
import { BALANCER_NAMES } from '../../../src/resilience/balancing-settings.ts'
import { type Placed, RoutedClient } from '../../../src/simulator/routed-client.ts'
import { answersAfter, hangs, SimulatedServer } from '../../../src/simulator/server.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'

const ZONES = [{ zone: 'same' }, { zone: 'any' }] as const
const SERVICES = [{ zone: 'any' }, { service: 'inventory-eu' }] as const

function setUp(document: Omit<PolicyDocument, 'service'>) {
  const clock = new FakeClock({ seed: 11 })
  const client = new RoutedClient(clock, 'a')
  const server = (end?: Outcome) => new SimulatedServer({ clock, handler: answersAfter(clock, () => 2, end) })
  const place = (ids: string, more: Partial<Placed> = {}): Placed[] =>
    ids.split(' ').map((id) => ({ id, zone: id[0]!, server: server(), ...more }))
  client.configure({ service: 'inventory', ...document })
  /** Who answered each of `count` calls, 1 ms apart; `-` for a call that failed. */
  const calls = (count: number, settleMs = 12_000): string[] => {
    const by: string[] = []
    for (let i = 0; i < count; i++) {
      client.send('inventory', (call, ended) => by.push(ended.verdict === 'success' ? call.endpoint!.id : '-'))
      clock.advance(1)
    }
    clock.advance(settleMs)
    return by
  }
  const zonesOf = (count: number, settleMs?: number) =>
    [...new Set(calls(count, settleMs).map((id) => id[0]))].toSorted()
  return { clock, client, server, place, calls, zonesOf }
}

describe('failover of a destination', () => {
  it('leaves a zone whose instances drain at once, and comes back to those that are ready', () => {
    const { client, place, zonesOf } = setUp({ failover: ZONES })
    const far = place('b1 b2')
    client.use('inventory', [...place('a1 a2'), ...far])
    expect(zonesOf(50)).toEqual(['a'])
    client.use('inventory', [...place('a1 a2', { draining: true }), ...far])
    expect(zonesOf(50)).toEqual(['b'])
    client.use('inventory', [...place('a1', { draining: true }), ...place('a2'), ...far])
    expect(zonesOf(50)).toEqual(['a'])
    client.use('inventory', place('a1 b1', { draining: true }))
    expect(zonesOf(50)).not.toContain('-')
  })

  it('leaves a service whose list is empty, and comes back with its first instance', () => {
    const { client, place, zonesOf } = setUp({ failover: SERVICES })
    client.use('inventory-eu', place('e1 e2'))
    client.use('inventory', place('a1 b1'))
    expect(zonesOf(50)).toEqual(['a', 'b'])
    client.use('inventory', [])
    expect(zonesOf(50)).toEqual(['e'])
    client.use('inventory', place('b2'))
    expect(zonesOf(50)).toEqual(['b'])
  })

  it('waits for an endpoint only while all levels are empty, and for the first of any level', () => {
    const { clock, client, place } = setUp({ failover: SERVICES })
    client.use('inventory', [])
    client.use('inventory-eu', [])
    const ended: string[] = []
    client.send('inventory', (call, { verdict }) => ended.push(`${verdict} ${call.endpoint?.id}`))
    clock.advance(1_000)
    expect(ended).toEqual([])
    client.use('inventory-eu', place('e1'))
    clock.advance(10)
    expect(ended).toEqual(['success e1'])
  })

  it('loses no call when a zone of twenty instances dies at once', () => {
    const { client, place, calls } = setUp({ failover: ZONES })
    const near = Array.from({ length: 20 }, (_, i) => `a${i}`).join(' ')
    client.use('inventory', [...place(near), ...place('b1 b2')])
    expect(calls(50).filter((id) => id.startsWith('b'))).toEqual([])
    for (const id of near.split(' ')) client.replace(id, undefined)
    expect(new Set(calls(100, 0).map((id) => id[0]))).toEqual(new Set(['b']))
  })

  it('leaves a zone that takes requests and never answers', () => {
    const { clock, client, place, calls } = setUp({ failover: ZONES, retry: { perTryTimeout: '200ms' } })
    const silent = new SimulatedServer({ clock, handler: hangs })
    client.use('inventory', [...place('a1 a2', { server: silent }), ...place('b1 b2')])
    // As many as the retry budget pays for.
    for (let i = 0; i < 3; i++) expect(calls(3, 1_000)).not.toContain('-')
    expect(new Set(calls(60, 10).map((id) => id[0]))).toEqual(new Set(['b']))
  })

  it('leaves a zone of which each instance fails, though all attempts of a call stay in it', () => {
    const broken = outcome('failure', 'server-error', undefined, 500)
    const { client, place, server, calls } = setUp({ failover: ZONES })
    client.use('inventory', [...place('a1 a2 a3 a4 a5', { server: server(broken) }), ...place('b1 b2')])
    // Five in a row of each; the circuit would open after 20 calls.
    calls(30, 0)
    expect(calls(100, 0).filter((id) => !id.startsWith('b')).length).toBeLessThanOrEqual(2)
  })

  it('leaves a service that fails as a whole, and stays where the next one fails as often', () => {
    const broken = outcome('failure', 'server-error', undefined, 500)
    const { client, place, server, calls, zonesOf } = setUp({ failover: SERVICES })
    client.use('inventory', place('a1 a2', { server: server(broken) }))
    client.use('inventory-eu', place('e1 e2'))
    calls(40, 0)
    expect(zonesOf(100, 0)).toContain('e')
    expect(calls(100, 0).filter((id) => id === '-').length).toBeLessThan(5)

    const both = setUp({ failover: SERVICES })
    both.client.use('inventory', both.place('a1 a2', { server: both.server(broken) }))
    both.client.use('inventory-eu', both.place('e1 e2', { server: both.server(broken) }))
    const failing = both.calls(2_000, 0)
    expect(new Set(failing)).toEqual(new Set(['-']))
  })

  it('keeps the zone preference within a level, unless the levels go by zone', () => {
    const { client, place, zonesOf } = setUp({ failover: [{ service: 'inventory-eu' }] })
    client.use('inventory', place('a1 a2 b1 b2'))
    expect(zonesOf(60)).toEqual(['a'])
    client.configure({ service: 'inventory', failover: SERVICES })
    expect(zonesOf(60)).toEqual(['a', 'b'])
  })

  it('of the mesh holds for each service that has none', () => {
    const { client, place, zonesOf } = setUp({})
    client.use('inventory', place('a1 b1 b2'))
    client.configure({ service: 'inventory', zone: 'ignore' }, { service: 'mesh', failover: ZONES })
    expect(zonesOf(60)).toEqual(['a'])
    client.configure({ service: 'inventory', failover: [{ zone: 'any' }] }, { service: 'mesh', failover: ZONES })
    expect(zonesOf(60)).toEqual(['a', 'b'])
  })

  it('follows a new document with the next call', () => {
    const { client, place, zonesOf } = setUp({ failover: SERVICES })
    client.use('inventory-eu', place('e1'))
    client.use('inventory', place('a1 b1'))
    expect(zonesOf(40)).toEqual(['a', 'b'])
    client.configure({ service: 'inventory', failover: [{ service: 'inventory-eu' }, { service: 'inventory' }] })
    expect(zonesOf(40)).toEqual(['e'])
    client.configure({ service: 'inventory', zone: 'ignore' })
    expect(zonesOf(40)).toEqual(['a', 'b'])
  })

  it.each(BALANCER_NAMES)('works with %s, a client subset and slow start', (name) => {
    const { client, place, calls } = setUp({ balancer: name, subset: { size: 2 }, slowStart: '10s', failover: ZONES })
    const [near, far] = [place('a1 a2 a3 a4'), place('b1 b2 b3 b4')]
    client.use('inventory', [...near, ...far])
    const before = new Set(calls(60))
    expect([...before].map((id) => id[0])).toEqual(['a', 'a'])
    client.use('inventory', far)
    expect(new Set(calls(60).map((id) => id[0]))).toEqual(new Set(['b']))
    client.use('inventory', [...near, ...far])
    const warming = calls(300, 20_000).filter((id) => id.startsWith('a')).length
    expect(warming).toBeGreaterThan(10)
    expect(warming).toBeLessThan(100)
    expect(new Set(calls(60).map((id) => id[0]))).toEqual(new Set(['a']))
  })
})
