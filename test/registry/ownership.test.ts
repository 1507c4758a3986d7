/**
 * Whose an instance is: it is listed while its process is heard, and an address has one instance.
 * Over real sockets.
 */
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { type Registry, startRegistry } from '../../src/registry/index.ts'
import { StorageError } from '../../src/registry/storage/errors.ts'
import { MemoryStorage } from '../../src/registry/storage/memory.ts'
import { instance } from '../rigs/instance.ts'
import { join, request, TestSession } from '../rigs/registry-session.ts'
import { SkippingClock } from '../rigs/skipping-clock.ts'

const LEASE_MS = 20_000

let clock: SkippingClock
let registry: Registry
const sessions: TestSession[] = []

beforeEach(async () => {
  clock = new SkippingClock()
  registry = await startRegistry({ port: 0, memory: true, log: false, lease: LEASE_MS, joinsPerSecond: 1_000, clock })
})

afterEach(async () => {
  for (const session of sessions.splice(0)) session.close()
  await registry.close()
})

async function open(service: string, credentials?: Awaited<ReturnType<typeof join>>): Promise<TestSession> {
  const session = await TestSession.open(registry, service, credentials)
  sessions.push(session)
  return session
}

/** The lease of those that are silent ends, and the patience with their sessions does not. */
const leaseEnds = (): Promise<void> => clock.pass(1.2 * LEASE_MS, sessions)

async function listed(service: string): Promise<{ id: string; state: string; port: number }[]> {
  return (await request(registry, 'GET', `/v1/services/${service}`, { admin: true })).json.instances
}

async function untilListed(service: string, ids: readonly string[]): Promise<void> {
  await expect.poll(async () => (await listed(service)).map(({ id }) => id).sort()).toEqual([...ids].sort())
}

test('an instance that was silent for longer than its lease is listed again when its process is heard', async () => {
  const owner = await open('inventory')
  await owner.ask({ type: 'register', instance: instance('inventory', 'i1', { zone: 'a' }) })
  owner.silence()
  await leaseEnds()
  expect(await owner.next('unlisted')).toMatchObject({ id: 'i1', why: 'expired' })
  await untilListed('inventory', [])
  owner.recover()
  await untilListed('inventory', ['i1'])
  expect((await listed('inventory'))[0]).toMatchObject({ state: 'ready', zone: 'a' })
})

test('an instance that drains comes back draining', async () => {
  const owner = await open('inventory')
  await owner.ask({ type: 'register', instance: instance('inventory', 'i1') })
  await owner.ask({ type: 'drain', id: 'i1' })
  owner.silence()
  await leaseEnds()
  await owner.next('unlisted')
  owner.recover()
  await untilListed('inventory', ['i1'])
  expect((await listed('inventory'))[0]!.state).toBe('draining')
})

test('an instance that left does not come back, whatever its old session says', async () => {
  const credentials = await join(registry, 'inventory')
  const [old, next] = [await open('inventory', credentials), await open('inventory', credentials)]
  await old.ask({ type: 'register', instance: instance('inventory', 'i1') })
  old.silence()
  await leaseEnds()
  await old.next('unlisted')
  await next.ask({ type: 'register', instance: instance('inventory', 'i1') })
  await next.ask({ type: 'deregister', id: 'i1' })
  await old.ask({ type: 'deregister', id: 'none' })
  expect(await listed('inventory')).toEqual([])
})

test('what an operator releases is told, and listed again when it is heard', async () => {
  const owners = await Promise.all([1, 2, 3, 4].map(() => open('inventory')))
  for (const [i, owner] of owners.entries()) {
    await owner.ask({ type: 'register', instance: instance('inventory', `i${i}`) })
  }
  for (const owner of owners) owner.silence()
  await leaseEnds()
  const { json } = await request(registry, 'GET', '/v1/services/inventory', { admin: true })
  expect(json.frozen).toBe(true)
  // Still within the session's patience of two leases.
  const release = await request(registry, 'POST', '/v1/services/inventory/release', { admin: true })
  expect(release.status).toBe(200)
  expect(await owners[0]!.next('unlisted')).toMatchObject({ why: 'released' })
  owners[0]!.recover()
  await untilListed('inventory', ['i0'])
})

test('the newest registration at an address replaces the older one, which watchers hear left', async () => {
  const watcher = await open('checkout')
  watcher.send({ type: 'watch', service: 'inventory' })
  await watcher.next('snapshot')
  const [crashed, restarted] = [await open('inventory'), await open('inventory')]
  await crashed.ask({ type: 'register', instance: instance('inventory', 'i1', { port: 9_000 }) })
  await restarted.ask({ type: 'register', instance: instance('inventory', 'i2', { port: 9_000 }) })
  expect((await listed('inventory')).map(({ id }) => id)).toEqual(['i2'])
  const delta = await watcher.next('delta', ({ gone }) => gone !== undefined)
  expect(delta).toMatchObject({ put: [{ id: 'i2' }], gone: [{ id: 'i1', why: 'left' }] })
  expect(await crashed.next('unlisted')).toMatchObject({ id: 'i1', why: 'replaced' })
})

test('a process behind a shared address is listed again when the one that replaced it has left', async () => {
  const [first, second] = [await open('inventory'), await open('inventory')]
  await first.ask({ type: 'register', instance: instance('inventory', 'i1', { port: 9_000 }) })
  await second.ask({ type: 'register', instance: instance('inventory', 'i2', { port: 9_000 }) })
  await first.next('unlisted')
  // Heard, but the address is another's.
  await first.ask({ type: 'deregister', id: 'none' })
  expect((await listed('inventory')).map(({ id }) => id)).toEqual(['i2'])
  await second.ask({ type: 'deregister', id: 'i2' })
  await untilListed('inventory', ['i1'])
})

test('another protocol, port or service at the same address is another listener', async () => {
  const [inventory, checkout] = [await open('inventory'), await open('checkout')]
  await inventory.ask({ type: 'register', instance: instance('inventory', 'i1', { port: 9_000 }) })
  await inventory.ask({ type: 'register', instance: instance('inventory', 'i2', { port: 9_000, protocol: 'grpc' }) })
  await inventory.ask({ type: 'register', instance: instance('inventory', 'i3', { port: 9_001 }) })
  await checkout.ask({ type: 'register', instance: instance('checkout', 'c1', { port: 9_000 }) })
  expect((await listed('inventory')).map(({ id }) => id).sort()).toEqual(['i1', 'i2', 'i3'])
  expect(await listed('checkout')).toHaveLength(1)
})

test('an address written another way is the same address', async () => {
  const session = await open('inventory')
  for (const [i, address] of ['::1', '0:0:0:0:0:0:0:1', '127.0.0.1', '::ffff:127.0.0.1', '127.1'].entries()) {
    await session.ask({ type: 'register', instance: instance('inventory', `i${i}`, { port: 9_000, address }) })
  }
  expect(await listed('inventory')).toMatchObject([
    { id: 'i1', address: '::1' },
    { id: 'i4', address: '127.0.0.1' },
  ])
})

async function decide(id: string, body: object): Promise<unknown> {
  const path = `/v1/services/inventory/instances/${id}`
  return (await request(registry, 'PUT', path, { admin: true, body })).json
}

test('an instance that an operator took out comes back as its process registered it, and still out', async () => {
  const owner = await open('inventory')
  await owner.ask({ type: 'register', instance: instance('inventory', 'i1') })
  await decide('i1', { disabled: true, weight: 5 })
  owner.silence()
  await leaseEnds()
  await owner.next('unlisted')
  owner.recover()
  await untilListed('inventory', ['i1'])
  expect((await listed('inventory'))[0]).toMatchObject({
    state: 'draining',
    weight: 5,
    own: { weight: 100, state: 'ready' },
  })
  expect(await decide('i1', { disabled: false, reset: 'weight' })).toMatchObject({ weight: 100, ownWeight: 100 })
  expect((await listed('inventory'))[0]).toMatchObject({ state: 'ready', weight: 100 })
})

test('an instance that was replaced at a shared address comes back as its process registered it', async () => {
  const [first, second] = [await open('inventory'), await open('inventory')]
  await first.ask({ type: 'register', instance: instance('inventory', 'i1', { port: 9_000 }) })
  await decide('i1', { disabled: true })
  await second.ask({ type: 'register', instance: instance('inventory', 'i2', { port: 9_000 }) })
  await first.next('unlisted')
  await decide('i2', { disabled: false })
  await second.ask({ type: 'deregister', id: 'i2' })
  await untilListed('inventory', ['i1'])
  expect((await listed('inventory'))[0]!.state).toBe('ready')
})

test('an instance that left while the store could not be written goes when its lease is over', async () => {
  const owner = await open('inventory')
  await owner.ask({ type: 'register', instance: instance('inventory', 'i1') })
  const { transact } = MemoryStorage.prototype
  // What the registry writes beside it is taken.
  const broken = vi.spyOn(MemoryStorage.prototype, 'transact').mockImplementation(function (
    this: MemoryStorage,
    ...all
  ) {
    if (all[1].some(({ key }) => key === 'inst/inventory/i1')) throw new StorageError('the disk is full')
    return transact.apply(this, all)
  })
  owner.send({ type: 'deregister', ref: 77, id: 'i1' })
  expect(await owner.next('error', ({ ref }) => ref === 77)).toMatchObject({ code: 'storage-unavailable' })
  broken.mockRestore()
  expect(await listed('inventory')).toHaveLength(1)
  await leaseEnds()
  await untilListed('inventory', [])
})
