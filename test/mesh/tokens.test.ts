/**
 * Tokens end to end: a real registry signs, and a mesh verifies. A token for another audience or of
 * another mesh is refused.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join as joinPath } from 'node:path'
import { createLocalJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { joinMesh, type Mesh, type MeshOptions } from '../../src/index.ts'
import { type Registry, startRegistry } from '../../src/registry/index.ts'
import { join, request } from '../rigs/registry-session.ts'

const OPTIONS = { port: 0, log: false, joinsPerSecond: 1_000 } as const
let directory: string
let registry: Registry
const meshes: Mesh[] = []

beforeEach(async () => {
  directory = mkdtempSync(joinPath(tmpdir(), 'inmesh-tokens-'))
  registry = await startRegistry({ ...OPTIONS, dataDir: joinPath(directory, 'registry') })
})

afterEach(async () => {
  for (const mesh of meshes.splice(0)) await mesh.close()
  await registry.close()
  rmSync(directory, { recursive: true, force: true })
})

async function mesh(service: string, options: Partial<MeshOptions> = {}): Promise<Mesh> {
  const joinToken = await registry.createJoinToken({ service })
  const joined = await joinMesh({
    service,
    registry: registry.url,
    joinToken,
    stateDir: 'memory',
    handleSignals: false,
    drainNotice: '100ms',
    joinTimeout: '30s',
    ...options,
  })
  meshes.push(joined)
  return joined
}

function refusal(reason: string) {
  return { code: 'identity-rejected', cause: { ok: false, reason } }
}

describe('a token', () => {
  test('of a denied subject is refused, also one that was verified before, and none is issued', async () => {
    const [checkout, inventory] = await Promise.all([mesh('checkout'), mesh('inventory')])
    const token = await checkout.token({ audience: 'inventory' })
    expect(await inventory.verifyToken(token)).toMatchObject({ service: 'checkout' })
    const body = { spiffeId: checkout.spiffeId }
    expect((await request(registry, 'POST', '/v1/denials', { body, admin: true })).status).toBe(201)
    const verdict = () => inventory.verifyToken(token).catch((error: unknown) => error)
    await vi.waitFor(async () => expect(await verdict()).toMatchObject(refusal('denied')), { timeout: 40_000 })
    await expect(checkout.token({ audience: 'another' })).rejects.toThrow(/identity-denied/)
    await request(registry, 'DELETE', `/v1/denials/${encodeURIComponent(checkout.spiffeId)}`, { admin: true })
    await vi.waitFor(async () => expect(await verdict()).toMatchObject({ service: 'checkout' }), { timeout: 40_000 })
  })

  test('says who asked for it, to the one service that it is for', async () => {
    const [checkout, inventory] = await Promise.all([mesh('checkout'), mesh('inventory')])
    const byName = await checkout.token({ audience: 'inventory' })
    const byId = await checkout.token({ audience: inventory.spiffeId, ttl: '1h' })
    expect(decodeProtectedHeader(byName)).toEqual({ alg: 'ES256', kid: expect.any(String), typ: 'JWT' })
    const { iat, exp, ...claims } = decodeJwt(byName)
    expect(claims).toEqual({ sub: 'spiffe://inmesh.local/service/checkout', aud: 'inventory' })
    expect(exp! - iat!).toBe(300)
    for (const token of [byName, byId]) {
      expect(await inventory.verifyToken(token)).toEqual({
        spiffeId: checkout.spiffeId,
        service: 'checkout',
        expiresAt: decodeJwt(token).exp! * 1000,
      })
    }
    await expect(checkout.verifyToken(byName)).rejects.toMatchObject(refusal('wrong-audience'))
    await expect(inventory.verifyToken(byName, { audience: 'https://x.example' })).rejects.toMatchObject(
      refusal('wrong-audience'),
    )
    expect(inventory.events().some(({ name }) => name === 'peer:refused')).toBe(true)
    expect(await checkout.token({ audience: 'inventory' })).toBe(byName)
  })

  test('can be verified outside the mesh, with the published keys and any library', async () => {
    const checkout = await mesh('checkout')
    const token = await checkout.token({ audience: 'https://partner.example' })
    const answer = await request(registry, 'GET', '/v1/jwks')
    expect(answer.status).toBe(200)
    for (const key of answer.json.keys) expect(Object.keys(key)).not.toContain('d')
    const { payload } = await jwtVerify(token, createLocalJWKSet(answer.json), { audience: 'https://partner.example' })
    expect(payload.sub).toBe(checkout.spiffeId)
  })

  test('of another mesh with the same name is refused', async () => {
    const inventory = await mesh('inventory')
    const other = await startRegistry({ ...OPTIONS, memory: true })
    try {
      const credentials = await join(other, 'checkout')
      const answer = await request(other, 'POST', '/v1/jwt', { credentials, body: { audience: 'inventory' } })
      await expect(inventory.verifyToken(answer.json.token)).rejects.toMatchObject(refusal('unknown-key'))
    } finally {
      await other.close()
    }
  })

  test('is verified by the same key after a restart of the registry, and, from the disk, without a registry', async () => {
    const stateDir = joinPath(directory, 'inventory')
    const [checkout, inventory] = await Promise.all([mesh('checkout'), mesh('inventory', { stateDir })])
    const token = await checkout.token({ audience: 'inventory' })
    await inventory.verifyToken(token)
    await inventory.close()
    const { port } = registry
    await registry.close()
    const again = await mesh2({ service: 'inventory', registry: registry.url, stateDir })
    expect((await again.verifyToken(token)).service).toBe('checkout')
    expect(await checkout.token({ audience: 'inventory' })).toBe(token)
    await expect(checkout.token({ audience: 'prices' })).rejects.toMatchObject({ code: 'registry-unavailable' })
    const before = decodeProtectedHeader(token).kid
    registry = await startRegistry({ ...OPTIONS, port, dataDir: joinPath(directory, 'registry') })
    expect((await request(registry, 'GET', '/v1/jwks')).json.keys[0].kid).toBe(before)
  })

  async function mesh2(options: MeshOptions): Promise<Mesh> {
    const joined = await joinMesh({ handleSignals: false, drainNotice: '100ms', joinTimeout: '2s', ...options })
    meshes.push(joined)
    return joined
  }

  test('is not made or looked at with wrong options, nor by a mesh that was closed', async () => {
    const checkout = await mesh('checkout')
    for (const options of [undefined, {}, { audience: '' }, { audience: 'a b' }, { audience: 'a', ttl: '2h' }]) {
      await expect(checkout.token(options as never)).rejects.toMatchObject({ code: 'invalid-options' })
    }
    await expect(checkout.verifyToken('x', { audience: 5 } as never)).rejects.toMatchObject({ code: 'invalid-options' })
    for (const token of [undefined, null, 5, '', 'x', 'a.b.c', '.'.repeat(100_000)]) {
      await expect(checkout.verifyToken(token as never)).rejects.toMatchObject(refusal('malformed-token'))
    }
    await checkout.close()
    await expect(checkout.token({ audience: 'a' })).rejects.toMatchObject({ code: 'closed' })
    await expect(checkout.verifyToken('x')).rejects.toMatchObject({ code: 'closed' })
  })
})

describe('POST /v1/jwt', () => {
  test('is for services with their certificate, with a short life and one audience', async () => {
    const body = { audience: 'inventory' }
    expect((await request(registry, 'POST', '/v1/jwt', { body })).json.error.code).toBe('identity-required')
    const asAdmin = await request(registry, 'POST', '/v1/jwt', { body, admin: true })
    expect(asAdmin.json.error.code).toBe('identity-required')
    const credentials = await join(registry, 'checkout')
    for (const wrong of [
      {},
      { audience: ['a', 'b'] },
      { audience: 'a', ttlMs: 3_600_001 },
      { audience: 'a', sub: 'x' },
    ]) {
      const answer = await request(registry, 'POST', '/v1/jwt', { credentials, body: wrong })
      expect(answer.json.error.code, JSON.stringify(wrong)).toBe('invalid-request')
    }
    const long = await request(registry, 'POST', '/v1/jwt', { credentials, body: { ...body, ttlMs: 3_600_000 } })
    expect(long.json.expiresAt - long.json.wallNow).toBeLessThanOrEqual(3_600_000)
    expect(long.json.expiresAt - long.json.wallNow).toBeGreaterThan(3_590_000)
    const { audit } = (await request(registry, 'GET', '/v1/audit', { admin: true })).json
    expect(audit.some((one: { action: string; outcome: string }) => one.action === 'jwt')).toBe(true)
  })

  test('gives no token that outlives the certificate it was asked with', async () => {
    await registry.close()
    registry = await startRegistry({ ...OPTIONS, memory: true, certificateLife: '20s' })
    const credentials = await join(registry, 'checkout')
    const { json } = await request(registry, 'POST', '/v1/jwt', { credentials, body: { audience: 'inventory' } })
    expect(json.expiresAt - json.wallNow).toBeLessThanOrEqual(20_000)
  })
})
