/** Two registries that write the same thing at the same time, each without knowing of the other. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { LIMITS } from '../../../src/discovery/limits.ts'
import { Audit } from '../../../src/registry/access/audit.ts'
import { Operators } from '../../../src/registry/access/operators.ts'
import { JoinTokens } from '../../../src/registry/access/tokens.ts'
import { Housekeeping } from '../../../src/registry/housekeeping.ts'
import { SILENT_LOG } from '../../../src/registry/log.ts'
import { Policies } from '../../../src/registry/policies.ts'
import { KEYS } from '../../../src/registry/records.ts'
import { Registrar } from '../../../src/registry/registrar.ts'
import { Removals } from '../../../src/registry/removals.ts'
import { RegistryState } from '../../../src/registry/state.ts'
import { MemoryStorage } from '../../../src/registry/storage/memory.ts'
import { MOST_COMPARES } from '../../../src/registry/storage/storage.ts'
import { WatchHub } from '../../../src/registry/watch/hub.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'
import { instance } from '../../rigs/instance.ts'
import { laggingView } from '../../rigs/lagging-view.ts'

const PINS = { fingerprint: 'root', pins: ['root'] }
const LEASE_MS = 3_000
const by = { by: 'operator', source: 'local' }
const who = { spiffeId: 'spiffe://inmesh.local/service/a', service: 'a', source: '127.0.0.1' }

async function open(id: string) {
  const view = laggingView(storage)
  const state = await RegistryState.load(view, () => {})
  const hub = new WatchHub(state, clock)
  const audit = new Audit(state, clock, SILENT_LOG, id)
  const registrar = new Registrar({ state, hub, audit, clock, log: SILENT_LOG, id }, LEASE_MS)
  return {
    ...{ view, state, hub, audit, registrar },
    policies: new Policies(state, audit, clock),
    operators: new Operators(state, audit, clock, PINS, () => {}),
    removals: new Removals(state, clock, SILENT_LOG),
    close: () => {
      registrar.close()
      hub.close()
      state.close()
    },
  }
}

let clock: FakeClock
let storage: MemoryStorage
let first: Awaited<ReturnType<typeof open>>
let second: Awaited<ReturnType<typeof open>>

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

const both = (): void => {
  first.view.lag()
  second.view.lag()
}
const settled = (): void => {
  first.view.catchUp()
  second.view.catchUp()
}

test('policies of both are in force, in versions of their own', async () => {
  both()
  await Promise.all([
    first.policies.apply([{ service: 'a', timeout: '1s' }], by),
    second.policies.apply([{ service: 'a', timeout: '2s' }], by),
    second.policies.apply([{ service: 'b', timeout: '3s' }], by),
  ])
  settled()
  expect(first.policies.history('a').map(({ version }) => version)).toEqual([2, 1])
  expect(first.policies.list()).toEqual(second.policies.list())
  expect(second.policies.get('b').version).toBe(1)
})

test('a condition on the version in force holds for one of two', async () => {
  await first.policies.apply([{ service: 'a', timeout: '1s' }], by)
  both()
  const condition = new Map([['a', (version: number | undefined) => version === 1]])
  const results = await Promise.allSettled([
    first.policies.apply([{ service: 'a', timeout: '2s' }], by, { condition }),
    second.policies.apply([{ service: 'a', timeout: '3s' }], by, { condition }),
  ])
  expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
  expect((results.find((one) => one.status === 'rejected') as PromiseRejectedResult).reason.code).toBe('conflict')
})

test('the last two tokens that may change anything are not revoked together', async () => {
  const wanted = { access: 'admin', ttlMs: undefined } as const
  const a = await first.operators.create({ ...wanted, name: 'a' }, 'x', 'local')
  const b = await first.operators.create({ ...wanted, name: 'b' }, 'x', 'local')
  both()
  const results = await Promise.allSettled([
    first.operators.revoke(a.record.id, 'x', 'local'),
    second.operators.revoke(b.record.id, 'x', 'local'),
  ])
  settled()
  expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
  expect(first.operators.list()).toHaveLength(1)
})

test('the instant of a loss is not forgotten by a registry that did not know of it', async () => {
  for (const [i, { registrar }] of [first, second].entries()) await registrar.register(who, instance('a', `i${i}`))
  second.view.lag()
  clock.advance(1_000)
  await first.removals.remove('a', ['i0'], 'lost', () => true)
  const at = clock.wallNow()
  // Without another write in between, so that it knows nothing.
  const operations = second.removals.operations('a', ['i1'], 'left')
  await storage.transact([], operations)
  settled()
  expect(first.state.service('a')!.lostAt).toBe(at)
  expect(second.state.service('a')!.lostAt).toBe(at)
  expect((await RegistryState.load(storage, () => {})).service('a')!.lostAt).toBe(at)
})

test('an instance that registers while another registry disables its address is disabled', async () => {
  await first.registrar.register(who, instance('a', 'old', { port: 1 }))
  both()
  await Promise.allSettled([
    first.registrar.overrides.set('a', 'old', { disabled: true }, by),
    second.registrar.register(who, instance('a', 'new', { port: 1 })),
  ])
  settled()
  const { instances, overrides } = first.state.service('a')!
  expect([...instances.keys()]).toEqual(['new'])
  const disabled = [...overrides.values()].some((one) => one.disabled)
  expect(instances.get('new')!.instance.state).toBe(disabled ? 'draining' : 'ready')
})

test('their audit records are all kept, though written in the same millisecond', async () => {
  for (const { audit } of [first, second]) {
    audit.record({ who: 'x', source: 'local', action: 'test', outcome: 'done' })
  }
  await expect.poll(() => first.state.audit.length).toBe(2)
})

test('a policy that is applied while the service is being forgotten stays', async () => {
  await first.policies.apply([{ service: 'a', timeout: '1s' }], by)
  await first.policies.remove('a', by)
  clock.jumpWall(8 * 86_400_000)
  const tokens = new JoinTokens(first.state, first.audit, clock, PINS)
  const failed: unknown[] = []
  const housekeeping = new Housekeeping({ ...first, tokens, clock }, LEASE_MS, (error) => failed.push(error))
  await new Promise((resolve) => setImmediate(resolve))
  clock.advance(LEASE_MS)
  first.view.lag()
  await second.policies.apply([{ service: 'a', timeout: '2s' }], by)
  clock.advance(LEASE_MS)
  await expect.poll(() => first.state.service('a')?.policy?.document).toEqual({ service: 'a', timeout: '2s' })
  expect(second.policies.get('a').version).toBe(3)
  expect(second.policies.history('a')).toHaveLength(3)
  housekeeping.close()
  expect(failed).toEqual([])
})

test('a service that one registry forgets is forgotten by the watchers of all', async () => {
  await first.registrar.register(who, instance('a', 'i'))
  await first.registrar.deregister(who, 'i')
  const forgotten: string[] = []
  second.state.onForgotten((service) => forgotten.push(service))
  await first.state.write([{ key: KEYS.service('a'), value: undefined }])
  expect(forgotten).toEqual(['a'])
})

test('the last place in a service goes to one of two', async () => {
  for (const id of ['first', 'second']) await storage.announce(KEYS.registry(id), JSON.stringify({ id, sessions: 0 }))
  for (let i = 0; i < LIMITS.instancesPerService - 1; i += 1_000) {
    const ids = Array.from({ length: Math.min(1_000, LIMITS.instancesPerService - 1 - i) }, (_, j) => `i${i + j}`)
    const record = (id: string) => JSON.stringify({ instance: instance('a', id), owner: who.spiffeId, registeredAt: 0 })
    await storage.transact(
      [],
      ids.map((id) => ({ key: KEYS.instance('a', id), value: record(id) })),
    )
  }
  both()
  const results = await Promise.allSettled([
    first.registrar.register(who, instance('a', 'x', { port: 1 })),
    second.registrar.register(who, instance('a', 'y', { port: 2 })),
  ])
  settled()
  expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
  expect((results.find((one) => one.status === 'rejected') as PromiseRejectedResult).reason.code).toBe('limit-exceeded')
  expect(first.state.service('a')!.instances.size).toBe(LIMITS.instancesPerService)
})

test('instances of one service that leave together share transactions', async () => {
  const ids = Array.from({ length: 200 }, (_, i) => `i${i}`)
  for (const [i, id] of ids.entries()) await first.registrar.register(who, instance('a', id, { port: i + 1 }))
  const before = storage.status().revision
  const departures = await Promise.all(ids.map((id) => first.registrar.deregister(who, id)))
  expect(first.state.service('a')!.instances.size).toBe(0)
  expect(departures.every(({ written }) => written !== undefined)).toBe(true)
  // The first one alone, and the others by as many as one transaction compares.
  expect(storage.status().revision - before).toBe(1 + Math.ceil(199 / MOST_COMPARES))
})
