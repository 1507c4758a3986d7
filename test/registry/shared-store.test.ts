/** Whole registries on one store. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Registry } from '../../src/registry/index.ts'
import { startRegistryOn } from '../../src/registry/registry.ts'
import { MemoryStorage } from '../../src/registry/storage/memory.ts'
import { SqliteStorage } from '../../src/registry/storage/sqlite.ts'
import type { Storage } from '../../src/registry/storage/storage.ts'
import { join as joinAs, request } from '../rigs/registry-session.ts'
import { StorageView } from '../rigs/storage-view.ts'

let shared: Storage
let directory: string
const open: Registry[] = []

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'inmesh-shared-'))
  shared = new MemoryStorage()
})

afterEach(async () => {
  for (const registry of open.splice(0)) await registry.close()
  await shared.close()
  rmSync(directory, { recursive: true })
})

async function start(id: string): Promise<{ registry: Registry; view: StorageView }> {
  const view = new StorageView(shared)
  const registry = await startRegistryOn(view, id, { port: 0, dev: true, log: false })
  open.push(registry)
  return { registry, view }
}

const policies = (count: number, timeout: string) =>
  Array.from({ length: count }, (_, i) => ({ service: `s${i}`, timeout }))

test('have one root, and see at once what another wrote; closing one leaves the others', async () => {
  const first = await start('first')
  const second = await start('second')
  expect([first.registry.id, second.registry.id]).toEqual(['first', 'second'])
  expect(second.registry.rootFingerprint).toBe(first.registry.rootFingerprint)
  await first.registry.applyPolicies(policies(1, '3s'))
  await first.registry.close()
  const { json } = await request(second.registry, 'GET', '/v1/policies/s0')
  expect(json).toMatchObject({ version: 1 })
  await second.registry.applyPolicies(policies(1, '4s'))
})

test('take a join token that another has just issued, before they hear of it', async () => {
  const first = await start('first')
  const second = await start('second')
  second.view.lag()
  const token = await first.registry.createJoinToken({ service: 'a' })
  await joinAs(second.registry, 'a', token)
  await expect(joinAs(second.registry, 'a', 'unknown')).rejects.toThrow('token-unknown')
})

test('apply 300 policies in one transaction each, one registry after the other', async () => {
  // Its writes wait for the turn, so both registries decide before either has written.
  shared = await SqliteStorage.open({ path: join(directory, 'r.db') })
  const first = await start('first')
  const second = await start('second')
  expect(await first.registry.applyPolicies(policies(300, '3s'))).toHaveLength(300)
  await Promise.all([
    first.registry.applyPolicies(policies(300, '4s')),
    second.registry.applyPolicies(policies(300, '5s')),
  ])
  const { json } = await request(second.registry, 'GET', '/v1/policies')
  expect(json.policies).toHaveLength(300)
  const last = { timeout: json.policies[0].document.timeout, version: 3 }
  for (const { version, document } of json.policies) expect({ version, timeout: document.timeout }).toEqual(last)
})

test('change weights of one document at the same time, and lose no change', async () => {
  // Its writes wait for the turn, so both registries decide before either has written.
  shared = await SqliteStorage.open({ path: join(directory, 'r.db') })
  const [first, second] = [await start('first'), await start('second')]
  const even = [
    { to: 'blue', weight: 50 },
    { to: 'green', weight: 50 },
  ]
  const routes = Array.from({ length: 8 }, (_, i) => ({ name: `r${i}`, match: [{ path: `/${i}` }], split: even }))
  const subsets = { blue: { version: 'v1' }, green: { version: 'v2' } }
  await first.registry.applyPolicies([{ service: 'shop', subsets, routes }])
  const answers = await Promise.all(
    routes.map(({ name }, i) => {
      const body = { route: name, shares: { green: i } }
      return request((i % 2 === 0 ? first : second).registry, 'POST', '/v1/policies/shop/split', { body })
    }),
  )
  expect(answers.map(({ status }) => status)).toEqual(routes.map(() => 200))
  const { json } = await request(second.registry, 'GET', '/v1/policies/shop')
  expect(json.version).toBe(9)
  const green = json.document.routes.map(({ split }: { split: { weight: number }[] }) => split[1]!.weight)
  expect(green).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
})

test('refuse what contradicts a document that another of them has just written', async () => {
  shared = await SqliteStorage.open({ path: join(directory, 'r.db') })
  const [first, second] = [await start('first'), await start('second')]
  const leads = (service: string, to: string) => ({ service, routes: [{ name: 'all', to: { service: to } }] })
  const both = await Promise.allSettled([
    first.registry.applyPolicies([leads('a', 'b')]),
    second.registry.applyPolicies([leads('b', 'a')]),
  ])
  expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
  const { json } = await request(first.registry, 'GET', '/v1/policies')
  expect(json.policies).toHaveLength(1)
})

test('answer 503 while they are cut off from the store, and go on reading', async () => {
  const { registry, view } = await start('first')
  await registry.applyPolicies(policies(1, '3s'))
  view.cutOff()
  const path = '/v1/policies/s0'
  expect((await request(registry, 'GET', path)).status).toBe(200)
  const put = await request(registry, 'PUT', path, { body: { service: 's0', timeout: '9s' } })
  expect(put.status).toBe(503)
  expect(put.json.error.code).toBe('storage-unavailable')
  view.reconnect()
  expect((await request(registry, 'PUT', path, { body: { service: 's0', timeout: '9s' } })).status).toBe(200)
})
