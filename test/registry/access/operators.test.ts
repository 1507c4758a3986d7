/** Operators' tokens: names in the audit log, reading only, rotation. Over real sockets. */
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import https from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { ROUTES } from '../../../src/registry/api/routes.ts'
import { type Registry, startRegistry } from '../../../src/registry/index.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'
import { request } from '../../rigs/registry-session.ts'

const OPTIONS = { port: 0, log: false } as const
let registry: Registry
let directory: string
let first: string

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'inmesh-operators-'))
  registry = await startRegistry({ ...OPTIONS, dataDir: directory })
  first = registry.adminToken!
})

afterEach(async () => {
  await registry.close()
  await rm(directory, { recursive: true })
})

function as(token: string, method: string, path: string, body?: unknown) {
  return request(registry, method, path, {
    headers: { authorization: `Bearer ${token}` },
    ...(body === undefined ? {} : { body }),
  })
}

async function create(name: string, more: object = {}): Promise<{ id: string; token: string }> {
  const { status, json } = await as(first, 'POST', '/v1/operators', { name, ...more })
  expect(status).toBe(201)
  return json
}

test('an operator commands by a token of their own, and the audit log names them', async () => {
  const alice = await create('alice')
  expect((await as(alice.token, 'PUT', '/v1/policies/stock', { timeout: '1s' })).status).toBe(200)
  const { audit } = (await as(alice.token, 'GET', '/v1/audit')).json
  expect(audit).toEqual(
    expect.arrayContaining([
      expect.objectContaining({ action: 'policy-apply', who: 'operator:alice' }),
      expect.objectContaining({ action: 'operator-create', who: 'admin', detail: expect.stringContaining('alice') }),
    ]),
  )
  expect((await as(alice.token, 'GET', '/v1/policies/stock')).json.by).toBe('operator:alice')
})

test('a read-only token reads everything, compares, and changes nothing', async () => {
  const { token } = await create('dashboard', { access: 'read' })
  for (const { method, path, access } of ROUTES) {
    // Those that go on, and what only other registries may ask.
    if (/watch|ready|stream/.test(path.source) || access === 'registry') continue
    const plain = path.source
      .slice(1, -1)
      .replaceAll('\\/', '/')
      .replaceAll(/\([^)]*\)/g, 'stock')
    const url = /traffic\/(series|routes|instances)/.test(plain) ? `${plain}?service=stock` : plain
    const { json } = await as(token, method, url, method === 'GET' ? undefined : { documents: [] })
    const { code, message } = json?.error ?? {}
    if (method === 'GET') expect([url, code ?? 'ok']).toEqual([url, expect.stringMatching(/^(ok|not-found)$/)])
    // The last one only reads.
    else if (!/join|renew|jwt|explain/.test(url)) {
      expect([method, url, code]).toEqual([method, url, 'admin-required'])
      expect(message).toBe('operator:dashboard may read and not change anything')
    }
  }
  const dry = await as(token, 'POST', '/v1/policies?dryRun=1', { documents: [{ service: 'stock', timeout: '1s' }] })
  expect(dry.json.changes).toMatchObject([{ change: 'created' }])
  expect((await as(first, 'GET', '/v1/policies')).json.policies).toEqual([])
  const { audit } = (await as(first, 'GET', '/v1/audit')).json
  expect(audit).toContainEqual(expect.objectContaining({ outcome: 'refused', who: 'operator:dashboard' }))
})

test('a token is rotated by another before it is revoked, the first one too, and stays so over a restart', async () => {
  const [old, next] = [await create('alice'), await create('alice')]
  expect((await as(next.token, 'DELETE', `/v1/operators/${old.id}`)).json).toMatchObject({ revoked: true })
  expect((await as(old.token, 'GET', '/v1/policies')).json.error.code).toBe('admin-required')
  expect((await as(first, 'GET', '/v1/policies')).status).toBe(200)
  expect((await as(next.token, 'DELETE', '/v1/operators/admin')).status).toBe(200)
  expect((await as(first, 'GET', '/v1/policies')).json.error.code).toBe('admin-required')
  expect(existsSync(join(directory, 'admin-token'))).toBe(false)
  await registry.close()
  registry = await startRegistry({ ...OPTIONS, dataDir: directory })
  expect(registry.adminToken).toBeUndefined()
  expect((await as(first, 'GET', '/v1/policies')).json.error.code).toBe('admin-required')
  const { operators } = (await as(next.token, 'GET', '/v1/operators')).json
  expect(operators).toMatchObject([{ name: 'alice', access: 'admin', expiresAt: null }])
})

test('the last token that may change anything for good cannot be revoked, also by two at the same time', async () => {
  await create('reader', { access: 'read' })
  await create('soon', { ttlMs: 60_000 })
  expect((await as(first, 'DELETE', '/v1/operators/admin')).json.error.code).toBe('conflict')
  const alice = await create('alice')
  const answers = await Promise.all([
    as(first, 'DELETE', `/v1/operators/${alice.id}`),
    as(alice.token, 'DELETE', '/v1/operators/admin'),
  ])
  expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
  expect((await as(first, 'DELETE', '/v1/operators/none')).status).not.toBe(200)
})

test('a token ends with its time', async () => {
  const clock = new FakeClock({ seed: 1 })
  const { Operators } = await import('../../../src/registry/access/operators.ts')
  const records = new Map<string, unknown>()
  const state = {
    operators: records,
    adminHash: undefined,
    write: async ([{ key, value }]: [{ key: string; value: string }]) => {
      records.set(key.split('/')[1]!, JSON.parse(value))
      return { ok: true, revision: 1 }
    },
  }
  const pins = { fingerprint: 'F'.repeat(43), pins: ['F'.repeat(43)] }
  const operators = new Operators(state as never, { operations: () => [] } as never, clock, pins, () => {})
  const { token } = await operators.create({ name: 'a', access: 'admin', ttlMs: 1_000 }, 'admin', 'local')
  expect(operators.authenticate(token)).toMatchObject({ name: 'operator:a', access: 'admin' })
  clock.advance(1_001)
  expect(operators.authenticate(token)).toBeUndefined()
})

test('no secret is in the store, and wrong requests name their field', async () => {
  const { token } = await create('alice')
  await registry.close()
  for (const end of ['', '-wal']) {
    const path = join(directory, `registry.db${end}`)
    if (existsSync(path)) expect((await readFile(path)).includes(token.split('.')[1]!)).toBe(false)
  }
  registry = await startRegistry({ ...OPTIONS, dataDir: directory })
  expect((await as(token, 'GET', '/v1/policies')).status).toBe(200)
  for (const [body, field] of [
    [{}, 'name'],
    [{ name: 'a b' }, 'name'],
    [{ name: 'a', access: 'write' }, 'access'],
    [{ name: 'a', ttlMs: 5 }, 'ttlMs'],
    [{ name: 'a', acces: 'read' }, 'acces'],
  ] as const) {
    const { status, json } = await as(first, 'POST', '/v1/operators', body)
    expect(status).toBe(400)
    expect(json.error.message).toContain(field)
  }
})

function begin(token: string, method: string, path: string, headers: Record<string, string> = {}) {
  const outgoing = https.request(new URL(path, registry.url), {
    method,
    agent: false,
    ca: [...registry.roots],
    servername: 'localhost',
    headers: { authorization: `Bearer ${token}`, ...headers },
  })
  const closed = new Promise<void>((resolve) => outgoing.on('close', () => resolve()))
  outgoing.on('error', () => undefined)
  return { outgoing, closed }
}

test('what an operator began ends with the token: a stream, a long poll, a change that is half sent', async () => {
  const { id, token } = await create('alice')
  await as(first, 'PUT', '/v1/policies/stock', { timeout: '1s' })
  const stream = begin(token, 'GET', '/v1/watch?service=stock')
  stream.outgoing.end()
  const [events] = (await once(stream.outgoing, 'response')) as [IncomingMessage]
  events.on('error', () => undefined).resume()
  const poll = begin(token, 'GET', `/v1/services/stock?since=${registry.revision}&wait=60s`)
  poll.outgoing.end()
  const change = begin(token, 'PUT', '/v1/policies/stock', { 'content-length': '16' })
  change.outgoing.write('{"timeout":')
  expect((await as(first, 'DELETE', `/v1/operators/${id}`)).status).toBe(200)
  await Promise.all([stream.closed, poll.closed, change.closed])
  expect((await as(first, 'GET', '/v1/policies/stock')).json.document).toMatchObject({ timeout: '1s' })
})
