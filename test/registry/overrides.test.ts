/** What operators decide about instances at run time, over real sockets. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join as pathOf } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Registry, startRegistry } from '../../src/registry/index.ts'
import { displaced, MOST_OVERRIDES } from '../../src/registry/overrides.ts'
import { instance } from '../rigs/instance.ts'
import { join, request, TestSession } from '../rigs/registry-session.ts'

const OPTIONS = { port: 0, log: false, joinsPerSecond: 1_000 } as const
let registry: Registry
let directory: string
const sessions: TestSession[] = []

beforeEach(async () => {
  directory = await mkdtemp(pathOf(tmpdir(), 'inmesh-overrides-'))
  registry = await startRegistry({ ...OPTIONS, dataDir: directory })
})

afterEach(async () => {
  for (const session of sessions.splice(0)) session.close()
  await registry.close()
  await rm(directory, { recursive: true })
})

async function open(service: string, credentials?: Awaited<ReturnType<typeof join>>): Promise<TestSession> {
  const session = await TestSession.open(registry, service, credentials)
  sessions.push(session)
  return session
}

const admin = { token: undefined as string | undefined }

function command(method: string, path: string, body?: unknown) {
  return request(registry, method, path, {
    headers: { authorization: `Bearer ${admin.token}` },
    ...(body === undefined ? {} : { body }),
  })
}

const put = (id: string, body: unknown, service = 'stock') =>
  command('PUT', `/v1/services/${service}/instances/${id}`, body)

async function listed(): Promise<Record<string, { state: string; weight: number; override?: object }>> {
  const { instances } = (await command('GET', '/v1/services/stock')).json
  return Object.fromEntries(instances.map((one: { id: string }) => [one.id, one]))
}

async function twoInstances(): Promise<TestSession> {
  admin.token = registry.adminToken
  const owner = await open('stock')
  await owner.ask({ type: 'register', instance: instance('stock', 'a', { port: 1001 }) })
  await owner.ask({ type: 'register', instance: instance('stock', 'b.1', { port: 1002 }) })
  return owner
}

test('a disabled instance gets no calls by any watcher until it is enabled, and each change is audited once', async () => {
  await twoInstances()
  const watcher = await open('caller')
  watcher.send({ type: 'watch', service: 'stock' })
  await watcher.next('snapshot')
  expect((await put('b.1', { disabled: true })).json).toMatchObject({ disabled: true, weight: 100, changed: true })
  await watcher.next('delta', ({ put }) => put?.[0]?.id === 'b.1' && put[0].state === 'draining')
  expect((await put('b.1', { disabled: true })).json).toMatchObject({ disabled: true, changed: false })
  expect((await put('b.1', { disabled: false })).json).toMatchObject({ disabled: false, changed: true })
  await watcher.next('delta', ({ put }) => put?.[0]?.id === 'b.1' && put[0].state === 'ready')
  expect((await put('b.1', { disabled: false })).json.changed).toBe(false)
  const { audit } = (await command('GET', '/v1/audit')).json
  expect(audit.filter((one: { action: string }) => one.action.startsWith('instance-'))).toMatchObject([
    { action: 'instance-enable', who: 'admin', service: 'stock', outcome: 'done' },
    { action: 'instance-disable', who: 'admin', service: 'stock', detail: expect.stringContaining('b.1 at') },
  ])
})

test('an override outlives registrations, a restart at the address, drains, and a restart of the registry', async () => {
  const owner = await twoInstances()
  await put('a', { weight: 5 })
  await put('a', { disabled: true })
  await owner.ask({ type: 'register', instance: instance('stock', 'a', { port: 1001, weight: 70 }) })
  expect((await listed()).a).toMatchObject({ weight: 5, state: 'draining', own: { weight: 70, state: 'ready' } })
  // Another process at the same address.
  const credentials = await join(registry, 'stock')
  const next = await open('stock', credentials)
  await next.ask({ type: 'register', instance: instance('stock', 'a2', { port: 1001 }) })
  expect(await listed()).toMatchObject({ a2: { weight: 5, state: 'draining' }, 'b.1': { weight: 100, state: 'ready' } })
  expect(Object.keys(await listed()).sort()).toEqual(['a2', 'b.1'])
  await registry.close()
  registry = await startRegistry({ ...OPTIONS, dataDir: directory })
  expect((await listed()).a2).toMatchObject({ weight: 5, override: { disabled: true, weight: 5 } })
  expect((await put('a2', { disabled: false, reset: 'weight' })).json).toMatchObject({ weight: 100, changed: true })
  expect((await listed()).a2).toMatchObject({ weight: 100, state: 'ready' })
  expect((await listed()).a2!.override).toBeUndefined()
})

test('an enabled instance that drains meanwhile stays out', async () => {
  const owner = await twoInstances()
  await put('a', { disabled: true })
  await owner.ask({ type: 'drain', id: 'a' })
  await put('a', { disabled: false })
  expect((await listed()).a).toMatchObject({ state: 'draining' })
})

test('registrations and overrides at the same time end with both', async () => {
  const owner = await twoInstances()
  for (let i = 1; i <= 20; i++) {
    await Promise.all([
      put('a', { weight: i }),
      owner.ask({ type: 'register', instance: instance('stock', 'a', { port: 1001, version: `v${i}` }) }),
      put('a', { disabled: i % 2 === 0 }),
    ])
    expect((await listed()).a).toMatchObject({
      weight: i,
      version: `v${i}`,
      state: i % 2 === 0 ? 'draining' : 'ready',
    })
  }
})

test('a wrong change is refused with its field, and nobody but an operator may make one', async () => {
  const owner = await twoInstances()
  for (const [body, field] of [
    [{}, "expected 'disabled'"],
    [{ weight: 1001 }, 'weight'],
    [{ weight: '5' }, 'weight'],
    [{ disabled: 'yes' }, 'disabled'],
    [{ weight: 5, reset: 'weight' }, 'reset'],
    [{ disable: true }, 'disable'],
  ] as const) {
    const { status, json } = await put('a', body)
    expect(status).toBe(400)
    expect(json.error.message).toContain(field)
  }
  expect((await put('none', { disabled: true })).json.error).toMatchObject({ code: 'not-found' })
  expect((await put('a', { disabled: true }, 'nowhere')).json.error).toMatchObject({ code: 'not-found' })
  expect((await command('POST', '/v1/services/nowhere/release')).json.error.code).toBe('not-found')
  const credentials = await join(registry, 'stock')
  const refused = await request(registry, 'PUT', '/v1/services/stock/instances/a', {
    body: { disabled: true },
    credentials,
  })
  expect(refused.json.error.code).toBe('admin-required')
  await owner.ask({ type: 'deregister', id: 'a' })
  expect((await put('a', { disabled: true })).json.error.code).toBe('not-found')
})

test('an override of an address where nothing runs makes room for another, the oldest first', () => {
  const at = (i: number): string => `http://10.0.0.1:${i}`
  const many = Array.from(
    { length: MOST_OVERRIDES },
    (_, i) => [at(i), { disabled: true, weight: null, at: -i }] as const,
  )
  const overrides = new Map(many)
  const state = (running: number[]) => ({
    name: 'stock',
    overrides,
    addresses: new Map(running.map((i) => [at(i), 'a'])),
  })
  expect(displaced(state([MOST_OVERRIDES - 1, 0]) as never)).toBe(at(MOST_OVERRIDES - 2))
  expect(() => displaced(state(many.map((_, i) => i)) as never)).toThrow(/has 1000 overrides already/)
  overrides.delete(at(5))
  expect(displaced(state([]) as never)).toBeUndefined()
})
