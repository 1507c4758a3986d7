/** Who gets a call, said by policies and in force without a restart. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Mesh } from '../../src/index.ts'
import { startTestMesh, type TestMesh } from '../../src/testing/index.ts'

let testMesh: TestMesh

beforeEach(async () => {
  testMesh = await startTestMesh()
})

afterEach(async () => {
  await testMesh.close()
})

async function serve(name: string, zone?: string): Promise<void> {
  const member = zone === undefined ? {} : { zone }
  await testMesh.serve('inventory', (_req, res) => res.end(name), { member })
}

type Call = (i: number) => Promise<{ text(): Promise<string> }>

async function answers(calls: number, call: Call): Promise<Set<string>> {
  const names = new Set<string>()
  for (let i = 0; i < calls; i++) names.add(await (await call(i)).text())
  return names
}

/** One after the other, the default balancer keeps a caller with one instance for long. */
async function answersAtOnce(calls: number, call: Call): Promise<Set<string>> {
  const one = async (_: unknown, i: number): Promise<string> => (await call(i)).text()
  return new Set(await Promise.all(Array.from({ length: calls }, one)))
}

test('requests with one key reach one instance, through every door and from every client', async () => {
  for (const name of ['a', 'b', 'c', 'd']) await serve(name)
  const [checkout, audit] = await Promise.all([testMesh.join('checkout'), testMesh.join('audit')])
  const ofAda = (mesh: Mesh) => mesh.http('inventory').get('/items', { headers: { 'x-user': 'ada' } })
  expect((await answersAtOnce(40, () => ofAda(checkout))).size).toBeGreaterThan(1)

  const key = { header: 'X-User', cookie: 'sid' }
  await testMesh.apply([{ service: 'inventory', balancer: { name: 'ring-hash', key } }])
  const home = await answers(10, () => ofAda(checkout))
  expect(home.size).toBe(1)
  expect(await answers(3, () => ofAda(audit))).toEqual(home)
  // Even the first call of a process, which begins before it knows the policy.
  for (const late of await Promise.all([1, 2, 3, 4].map((i) => testMesh.join(`late-${i}`)))) {
    expect(await answers(1, () => ofAda(late))).toEqual(home)
  }
  const fetched = (headers: Record<string, string>) => () => checkout.fetch('http://inventory/items', { headers })
  expect(await answers(3, fetched({ 'x-user': 'ada' }))).toEqual(home)
  expect(await answers(3, fetched({ cookie: 'lang=en; sid=ada' }))).toEqual(home)
  expect(await answers(3, () => checkout.fetch('http://inventory/', { key: 'ada' }))).toEqual(home)
  const explicit = () => audit.http('inventory').get('/', { key: 'ada', headers: { 'x-user': 'eve' } })
  expect(await answers(3, explicit)).toEqual(home)
  // With 120 calls, chance leaves none of the four out.
  expect((await answers(120, (i) => checkout.fetch('http://inventory/', { key: `user-${i}` }))).size).toBe(4)
  expect((await answers(120, () => checkout.http('inventory').get('/'))).size).toBe(4)
})

test('a call with a wrong key is refused by name', async () => {
  await serve('a')
  const checkout = await testMesh.join('checkout')
  await expect(checkout.http('inventory').get('/', { key: '' })).rejects.toThrow(/key: expected text/)
  await expect(checkout.fetch('http://inventory/', { key: 5 as never })).rejects.toThrow(/key: expected text/)
})

test('calls stay in the zone of their caller, until the policy says otherwise', async () => {
  await serve('east 1', 'east')
  await serve('east 2', 'east')
  await serve('west 1', 'west')
  await serve('west 2', 'west')
  const checkout = await testMesh.join('checkout', { zone: 'east' })
  const call = () => checkout.http('inventory').get('/')
  await testMesh.apply([{ service: 'inventory', balancer: 'round-robin' }])
  expect(await answers(20, call)).toEqual(new Set(['east 1', 'east 2']))
  await testMesh.apply([{ service: 'inventory', balancer: 'round-robin', zone: 'ignore' }])
  expect((await answers(20, call)).size).toBe(4)
  await testMesh.apply([{ service: 'inventory', balancer: 'round-robin', zone: 'ignore', subset: { size: 2 } }])
  expect((await answers(20, call)).size).toBe(2)
})

test('a new instance warms up; those of the start and those known before do not', async () => {
  await testMesh.apply([{ service: 'inventory', balancer: 'round-robin', slowStart: '1h' }])
  await serve('old')
  const checkout = await testMesh.join('checkout')
  const call = async () => (await checkout.http('inventory').get('/')).text()
  expect(await call()).toBe('old')
  await serve('new')
  let count = 0
  for (let i = 0; i < 400; i++) if ((await call()) === 'new') count += 1
  // A tenth of its turns: 36 of 400 or so.
  expect(count).toBeGreaterThan(2)
  expect(count).toBeLessThan(80)
  await testMesh.apply([{ service: 'inventory', balancer: 'round-robin', slowStart: false }])
  expect(new Set([await call(), await call()]).size).toBe(2)
})
