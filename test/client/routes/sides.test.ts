/** Splits by a member of the baggage: a request and all calls that it causes stay on one side. */
import { describe, expect, it } from 'vitest'
import { currentCall } from '../../../src/index.ts'
import { type Protocol, routedMesh } from './rig.ts'

const SUBSETS = { blue: { version: 'v1' }, green: { version: 'v2' } }

function splitByUser(blue: number, green: number) {
  const split = [
    { to: 'blue', weight: blue },
    { to: 'green', weight: green },
  ]
  return { subsets: SUBSETS, routes: [{ name: 'canary', split, sticky: { baggage: 'user' } }] }
}

describe.each<Protocol>(['http', 'grpc'])('a split by a member of the baggage, over %s', (protocol) => {
  it('is decided once for a request and the tree of its calls, whatever the weights below', async () => {
    const rig = await routedMesh([
      { service: 'checkout', ...splitByUser(1, 1) },
      // Without the choice above, nearly all would be blue here.
      { service: 'inventory', ...splitByUser(99, 1) },
      { service: 'prices', ...splitByUser(99, 1) },
    ])
    const asked: Record<string, string[]> = {}
    for (const version of ['v1', 'v2']) {
      await rig.instance('inventory', `inventory ${version}`, { version })
      await rig.instance('prices', `prices ${version}`, { version })
      const checkout = await rig.instance('checkout', `checkout ${version}`, { version })
      rig.scripts.set(`checkout ${version}`, async () => {
        const user = currentCall()!.baggage.get('user')!
        const below = await rig.ask(checkout, protocol, 'inventory')
        asked[user] = [`checkout ${version}`, below.by, (await rig.ask(checkout, protocol, 'prices')).by]
        return 0
      })
    }
    const gateway = await rig.test.join('gateway')
    for (let i = 0; i < 40; i++) {
      await rig.ask(gateway, protocol, 'checkout', { headers: { baggage: `user=${i},tenant=acme` } })
    }
    const trees = Object.values(asked).map((tree) => tree.join())
    expect(trees).toHaveLength(40)
    expect(new Set(trees)).toEqual(
      new Set(['checkout v1,inventory v1,prices v1', 'checkout v2,inventory v2,prices v2']),
    )
  })

  it('keeps a user on a side over requests, and splits requests without the member by weight', async () => {
    const rig = await routedMesh([{ service: 'inventory', ...splitByUser(1, 1) }])
    await rig.instance('inventory', 'one', { version: 'v1' })
    await rig.instance('inventory', 'two', { version: 'v2' })
    const checkout = await rig.test.join('checkout')
    const headers = { baggage: 'user=7' }
    const by = await rig.tally(checkout, protocol, 'inventory', 10, { headers })
    expect(new Set(by).size).toBe(1)
    expect((await rig.tally(checkout, protocol, 'inventory', 10)).filter((name) => name === 'one')).toHaveLength(5)
  })

  it('ignores a side that it does not know', async () => {
    const rig = await routedMesh([{ service: 'inventory', ...splitByUser(1, 1) }])
    await rig.instance('inventory', 'one', { version: 'v1' })
    await rig.instance('inventory', 'two', { version: 'v2' })
    const checkout = await rig.test.join('checkout')
    const plain = await rig.ask(checkout, protocol, 'inventory', { headers: { baggage: 'user=7' } })
    const headers = { baggage: 'user=7,inmesh-side.user=purple' }
    expect((await rig.ask(checkout, protocol, 'inventory', { headers })).by).toBe(plain.by)
  })

  it('leaves the header of a request as its caller wrote it, and adds one member', async () => {
    const rig = await routedMesh([{ service: 'inventory', ...splitByUser(1, 0) }])
    await rig.instance('inventory', 'one', { version: 'v1' })
    const checkout = await rig.test.join('checkout')
    const written = 'user=7;p=2;q, tenant = a%20b , odd;x=1'
    await rig.ask(checkout, protocol, 'inventory', { headers: { baggage: written } })
    expect(rig.seen.at(-1)?.headers.baggage).toBe(`${written},inmesh-side.user=blue`)
    const other = 'user=7;p=2,inmesh-side.user=green;p=1,tenant=acme;p=3'
    await rig.ask(checkout, protocol, 'inventory', { headers: { baggage: other } })
    expect(rig.seen.at(-1)?.headers.baggage).toBe('user=7;p=2,tenant=acme;p=3,inmesh-side.user=blue')
  })

  it('adds no member beyond the limits of baggage', async () => {
    const rig = await routedMesh([{ service: 'inventory', ...splitByUser(1, 0) }])
    await rig.instance('inventory', 'one', { version: 'v1' })
    const checkout = await rig.test.join('checkout')
    const many = ['user=7;p=2', ...Array.from({ length: 63 }, (_, i) => `m${i}=1`)].join(',')
    const long = `user=7;p=2,m=${'x'.repeat(8_170)}`
    for (const baggage of [many, long]) {
      await rig.ask(checkout, protocol, 'inventory', { headers: { baggage } })
      expect(rig.seen.at(-1)?.headers.baggage).toBe(baggage)
    }
  })
})
