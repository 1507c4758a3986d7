/** Mirrors as documents ask for them, over HTTP and gRPC alike. */
import { request } from 'undici'
import { describe, expect, it } from 'vitest'
import type { Mesh } from '../../../src/index.ts'
import { until } from '../http/rig.ts'
import { ALL, dropped, metric, mirroredMesh, type Protocol, type Script, SUBSETS, sent } from './mesh-rig.ts'

describe.each<Protocol>(['http', 'grpc'])('a mirror of %s calls', (protocol) => {
  it('copies calls of its route to a subset, and counts them apart', async () => {
    const rig = await mirroredMesh([{ service: 'inventory', timeout: '30s', subsets: SUBSETS, routes: [ALL] }])
    await rig.instance('inventory', 'blue', { version: 'v1' })
    await rig.instance('inventory', 'green', { version: 'v2' })
    const checkout = await rig.test.join('checkout')
    for (let i = 0; i < 5; i++) {
      expect(await rig.ask(checkout, protocol, 'inventory', { 'x-user': `${i}`, baggage: 'tenant=acme' })).toBe('blue')
    }
    await until(() => sent(checkout, 'ok') === 5)
    expect(rig.by('blue').map(({ headers }) => headers['x-inmesh-mirror'])).toEqual(Array(5).fill(undefined))
    expect(rig.by('green').map(({ headers }) => headers['x-inmesh-mirror'])).toEqual(Array(5).fill('1'))
    expect(
      rig
        .by('green')
        .map(({ headers }) => headers['x-user'])
        .sort(),
    ).toEqual(['0', '1', '2', '3', '4'])
    expect(rig.by('green')[0]!.headers.baggage).toBe('tenant=acme')
    const route = { service: 'checkout', peer: 'inventory', route: 'all', code: 'ok' }
    expect(metric(checkout, 'inmesh_client_mirrors_total', route)).toBe(5)
    expect(metric(checkout, 'inmesh_client_requests_total', { peer: 'inventory' })).toBe(5)
    expect(metric(checkout, 'inmesh_client_attempts_total', { peer: 'inventory' })).toBe(5)
    expect(metric(checkout, 'inmesh_client_mirrors_in_flight', {})).toBe(0)
  })

  it('has the deadline of the route, and not that of the caller', async () => {
    const rig = await mirroredMesh([
      { service: 'inventory', timeout: '60s', subsets: SUBSETS, routes: [{ ...ALL, timeout: '50s' }] },
    ])
    await rig.instance('inventory', 'blue', { version: 'v1' })
    await rig.instance('inventory', 'green', { version: 'v2' })
    const checkout = await rig.test.join('checkout')
    await rig.ask(checkout, protocol, 'inventory', {}, 15_000)
    await until(() => sent(checkout, 'ok') === 1)
    expect(rig.by('blue')[0]!.remainingMs).toBeLessThanOrEqual(15_000)
    const { remainingMs } = rig.by('green')[0]!
    expect(remainingMs).toBeGreaterThan(15_000)
    expect(remainingMs).toBeLessThanOrEqual(50_000)
  })

  it('gets what its route changes of requests, and not what only the target of the call gets', async () => {
    const route = {
      name: 'changed',
      headers: { request: { set: { 'x-route': 'changed', 'x-both': 'route' } } },
      split: [
        { to: 'blue', weight: 1, headers: { request: { set: { 'x-both': 'target' }, add: { 'x-target': 'blue' } } } },
        { to: 'green', weight: 0 },
      ],
      mirror: { to: 'green' },
    }
    const rig = await mirroredMesh([{ service: 'inventory', subsets: SUBSETS, routes: [route] }])
    await rig.instance('inventory', 'blue', { version: 'v1' })
    await rig.instance('inventory', 'green', { version: 'v2' })
    const checkout = await rig.test.join('checkout')
    await rig.ask(checkout, protocol, 'inventory', { 'x-user': '7' })
    await until(() => sent(checkout, 'ok') === 1)
    const of = (by: string): unknown[] =>
      ['x-user', 'x-route', 'x-both', 'x-target'].map((name) => rig.by(by)[0]!.headers[name]?.toString())
    expect(of('blue')).toEqual(['7', 'changed', 'target', 'blue'])
    expect(of('green')).toEqual(['7', 'changed', 'route', undefined])
  })

  it('may be one of several, to other services and their subsets, also beside a split', async () => {
    const split = {
      name: 'split',
      split: [
        { to: 'blue', weight: 1 },
        { to: 'green', weight: 1 },
      ],
      mirror: [{ to: { service: 'archive' } }, { to: { service: 'copy', subset: 'next' } }, { to: 'green', share: 0 }],
    }
    const rig = await mirroredMesh([
      { service: 'inventory', subsets: SUBSETS, routes: [split] },
      { service: 'copy', subsets: { next: { version: 'v2' } } },
    ])
    await rig.instance('inventory', 'blue', { version: 'v1' })
    await rig.instance('inventory', 'green', { version: 'v2' })
    await rig.instance('archive', 'archive')
    await rig.instance('copy', 'old', { version: 'v1' })
    await rig.instance('copy', 'next', { version: 'v2' })
    const checkout = await rig.test.join('checkout')
    const answers: string[] = []
    // The first calls may find the other services unknown: a mirror does not wait.
    await until(async () => {
      answers.push(await rig.ask(checkout, protocol, 'inventory'))
      return answers.length >= 6 && rig.by('archive').length > 0 && rig.by('next').length > 0
    })
    // No target is off by more than one call.
    const green = answers.filter((by) => by === 'green').length
    expect(Math.abs(green - answers.length / 2)).toBeLessThanOrEqual(1)
    await until(() => sent(checkout, 'ok') + dropped(checkout, 'no-endpoints') === 2 * answers.length)
    expect(rig.by('old')).toEqual([])
    expect([...rig.by('blue'), ...rig.by('green')].some(({ headers }) => headers['x-inmesh-mirror'])).toBe(false)
  })

  it('is not mirrored again by the next hop, and its calls bear the mark', async () => {
    const rig = await mirroredMesh([
      { service: 'inventory', subsets: SUBSETS, routes: [ALL] },
      { service: 'prices', subsets: SUBSETS, routes: [ALL] },
    ])
    const prices = async (mesh: Mesh): Promise<number> => {
      await rig.ask(mesh, protocol, 'prices')
      return 200
    }
    await rig.instance('prices', 'prices-blue', { version: 'v1' })
    await rig.instance('prices', 'prices-green', { version: 'v2' })
    const blue: Mesh = await rig.instance('inventory', 'blue', { version: 'v1' }, () => prices(blue))
    const green: Mesh = await rig.instance('inventory', 'green', { version: 'v2' }, () => prices(green))
    const checkout = await rig.test.join('checkout')
    for (let i = 0; i < 3; i++) await rig.ask(checkout, protocol, 'inventory')
    await until(() => sent(checkout, 'ok') === 3 && sent(blue, 'ok') === 3)
    const marks = (by: string): unknown[] => rig.by(by).map(({ headers }) => headers['x-inmesh-mirror'])
    // Three of calls and three of their copies; and of the calls alone, copies.
    expect(marks('prices-blue').sort()).toEqual(['1', '1', '1', undefined, undefined, undefined])
    expect(marks('prices-green')).toEqual(['1', '1', '1'])
    expect(sent(green, 'ok')).toBe(0)
  })

  it('fails without ejecting an endpoint that calls use, and without a trace in their policies', async () => {
    const policy = { ejection: { consecutiveFailures: 2 }, circuitBreaker: { minimumCalls: 2, errorThreshold: '50%' } }
    const direct = { name: 'direct', match: [{ headers: { 'x-direct': '1' } }], to: 'green' }
    const rig = await mirroredMesh([{ service: 'inventory', ...policy, subsets: SUBSETS, routes: [direct, ALL] }])
    await rig.instance('inventory', 'blue', { version: 'v1' })
    const fails: Script = ({ headers }) => (headers['x-inmesh-mirror'] === undefined ? 200 : 503)
    await rig.instance('inventory', 'green', { version: 'v2' }, fails)
    const checkout = await rig.test.join('checkout')
    for (let i = 0; i < 20; i++) expect(await rig.ask(checkout, protocol, 'inventory')).toBe('blue')
    await until(() => sent(checkout, 'overloaded') === 20)
    expect(await rig.ask(checkout, protocol, 'inventory', { 'x-direct': '1' })).toBe('green')
    // Each copy was tried once.
    expect(rig.by('green')).toHaveLength(21)
    expect(metric(checkout, 'inmesh_client_endpoints', { state: 'ejected' })).toBe(0)
    expect(metric(checkout, 'inmesh_client_circuit_transitions_total', {})).toBe(0)
    expect(metric(checkout, 'inmesh_client_retries_total', {})).toBe(0)
  })

  it('that hangs delays no call, is bounded in number, and does not hold up close', async () => {
    const rig = await mirroredMesh([{ service: 'inventory', timeout: '60s', subsets: SUBSETS, routes: [ALL] }])
    await rig.instance('inventory', 'blue', { version: 'v1' })
    await rig.instance('inventory', 'green', { version: 'v2' }, ({ headers }) =>
      headers['x-inmesh-mirror'] === undefined ? 200 : undefined,
    )
    const checkout = await rig.test.join('checkout')
    for (let i = 0; i < 80; i++) expect(await rig.ask(checkout, protocol, 'inventory')).toBe('blue')
    await until(() => rig.by('green').length === 64)
    expect(dropped(checkout, 'in-flight')).toBe(16)
    expect(metric(checkout, 'inmesh_client_mirrors_in_flight', { peer: 'inventory' })).toBe(64)
    const began = performance.now()
    await checkout.close()
    // Its timeout is a minute.
    expect(performance.now() - began).toBeLessThan(20_000)
  })

  it('follows its target: one that vanishes is dropped, one that comes is used', async () => {
    const rig = await mirroredMesh([{ service: 'inventory', subsets: SUBSETS, routes: [ALL] }])
    await rig.instance('inventory', 'blue', { version: 'v1' })
    const checkout = await rig.test.join('checkout')
    expect(await rig.ask(checkout, protocol, 'inventory')).toBe('blue')
    await until(() => dropped(checkout, 'no-endpoints') === 1)
    const green = await rig.instance('inventory', 'green', { version: 'v2' })
    await until(async () => {
      expect(await rig.ask(checkout, protocol, 'inventory')).toBe('blue')
      return sent(checkout, 'ok') > 0
    })
    await green.close()
    const before = dropped(checkout, 'no-endpoints')
    await until(async () => {
      expect(await rig.ask(checkout, protocol, 'inventory')).toBe('blue')
      return dropped(checkout, 'no-endpoints') > before
    })
  })

  it('is given up when its target drains, and so does not hold it up', async () => {
    const rig = await mirroredMesh([{ service: 'inventory', timeout: '60s', subsets: SUBSETS, routes: [ALL] }])
    await rig.instance('inventory', 'blue', { version: 'v1' })
    const hangs: Script = () => undefined
    const options = { version: 'v2', drainTimeout: 50_000 }
    const green = await rig.instance('inventory', 'green', options, hangs)
    const checkout = await rig.test.join('checkout')
    for (let i = 0; i < 3; i++) expect(await rig.ask(checkout, protocol, 'inventory')).toBe('blue')
    await until(() => rig.by('green').length === 3)
    await green.close()
    await until(() => sent(checkout, 'connection-lost') === 3)
  })
})

it('copies what an undici dispatcher and fetch send', async () => {
  const rig = await mirroredMesh([{ service: 'inventory', subsets: SUBSETS, routes: [ALL] }])
  await rig.instance('inventory', 'blue', { version: 'v1' })
  await rig.instance('inventory', 'green', { version: 'v2' })
  const checkout = await rig.test.join('checkout')
  const { body } = await request('http://inventory.mesh/', {
    dispatcher: checkout.dispatcher(),
    method: 'POST',
    body: 'by undici',
    headers: { 'x-door': 'dispatcher' },
  })
  expect(await body.text()).toBe('blue')
  const answer = await checkout.fetch('http://inventory/', {
    method: 'POST',
    body: 'by fetch',
    headers: { 'x-door': 'fetch' },
  })
  expect(await answer.text()).toBe('blue')
  await until(() => sent(checkout, 'ok') === 2)
  expect(
    rig.by('green').map(({ headers }) => [headers['x-door'], headers['content-length'], headers['x-inmesh-mirror']]),
  ).toEqual([
    ['dispatcher', '9', '1'],
    ['fetch', '8', '1'],
  ])
})
