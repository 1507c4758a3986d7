/** Manifests outlive the registry, with their age and their history. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Registry, startRegistry } from '../../../src/registry/index.ts'
import { httpRoute, to } from '../../gateway-api/manifests.ts'
import { nextMillisecond } from '../../rigs/next-millisecond.ts'
import { request } from '../../rigs/registry-session.ts'

let dataDir: string
let registry: Registry
/** Shown at the first start only. */
let token: string
const start = async () => await startRegistry({ port: 0, dataDir, log: false })
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'inmesh-manifests-'))
  registry = await start()
  token = registry.adminToken!
})
afterEach(async () => {
  await registry.close()
  await rm(dataDir, { recursive: true })
})

async function get(path: string): Promise<Record<string, unknown>> {
  const { json } = await request(registry, 'GET', path, { headers: { authorization: `Bearer ${token}` } })
  return json as Record<string, unknown>
}

test('after a restart the same routes are served, and the older manifest still wins', async () => {
  const rule = { matches: [{ path: { value: '/a' } }], backendRefs: [to('echo-v1')] }
  await registry.applyPolicies([{ service: 'echo-v1', timeout: '1s' }, httpRoute('z', [rule])])
  await nextMillisecond()
  await registry.applyPolicies([httpRoute('a', [rule]), httpRoute('gone', [rule])])
  await registry.applyPolicies([httpRoute('z', [{ ...rule, timeouts: { request: '2s' } }])])
  const before = [await get('/v1/services/echo'), await get('/v1/manifests/HTTPRoute/default/z')]
  await registry.close()
  registry = await start()
  const after = [await get('/v1/services/echo'), await get('/v1/manifests/HTTPRoute/default/z')]
  expect(after[0]!.policy).toEqual(before[0]!.policy)
  expect(after[1]).toEqual(before[1])
  expect(after[0]!.policy).toMatchObject({
    routes: [{ name: 'default/z/0', timeout: '2s' }, { name: 'unmatched-http' }],
  })
  const { versions } = await get('/v1/manifests/HTTPRoute/default/z/history')
  expect(versions).toMatchObject([{ version: 2 }, { version: 1 }])
})
