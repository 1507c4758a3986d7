/** Where calls go: to subsets, to other services and by weight, alike in HTTP and gRPC. */
import { describe, expect, it } from 'vitest'
import { count, type Protocol, routedMesh } from './rig.ts'

const SUBSETS = { blue: { version: 'v1' }, green: { version: 'v2', metadata: { track: 'next' } } }

describe.each<Protocol>(['http', 'grpc'])('a route of %s calls', (protocol) => {
  it('leads to the instances of a subset, and calls that it does not match to all', async () => {
    const routes = [{ name: 'beta', match: [{ headers: { 'x-beta': '1' } }], to: 'green' }]
    const rig = await routedMesh([{ service: 'inventory', balancer: 'round-robin', subsets: SUBSETS, routes }])
    await rig.instance('inventory', 'one', { version: 'v1' })
    await rig.instance('inventory', 'two', { version: 'v2', metadata: { track: 'next' } })
    await rig.instance('inventory', 'other', { version: 'v2' })
    const checkout = await rig.test.join('checkout')
    const beta = { headers: { 'x-beta': '1' } }
    expect(count(await rig.tally(checkout, protocol, 'inventory', 6, beta))).toEqual({ two: 6 })
    expect(count(await rig.tally(checkout, protocol, 'inventory', 6))).toEqual({ one: 2, two: 2, other: 2 })
  })

  it('leads to another service, whose certificate is that of the owner; the host stays', async () => {
    const routes = [{ name: 'quotes', to: { service: 'inventory-eu' } }]
    const rig = await routedMesh([{ service: 'inventory', routes }])
    await rig.instance('inventory', 'here')
    await rig.instance('inventory-eu', 'there')
    const checkout = await rig.test.join('checkout')
    expect((await rig.ask(checkout, protocol, 'inventory')).by).toBe('there')
    if (protocol === 'http') expect(rig.seen.at(-1)?.headers.host).toBe('inventory')
  })

  it('splits by weight, exactly', async () => {
    const routes = [
      {
        name: 'all',
        split: [
          { to: 'blue', weight: 3 },
          { to: 'green', weight: 1 },
        ],
      },
    ]
    const rig = await routedMesh([{ service: 'inventory', subsets: SUBSETS, routes }])
    await rig.instance('inventory', 'one', { version: 'v1' })
    await rig.instance('inventory', 'two', { version: 'v2', metadata: { track: 'next' } })
    const checkout = await rig.test.join('checkout')
    const by = await rig.tally(checkout, protocol, 'inventory', 40)
    expect(count(by)).toEqual({ one: 30, two: 10 })
  })
})
