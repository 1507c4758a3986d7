/**
 * Each limit of the table that registry and process share: met exactly it works from end to end,
 * one beyond is refused for good.
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Instance } from '../../src/discovery/instance.ts'
import { LIMITS } from '../../src/discovery/limits.ts'
import { joinMesh, type Mesh } from '../../src/index.ts'
import { type Registry, startRegistry } from '../../src/registry/index.ts'
import { instance } from '../rigs/instance.ts'
import { request, TestSession } from '../rigs/registry-session.ts'

let registry: Registry
const sessions: TestSession[] = []
const meshes: Mesh[] = []

beforeEach(async () => {
  registry = await startRegistry({
    port: 0,
    memory: true,
    dev: true,
    log: false,
    lease: '1m',
    joinsPerSecond: 1_000,
    signingsPerSecond: 1_000,
  })
})

afterEach(async () => {
  for (const session of sessions.splice(0)) session.close()
  for (const mesh of meshes.splice(0)) await mesh.close()
  await registry.close()
})

async function open(service: string): Promise<TestSession> {
  const session = await TestSession.open(registry, service)
  sessions.push(session)
  return session
}

async function join(service: string): Promise<Mesh> {
  const mesh = await joinMesh({
    service,
    registry: registry.url,
    stateDir: 'memory',
    handleSignals: false,
    drainNotice: 0,
    drainTimeout: 0,
  })
  meshes.push(mesh)
  return mesh
}

const lost = (mesh: Mesh): number => mesh.events().filter(({ name }) => name === 'registry:lost').length

/** By process and subject: the revision in force. */
const inForce = new Map<string, number>()
const note = (message: unknown): void => {
  const { service, subject, revision } = message as { service: string; subject: string; revision: number }
  inForce.set(`${service} ${subject}`, revision)
}
beforeEach(() => subscribe('inmesh:snapshot:applied', note))
afterEach(() => {
  unsubscribe('inmesh:snapshot:applied', note)
  inForce.clear()
})

/** The process has in force what the registry says of the service. */
async function untilInForce(mesh: Mesh, subject: string): Promise<void> {
  const { json } = await request(registry, 'GET', `/v1/services/${subject}`)
  await expect.poll(() => inForce.get(`${mesh.service} ${subject}`), { timeout: 60_000 }).toBe(json.revision)
}

/**
 * An instance with `entries` entries of metadata, each of `text` characters.
 */
function padded(id: string, text: number, entries = 1, char = 'x'): Instance {
  const metadata = Object.fromEntries(Array.from({ length: entries }, (_, i) => [`k${i}`, char.repeat(text)]))
  return instance('wide', id, { port: 20_000 + Number(id.slice(1)), metadata })
}

async function registerAll(instances: readonly Instance[]): Promise<void> {
  for (let i = 0; i < instances.length; i += LIMITS.instancesPerSession) {
    const session = await open('wide')
    const some = instances.slice(i, i + LIMITS.instancesPerSession)
    const answers = await Promise.all(some.map((one) => session.ask({ type: 'register', instance: one })))
    for (const answer of answers) expect(answer).toMatchObject({ type: 'done' })
  }
}

describe('metadata', () => {
  it('of the largest size is registered and read', async () => {
    const session = await open('wide')
    const largest = padded('i1', LIMITS.metadataText, LIMITS.metadataEntries, '\u0001')
    expect(await session.ask({ type: 'register', instance: largest })).toMatchObject({ type: 'done' })
    const caller = await join('caller')
    await caller
      .http('wide')
      .get('/', { timeout: '200ms' })
      .catch(() => {})
    await untilInForce(caller, 'wide')
  })

  it.each([
    ['an entry more', () => padded('i1', 1, LIMITS.metadataEntries + 1)],
    ['a character more', () => padded('i1', LIMITS.metadataText + 1)],
    ['a longer id', () => instance('wide', 'i'.repeat(LIMITS.instanceId + 1))],
  ])('with %s is refused and the session stays', async (_, wrong) => {
    const session = await open('wide')
    expect(await session.ask({ type: 'register', instance: wrong() })).toMatchObject({ code: 'invalid-request' })
    expect(await session.ask({ type: 'register', instance: instance('wide', 'i2') })).toMatchObject({ type: 'done' })
  })
})

describe('a service', { timeout: 240_000 }, () => {
  it('with more bytes than a line holds reaches its callers, whose sessions last', async () => {
    await registerAll(Array.from({ length: 150 }, (_, i) => padded(`i${i}`, 500, 64)))
    const caller = await join('caller')
    const call = () =>
      caller
        .http('wide')
        .get('/', { timeout: '3s', retry: false })
        .catch((error) => error.code)
    await call()
    await untilInForce(caller, 'wide')
    // It has endpoints, though no server listens there.
    expect(await call()).not.toBe('no-endpoints')
    expect(lost(caller)).toBe(0)
    // A change is a delta to the same list, and another service is not held up.
    const session = await open('wide')
    await session.ask({ type: 'register', instance: padded('i900', 500, 64) })
    await registry.applyPolicies([{ service: 'caller', timeout: '4s' }])
    await untilInForce(caller, 'caller')
    await untilInForce(caller, 'wide')
    expect(caller.events().filter(({ name }) => name === 'snapshot:rejected')).toEqual([])
  })

  it('may have so many bytes, and one byte more is refused for good', async () => {
    const entry = padded('i10000', LIMITS.metadataText, LIMITS.metadataEntries)
    const bytes = Buffer.byteLength(JSON.stringify(entry))
    const many = Math.floor(LIMITS.bytesPerService / bytes)
    await registerAll(
      Array.from({ length: many }, (_, i) => padded(`i${10_000 + i}`, LIMITS.metadataText, LIMITS.metadataEntries)),
    )
    const session = await open('wide')
    // What is left, exactly.
    const base = Buffer.byteLength(JSON.stringify(padded('i40000', 0)))
    let left = LIMITS.bytesPerService - many * bytes - base
    const metadata: Record<string, string> = { k0: 'x'.repeat(Math.min(left, LIMITS.metadataText)) }
    left -= metadata.k0!.length
    for (let i = 10; left > 0; i++) {
      // `,"k10":""`
      const room = Math.min(LIMITS.metadataText, left - 9)
      metadata[`k${i}`] = 'x'.repeat(room)
      left -= room + 9
      if (left > 0 && left < 10) throw new Error('choose other sizes')
    }
    const last = instance('wide', 'i40000', { port: 60_000, metadata })
    const over = { ...last, version: 'v' }
    const refused = await session.ask({ type: 'register', instance: over })
    expect(refused).toMatchObject({ type: 'error', code: 'limit-exceeded' })
    expect(await session.ask({ type: 'register', instance: last })).toMatchObject({ type: 'done' })
    session.send({ type: 'watch', service: 'wide' })
    const first = await session.next('snapshot')
    expect(first.parts).toBeGreaterThan(1)
    await session.next('part', ({ part }) => part === first.parts)
    const caller = await join('caller')
    await caller
      .http('wide')
      .get('/', { timeout: '3s', retry: false })
      .catch(() => {})
    await untilInForce(caller, 'wide')
    expect(lost(caller)).toBe(0)
  })

  it('may have so many instances, and one more is refused for good', async () => {
    const all = Array.from({ length: LIMITS.instancesPerService }, (_, i) => padded(`i${i}`, 1))
    await registerAll(all)
    const session = await open('wide')
    expect(await session.ask({ type: 'register', instance: padded('i30000', 1) })).toMatchObject({
      code: 'limit-exceeded',
    })
    session.send({ type: 'watch', service: 'wide' })
    expect((await session.next('snapshot')).type).toBe('snapshot')
    const caller = await join('caller')
    await caller
      .http('wide')
      .get('/', { timeout: '3s', retry: false })
      .catch(() => {})
    await untilInForce(caller, 'wide')
  })
})

describe('a process', () => {
  it('serves so many listeners; one more is refused clearly, and its session stays', async () => {
    const many = await join('many')
    const answer = (_request: unknown, response: { end(): void }): void => response.end()
    for (let i = 0; i < LIMITS.instancesPerSession; i++) {
      await many.serve(answer as never, { port: 0, host: '127.0.0.1', mode: 'plaintext' })
    }
    await expect(many.serve(answer as never, { port: 0, host: '127.0.0.1', mode: 'plaintext' })).rejects.toMatchObject({
      code: 'registry-refused',
      message: expect.stringContaining(`${LIMITS.instancesPerSession} registered instances`),
    })
    await registry.applyPolicies([{ service: 'many', timeout: '4s' }])
    await untilInForce(many, 'many')
    expect(lost(many)).toBe(0)
    const listed = await request(registry, 'GET', '/v1/services/many')
    expect(listed.json.instances).toHaveLength(LIMITS.instancesPerSession)
  })

  it('watches so many services; one more is refused, and the session stays', async () => {
    const session = await open('many')
    for (let i = 0; i < LIMITS.watchesPerSession; i++) session.send({ type: 'watch', service: `s${i}` })
    await session.next('snapshot', ({ service }) => service === `s${LIMITS.watchesPerSession - 1}`)
    session.send({ type: 'watch', service: 'one-more' })
    expect(await session.next('error')).toMatchObject({ code: 'limit-exceeded' })
    session.send({ type: 'unwatch', service: 's0' })
    session.send({ type: 'watch', service: 'one-more' })
    expect(await session.next('snapshot', ({ service }) => service === 'one-more')).toMatchObject({ instances: [] })
  })
})

describe('a policy document', () => {
  const document = (characters: number) => ({
    service: 'wide',
    allow: Array.from({ length: 250 }, (_, i) => ({
      from: 'caller',
      paths: [`/${String(i).padStart(3, '0')}${'x'.repeat(characters)}`],
    })),
  })

  it('of almost the largest size reaches a process, and a larger one is refused', async () => {
    const size = (characters: number): number => Buffer.byteLength(JSON.stringify(document(characters)))
    let characters = 1
    while (size(characters + 1) <= LIMITS.documentBytes) characters += 1
    const mesh = await join('wide')
    await registry.applyPolicies([document(characters)])
    await untilInForce(mesh, 'wide')
    await expect(registry.applyPolicies([document(characters + 1)])).rejects.toThrow(/longer than/)
  })
})
