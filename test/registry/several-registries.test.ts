/** Registrars of two registries on one store. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Instance } from '../../src/discovery/instance.ts'
import { Audit } from '../../src/registry/access/audit.ts'
import type { InstanceOwner } from '../../src/registry/instance-owners.ts'
import { SILENT_LOG } from '../../src/registry/log.ts'
import { holderOf, KEYS } from '../../src/registry/records.ts'
import { Registrar } from '../../src/registry/registrar.ts'
import { RegistryState } from '../../src/registry/state.ts'
import { MemoryStorage } from '../../src/registry/storage/memory.ts'
import { WatchHub } from '../../src/registry/watch/hub.ts'
import { ServiceHistory } from '../../src/registry/watch/service-history.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'

const LEASE_MS = 3_000
const who = { spiffeId: 'spiffe://inmesh.local/service/a', service: 'a', source: '127.0.0.1' }

interface Member {
  readonly state: RegistryState
  readonly registrar: Registrar
  close(): void
}

let clock: FakeClock
let storage: MemoryStorage
let first: Member
let second: Member

async function open(id: string): Promise<Member> {
  await storage.announce(KEYS.registry(id), JSON.stringify({ id, sessions: 0 }))
  const state = await RegistryState.load(storage, () => {})
  const hub = new WatchHub(state, clock, new ServiceHistory(state.oldest))
  const audit = new Audit(state, clock, SILENT_LOG)
  const registrar = new Registrar({ state, hub, audit, clock, log: SILENT_LOG, id }, LEASE_MS)
  const close = (): void => {
    registrar.close()
    hub.close()
    state.close()
  }
  return { state, registrar, close }
}

beforeEach(async () => {
  clock = new FakeClock()
  storage = new MemoryStorage()
  first = await open('first')
  second = await open('second')
})

afterEach(async () => {
  first.close()
  second.close()
  await storage.close()
})

function instance(id: string, port: number): Instance {
  return {
    service: 'a',
    id,
    address: '127.0.0.1',
    port,
    protocol: 'http',
    tls: true,
    weight: 100,
    metadata: {},
    state: 'ready',
  } as Instance
}

function owner(): InstanceOwner & { readonly seen: string[] } {
  const seen: string[] = []
  return { seen, unlisted: ({ id }, why) => seen.push(`${id} ${why}`), disowned: (id) => seen.push(`${id} disowned`) }
}

const listed = (): string[] => [...(first.state.service('a')?.instances.keys() ?? [])].sort()
const settle = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await Promise.resolve()
}

async function pass(ms: number, beat?: () => void): Promise<void> {
  for (let i = 0; i < ms; i += 100) {
    beat?.()
    clock.advance(100)
    await settle()
  }
}

test('a record names the registry that holds the session, which alone counts its lease', async () => {
  await first.registrar.register(who, instance('one', 1), owner())
  await second.registrar.register(who, instance('two', 2), owner())
  const records = [...second.state.service('a')!.instances.values()]
  expect(records.map((record) => [record.instance.id, holderOf(record)])).toEqual([
    ['one', 'first'],
    ['two', 'second'],
  ])
  expect([first.registrar.leases.size, second.registrar.leases.size]).toEqual([1, 1])
})

test('a registry expires only what it holds', async () => {
  await first.registrar.register(who, instance('one', 1), owner())
  await second.registrar.register(who, instance('two', 2), owner())
  await pass(LEASE_MS + 1_000, () => second.registrar.leases.renew('a', 'two'))
  expect(listed()).toEqual(['two'])
})

test('an instance whose process comes back to another registry is neither expired nor removed by the first', async () => {
  const before = owner()
  await first.registrar.register(who, instance('one', 1), before)
  await second.registrar.register(who, instance('one', 1), owner())
  expect(before.seen).toEqual(['one disowned'])
  expect(first.registrar.leases.size).toBe(0)
  await first.registrar.deregister(who, 'one')
  await pass(LEASE_MS + 1_000, () => second.registrar.leases.renew('a', 'one'))
  expect(listed()).toEqual(['one'])
})

test('an instance that is replaced through another registry is taken off the list of its session', async () => {
  const before = owner()
  await first.registrar.register(who, instance('old', 1), before)
  await second.registrar.register(who, instance('new', 1), owner())
  expect(before.seen).toEqual(['old replaced'])
  expect(listed()).toEqual(['new'])
  expect(first.registrar.leases.size).toBe(0)
})

test('a registration at both at the same time leaves one holder, and one lease', async () => {
  await Promise.all([
    first.registrar.register(who, instance('one', 1), owner()),
    second.registrar.register(who, { ...instance('one', 1), weight: 50 }, owner()),
  ])
  const holder = holderOf(first.state.service('a')!.instances.get('one')!)
  expect([first.registrar.leases.size, second.registrar.leases.size]).toEqual(holder === 'first' ? [1, 0] : [0, 1])
})

test('the reaper that adopts a registry expires its instances, unless they come back', async () => {
  await first.registrar.register(who, instance('gone', 1), owner())
  await first.registrar.register(who, instance('back', 2), owner())
  first.close()
  second.registrar.adopt((registry) => registry === 'first')
  expect(second.registrar.leases.size).toBe(2)
  await second.registrar.register(who, instance('back', 2), owner())
  await pass(2 * LEASE_MS, () => second.registrar.leases.renew('a', 'back'))
  expect([...second.state.service('a')!.instances.keys()]).toEqual(['back'])
})

test('an override at one registry keeps the holder and what the process registered at another', async () => {
  await first.registrar.register(who, instance('one', 1), owner())
  await second.registrar.overrides.set('a', 'one', { weight: 10 }, { by: 'operator', source: 'local' })
  const record = first.state.service('a')!.instances.get('one')!
  expect(record).toMatchObject({ instance: { weight: 10 }, own: { weight: 100 }, registry: 'first' })
  expect([first.registrar.leases.size, second.registrar.leases.size]).toEqual([1, 0])
})
