/** Operators deny an identity: what the registries do about it. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join as joinPath } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { BUNDLE_LIMITS } from '../../src/identity/trust-bundle.ts'
import { joinMesh } from '../../src/index.ts'
import { type Registry, startRegistry } from '../../src/registry/index.ts'
import { startRegistryOn } from '../../src/registry/registry.ts'
import { MemoryStorage } from '../../src/registry/storage/memory.ts'
import { instance } from '../rigs/instance.ts'
import { csrOf, join, newKey, request, TestSession } from '../rigs/registry-session.ts'
import { StorageView } from '../rigs/storage-view.ts'

const ID = 'spiffe://inmesh.local/service/checkout'
const OTHER = 'spiffe://inmesh.local/service/billing'

let registry: Registry
const opened: { close(): unknown }[] = []
beforeEach(async () => {
  registry = await startRegistry({ port: 0, memory: true, log: false })
})
afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.close()
  await registry.close()
})

const deny = (body: object, at = registry) => request(at, 'POST', '/v1/denials', { body, headers: admin() })
const allow = (id: string, at = registry) =>
  request(at, 'DELETE', `/v1/denials/${encodeURIComponent(id)}`, { headers: admin() })
const admin = () => ({ authorization: `Bearer ${registry.adminToken}` })
const bundle = async (at = registry) => (await request(at, 'GET', '/v1/bundle')).json
const listed = async (at = registry) =>
  ((await request(at, 'GET', '/v1/services/checkout', { headers: admin() })).json.instances ?? []).length

async function session(service: string, at = registry): Promise<TestSession> {
  const made = await TestSession.open(at, service)
  opened.push(made)
  return made
}

test('raises the sequence of the bundle, tells every session, and takes it back', async () => {
  const other = await session('billing')
  const before = (await other.next('bundle')).sequence
  const answer = await deny({ spiffeId: ID, reason: 'key stolen' })
  expect(answer).toMatchObject({ status: 201, json: { spiffeId: ID, reason: 'key stolen', until: null, by: 'admin' } })
  const pushed = await other.next('bundle', ({ denied }) => denied?.includes(ID) === true)
  expect(pushed.sequence).toBeGreaterThan(before)
  expect(await bundle()).toMatchObject({ denied: [ID], sequence: pushed.sequence })
  const { denials } = (await request(registry, 'GET', '/v1/denials', { headers: admin() })).json
  expect(denials).toEqual([{ spiffeId: ID, reason: 'key stolen', until: null, by: 'admin', at: expect.any(Number) }])

  expect((await allow(ID)).status).toBe(200)
  const lifted = await other.next('bundle', ({ sequence }) => sequence > pushed.sequence)
  expect(lifted.denied).toEqual([])
  const { audit } = (await request(registry, 'GET', '/v1/audit', { headers: admin() })).json
  expect(audit.slice(0, 2)).toMatchObject([
    { action: 'allow', who: 'admin', service: 'checkout', outcome: 'done' },
    { action: 'deny', who: 'admin', service: 'checkout', outcome: 'done', detail: `${ID}: key stolen` },
  ])
})

test('ends the sessions of the identity with a clear error, and takes its instances off the list', async () => {
  const [denied, other] = await Promise.all([session('checkout'), session('billing')])
  await denied.ask({ type: 'register', instance: instance('checkout', 'c-1') })
  other.send({ type: 'watch', service: 'checkout' })
  await other.next('snapshot', ({ instances }) => instances.length === 1)
  await deny({ spiffeId: ID })
  expect(await listed()).toBe(0)
  await other.next('delta', ({ gone }) => gone?.some(({ id, why }) => id === 'c-1' && why === 'left') === true)
  expect(await denied.next('error')).toMatchObject({
    code: 'identity-denied',
    message: `an operator denied ${ID} all access`,
  })
  await denied.until(() => denied.closed)
  expect(denied.received.some((one) => one.type === 'bundle' && one.denied?.includes(ID))).toBe(false)
  expect(other.closed).toBe(false)
})

test('refuses it a session, a certificate, a token and everything else, also on an open connection', async () => {
  const credentials = await join(registry, 'checkout')
  const token = await registry.createJoinToken({ service: 'checkout', uses: 1 })
  await deny({ spiffeId: ID })
  const refused = { status: 403, json: { error: { code: 'identity-denied', message: expect.stringContaining(ID) } } }
  const csr = csrOf(newKey())
  for (const [method, path, body] of [
    ['POST', '/v1/renew', { csr }],
    ['POST', '/v1/jwt', { audience: 'billing' }],
    ['GET', '/v1/services/billing', undefined],
    ['GET', '/v1/bundle', undefined],
  ] as const) {
    expect(await request(registry, method, path, { body, credentials }), path).toMatchObject(refused)
  }
  const closed = new TestSession(registry, credentials, 'checkout')
  opened.push(closed)
  await closed.until(() => closed.closed)
  expect(closed.status).toBe(403)
  const join_ = () => request(registry, 'POST', '/v1/join', { body: { service: 'checkout', csr, token } })
  expect(await join_()).toMatchObject(refused)
  await allow(ID)
  expect((await join_()).status, 'the refusal took no use of the token').toBe(200)
})

test('a denial with a time ends by itself, once, and says so', async () => {
  const other = await session('billing')
  await deny({ spiffeId: ID, forMs: 1_000 })
  const { sequence } = await other.next('bundle', ({ denied }) => denied?.includes(ID) === true)
  await other.next('bundle', (one) => one.sequence > sequence && one.denied?.length === 0)
  const { audit } = (await request(registry, 'GET', '/v1/audit', { headers: admin() })).json
  expect(audit[0]).toMatchObject({ action: 'allow', who: 'registry', detail: `${ID}: its time is over` })
})

test('another reason or time changes the record and not the bundle; the same changes nothing', async () => {
  await deny({ spiffeId: ID, reason: 'a' })
  const { sequence } = await bundle()
  expect((await deny({ spiffeId: ID, reason: 'a' })).json).toMatchObject({ change: 'unchanged' })
  expect((await deny({ spiffeId: ID, reason: 'b' })).json).toMatchObject({ change: 'updated', reason: 'b' })
  expect((await deny({ spiffeId: ID, reason: 'b', forMs: 60_000 })).json).toMatchObject({ change: 'updated' })
  expect((await bundle()).sequence).toBe(sequence)
})

test.each([
  ['checkout', 'no SPIFFE id; expected one such as spiffe://inmesh.local/service/checkout'],
  ['spiffe://inmesh.local/service/', 'no SPIFFE id'],
  ['https://inmesh.local/service/a', 'no SPIFFE id'],
  ['spiffe://other.mesh/service/a', "of trust domain 'other.mesh', and this mesh is 'inmesh.local'"],
  ['spiffe://inmesh.local', 'names the whole mesh'],
  ['spiffe://inmesh.local/registry', 'the identity of the registries'],
  [`spiffe://inmesh.local/${'a'.repeat(600)}`, 'at most 512 characters'],
])('refuses %s with a hint, for both commands, and changes nothing', async (spiffeId, hint) => {
  const before = await bundle()
  for (const answer of [await deny({ spiffeId }), await allow(spiffeId)]) {
    expect(answer).toMatchObject({ status: 400, json: { error: { code: 'invalid-request' } } })
    expect(answer.json.error.message).toContain(hint)
  }
  expect((await bundle()).sequence).toBe(before.sequence)
})

test('refuses wrong bodies, strangers, members, read-only operators, and what is not denied', async () => {
  for (const body of [
    {},
    { spiffeId: 7 },
    { spiffeId: ID, forMs: 1 },
    { spiffeId: ID, reason: 'a\nb' },
    { spiffeId: ID, x: 1 },
  ]) {
    expect((await deny(body)).status, JSON.stringify(body)).toBe(400)
  }
  expect((await request(registry, 'POST', '/v1/denials', { body: { spiffeId: ID } })).status).toBe(403)
  const credentials = await join(registry, 'billing')
  expect((await request(registry, 'POST', '/v1/denials', { body: { spiffeId: ID }, credentials })).status).toBe(403)
  expect((await request(registry, 'GET', '/v1/denials', { credentials })).status).toBe(403)
  expect(await allow(ID)).toMatchObject({ status: 404, json: { error: { message: `${ID} is not denied` } } })
  expect((await bundle()).denied).toEqual([])
})

test('a bundle holds a thousand; one more is one clear error', async () => {
  const storage = new MemoryStorage()
  opened.push(storage)
  // As long as they may be.
  const id = (i: number): string => `spiffe://inmesh.local/service/s${i}/`.padEnd(512, 'x')
  const records = Array.from({ length: BUNDLE_LIMITS.denied - 1 }, (_, i) => ({
    key: `deny/${encodeURIComponent(id(i))}`,
    value: JSON.stringify({ spiffeId: id(i), at: 1, until: null, by: 'admin' }),
  }))
  await storage.transact([], records)
  const full = await startRegistryOn(new StorageView(storage), 'full', { port: 0, log: false })
  opened.push(full)
  const headers = { authorization: `Bearer ${full.adminToken}` }
  const add = (spiffeId: string) => request(full, 'POST', '/v1/denials', { body: { spiffeId }, headers })
  expect((await add(ID)).status).toBe(201)
  expect(await add(OTHER)).toMatchObject({ status: 409, json: { error: { code: 'limit-exceeded' } } })
  expect((await add(ID)).json, 'one that is there can be changed').toMatchObject({ change: 'unchanged' })
  expect((await bundle(full)).denied).toHaveLength(BUNDLE_LIMITS.denied)
  expect((await session('billing', full)).closed).toBe(false)
  const joinToken = await full.createJoinToken({ service: 'billing' })
  const mesh = await joinMesh({
    service: 'billing',
    registry: full.url,
    joinToken,
    stateDir: 'memory',
    handleSignals: false,
  })
  opened.push(mesh)
  expect(mesh.spiffeId, 'a process joins with so full a bundle').toBe(OTHER)
  await request(full, 'DELETE', `/v1/denials/${encodeURIComponent(id(7))}`, { headers })
  expect((await add(OTHER)).status).toBe(201)
})

test('reaches the processes of every registry on the store, and one that starts later', async () => {
  const storage = new MemoryStorage()
  opened.push(storage)
  const start = async (id: string): Promise<Registry> => {
    const made = await startRegistryOn(new StorageView(storage), id, { port: 0, log: false })
    opened.push(made)
    return made
  }
  const first = await start('first')
  const second = await start('second')
  const operator = { authorization: `Bearer ${first.adminToken}` }
  const [denied, other] = [await session('checkout', second), await session('billing', second)]
  await denied.ask({ type: 'register', instance: instance('checkout', 'c-1') })
  const answer = await request(first, 'POST', '/v1/denials', { body: { spiffeId: ID }, headers: operator })
  expect(answer.status).toBe(201)
  await other.next('bundle', ({ denied: ids }) => ids?.includes(ID) === true)
  expect(await denied.next('error')).toMatchObject({ code: 'identity-denied' })
  const left = async () =>
    (await request(second, 'GET', '/v1/services/checkout', { headers: operator })).json.instances ?? []
  await expect.poll(left).toEqual([])
  expect(await bundle(await start('third'))).toMatchObject({ denied: [ID] })
  await request(second, 'POST', '/v1/denials', { body: { spiffeId: OTHER, forMs: 1_000 }, headers: operator })
  await expect.poll(async () => (await bundle(first)).denied).toEqual([ID])
  const { audit } = (await request(second, 'GET', '/v1/audit', { headers: operator })).json
  expect(audit.filter(({ action }: { action: string }) => action === 'allow')).toHaveLength(1)
})

test('is kept over a restart', async () => {
  const dataDir = mkdtempSync(joinPath(tmpdir(), 'inmesh-denials-'))
  opened.push({ close: () => rmSync(dataDir, { recursive: true }) })
  const first = await startRegistry({ port: 0, dataDir, log: false })
  const headers = { authorization: `Bearer ${first.adminToken}` }
  await request(first, 'POST', '/v1/denials', { body: { spiffeId: ID }, headers })
  await first.close()
  const again = await startRegistry({ port: 0, dataDir, log: false })
  opened.push(again)
  expect(await bundle(again)).toMatchObject({ denied: [ID] })
  await expect(join(again, 'checkout')).rejects.toThrow(/identity-denied/)
})
