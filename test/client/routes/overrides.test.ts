/** Overrides of one request: who may send them, where they lead, and how far they travel. */
import { describe, expect, it } from 'vitest'
import type { Mesh } from '../../../src/index.ts'
import type { TestMesh } from '../../../src/testing/index.ts'
import { count, type Protocol, type RoutedMesh, routedMesh } from './rig.ts'

const SUBSETS = { blue: { version: 'v1' }, green: { version: 'v2' } }
const INVENTORY = { service: 'inventory', subsets: SUBSETS, routes: [{ name: 'all', to: 'blue' }] }
const ALLOWED = { from: ['gateway'], services: ['inventory', 'prices'] }

/** gateway -> checkout -> inventory, prices. */
async function chain(protocol: Protocol, policies: readonly unknown[]): Promise<RoutedMesh & { checkout: Mesh }> {
  const rig = await routedMesh(policies)
  await rig.instance('inventory', 'one', { version: 'v1' })
  await rig.instance('inventory', 'two', { version: 'v2' })
  await rig.instance('prices', 'live')
  await rig.instance('prices-pr-42', 'staged')
  const checkout = await rig.instance('checkout', 'checkout')
  rig.scripts.set('checkout', async () => {
    answered = (await rig.ask(checkout, protocol, 'inventory')).by
    answered += ` ${(await rig.ask(checkout, protocol, 'prices')).by}`
    return 0
  })
  return Object.assign(rig, { checkout })
}

/** Who answered the calls of `checkout`. */
let answered = ''

const callers = new Map<TestMesh, Map<string, Mesh>>()

async function through(rig: RoutedMesh, from: string, protocol: Protocol, route?: string): Promise<string> {
  const caller = callers.get(rig.test)?.get(from) ?? (await rig.test.join(from))
  callers.set(rig.test, (callers.get(rig.test) ?? new Map()).set(from, caller))
  const headers = route === undefined ? undefined : { 'x-inmesh-route': route }
  await rig.ask(caller, protocol, 'checkout', headers === undefined ? {} : { headers })
  return answered
}

describe.each<Protocol>(['http', 'grpc'])('overrides of one request over %s', (protocol) => {
  it('lead the calls that it causes to other targets, and no other calls', async () => {
    const rig = await chain(protocol, [{ service: 'mesh', overrides: ALLOWED }, INVENTORY])
    expect(await through(rig, 'gateway', protocol)).toBe('one live')
    expect(await through(rig, 'gateway', protocol, 'inventory=green')).toBe('two live')
    expect(await through(rig, 'gateway', protocol, 'inventory=green, prices=service:prices-pr-42')).toBe('two staged')
    expect(await through(rig, 'gateway', protocol, 'elsewhere=green')).toBe('one live')
    expect(await through(rig, 'gateway', protocol)).toBe('one live')
    // Handlers do not see them.
    expect(rig.seen.filter(({ headers }) => 'x-inmesh-route' in headers || 'inmesh-route-proof' in headers)).toEqual([])
  })

  it('may be allowed by the document of the service called', async () => {
    const rig = await chain(protocol, [{ ...INVENTORY, overrides: { from: ['gateway'] } }])
    expect(await through(rig, 'gateway', protocol, 'inventory=green, prices=service:prices-pr-42')).toBe('two live')
  })

  it('of a service that no document allows count for nothing, and are reported', async () => {
    const rig = await chain(protocol, [{ service: 'mesh', overrides: ALLOWED }, INVENTORY])
    const stranger = 'inventory=green, prices=service:prices-pr-42'
    expect(await through(rig, 'stranger', protocol, stranger)).toBe('one live')
    expect(count(rig.seen.map(({ by }) => by))).toEqual({ checkout: 1, one: 1, live: 1 })
    expect(rig.checkout.metrics()).toMatch(/inmesh_overrides_refused_total\{[^}]*\} 2/)
  })

  it('that name a subset which nobody defined leave the call to its route', async () => {
    const rig = await chain(protocol, [{ service: 'mesh', overrides: ALLOWED }, INVENTORY])
    expect(await through(rig, 'gateway', protocol, 'inventory=purple')).toBe('one live')
  })
})
