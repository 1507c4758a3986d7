/** A change says which version it means to change; what it has not seen is not lost. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Registry, startRegistry } from '../../src/registry/index.ts'
import { request } from '../rigs/registry-session.ts'

let registry: Registry
beforeEach(async () => {
  registry = await startRegistry({ port: 0, memory: true, log: false })
  await change('PUT', '/v1/policies/stock', { timeout: '1s' })
  await change('PUT', '/v1/policies/stock', { timeout: '2s' })
})
afterEach(() => registry.close())

function change(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) {
  const authorization = `Bearer ${registry.adminToken}`
  return request(registry, method, path, { body, headers: { authorization, ...headers } })
}

const CHANGES: [string, string, string, unknown][] = [
  ['a new document', 'PUT', '/v1/policies/stock', { timeout: '3s' }],
  ['a deletion', 'DELETE', '/v1/policies/stock', undefined],
  ['a rollback', 'POST', '/v1/policies/stock/rollback', { version: 1 }],
]

describe.each(CHANGES)('%s', (_name, method, path, body) => {
  test.each([
    ['if-match', '"1"', 409],
    ['if-match', '1', 409],
    ['if-match', 'W/"2"', 409],
    ['if-match', '"another"', 409],
    ['if-none-match', '*', 409],
    ['if-none-match', 'W/"2"', 409],
    ['if-match', '', 400],
    ['if-match', ' , ,', 400],
    ['if-match', '"2', 400],
    ['if-match', '2.0', 400],
    ['if-unmodified-since', 'Sat, 01 Jan 2000 00:00:00 GMT', 400],
  ])('with %s: %s is refused and changes nothing', async (name, value, status) => {
    expect((await change(method, path, body, { [name]: value })).status).toBe(status)
    expect((await change('GET', '/v1/policies/stock')).json).toMatchObject({ version: 2, document: { timeout: '2s' } })
  })

  test.each([
    ['if-match', '"2"'],
    ['if-match', '"7", W/"3", "2"'],
    ['if-match', ', "2" ,, '],
    ['if-match', '*'],
    ['if-none-match', '"1"'],
  ])('with %s: %s is made', async (name, value) => {
    expect((await change(method, path, body, { [name]: value })).status).toBe(200)
  })
})

test('a document that was deleted, or never was, has no version that matches', async () => {
  await change('DELETE', '/v1/policies/stock')
  for (const path of ['/v1/policies/stock', '/v1/policies/other']) {
    expect((await change('PUT', path, { timeout: '3s' }, { 'if-match': '*' })).status).toBe(409)
    expect((await change('PUT', path, { timeout: '3s' }, { 'if-none-match': '*' })).status).toBe(200)
    expect((await change('PUT', path, { timeout: '4s' }, { 'if-none-match': '*' })).status).toBe(409)
  }
})

test('several documents say their versions in the body, and all or none are applied', async () => {
  const documents = [
    { service: 'stock', timeout: '5s' },
    { service: 'new', timeout: '5s' },
  ]
  const apply = (expected: unknown, headers = {}) => change('POST', '/v1/policies', { documents, expected }, headers)
  expect((await apply(undefined, { 'if-match': '"2"' })).status).toBe(400)
  expect((await apply({ stock: 1, new: 0 })).status).toBe(409)
  expect((await apply({ stock: 2, new: 1 })).status).toBe(409)
  expect((await apply({ absent: 1 })).status).toBe(400)
  expect((await apply({ stock: '2' })).status).toBe(400)
  expect((await change('GET', '/v1/policies')).json.policies).toHaveLength(1)
  expect((await apply({ stock: 2, new: 0 })).status).toBe(200)
})

test('what has no versions refuses a precondition', async () => {
  const body = { service: 'stock' }
  expect((await change('POST', '/v1/tokens', body, { 'if-none-match': '*' })).status).toBe(400)
  const { id } = (await change('POST', '/v1/tokens', body)).json
  expect((await change('DELETE', `/v1/tokens/${id}`, undefined, { 'if-match': '"1"' })).status).toBe(400)
  expect((await change('DELETE', `/v1/tokens/${id}`)).status).toBe(200)
})

test.each([
  ['DELETE', '/v1/policies/stock?dryRun=1', undefined, 'this change takes no parameters'],
  ['POST', '/v1/policies/stock/rollback?dryRun=1', { version: 1 }, 'this change takes no parameters'],
  ['POST', '/v1/policies?dry-run=1', { documents: [{ service: 'stock', timeout: '9s' }] }, 'there is dryRun'],
  ['PUT', '/v1/policies/stock?dryrun', { timeout: '9s' }, 'there is dryRun'],
])('%s %s is refused, because it would change what its sender meant to try', async (method, path, body, hint) => {
  const { status, json } = await change(method, path, body)
  expect([status, json.error.message]).toEqual([400, expect.stringContaining(hint)])
  expect((await change('GET', '/v1/policies/stock')).json).toMatchObject({ version: 2, document: { timeout: '2s' } })
})
