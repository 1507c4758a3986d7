/** Sessions over real sockets: who may register what, and what watchers see. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { type Registry, startRegistry } from '../../src/registry/index.ts'
import { MemoryStorage } from '../../src/registry/storage/memory.ts'
import { instance } from '../rigs/instance.ts'
import { join, request, TestSession } from '../rigs/registry-session.ts'
import { SkippingClock } from '../rigs/skipping-clock.ts'

const LEASE_MS = 30_000

let clock: SkippingClock
let registry: Registry
const sessions: TestSession[] = []

async function open(service: string): Promise<TestSession> {
  const session = await TestSession.open(registry, service)
  sessions.push(session)
  return session
}

/** In which the processes beat that are not silent. */
const pass = (ms: number): Promise<void> => clock.pass(ms, sessions)

beforeEach(async () => {
  clock = new SkippingClock()
  registry = await startRegistry({
    port: 0,
    memory: true,
    log: false,
    lease: LEASE_MS,
    clock,
    joinsPerSecond: 1_000,
    signingsPerSecond: 1_000,
  })
})

afterEach(async () => {
  for (const session of sessions.splice(0)) session.close()
  await registry.close()
})

describe('a session', () => {
  test('is welcomed with the epoch, the lease, the heartbeat and the trust bundle', async () => {
    const session = await open('checkout')
    expect(await session.next('welcome')).toMatchObject({
      protocol: 1,
      epoch: registry.epoch,
      leaseMs: LEASE_MS,
      beatMs: LEASE_MS / 3,
      dev: false,
    })
    expect(await session.next('bundle')).toMatchObject({ trustDomain: 'inmesh.local', roots: registry.roots })
  })

  test('gets a snapshot, then deltas that chain, for what others register and change', async () => {
    const watcher = await open('checkout')
    watcher.send({ type: 'watch', service: 'inventory' })
    const first = await watcher.next('snapshot')
    expect(first).toMatchObject({ instances: [], intended: false, frozen: false, policy: null, epoch: registry.epoch })

    const owner = await open('inventory')
    const done = await owner.ask({ type: 'register', instance: instance('inventory', 'i1', { zone: 'a' }) })
    expect(done.type).toBe('done')
    const put = await watcher.next('delta', (delta) => delta.put !== undefined)
    expect(put).toMatchObject({ previous: first.revision, put: [{ id: 'i1', zone: 'a', state: 'ready' }] })
    expect(put.revision).toBe((done as { revision: number }).revision)

    await owner.ask({ type: 'drain', id: 'i1' })
    const draining = await watcher.next('delta', (delta) => delta.put?.[0]?.state === 'draining')
    expect(draining.previous).toBe(put.revision)

    await owner.ask({ type: 'deregister', id: 'i1' })
    const gone = await watcher.next('delta', (delta) => delta.gone !== undefined)
    expect(gone).toMatchObject({ previous: draining.revision, gone: [{ id: 'i1', why: 'left' }] })
  })

  test('is told that a draining instance is out of all pickers only when every watcher has said so', async () => {
    const [a, b, owner] = [await open('a'), await open('b'), await open('inventory')]
    await owner.ask({ type: 'register', instance: instance('inventory', 'i1') })
    for (const watcher of [a, b]) {
      watcher.send({ type: 'watch', service: 'inventory' })
      await watcher.next('snapshot')
    }
    const done = (await owner.ask({ type: 'drain', id: 'i1' })) as { revision: number }
    await a.next('delta', (delta) => delta.revision === done.revision)
    a.send({ type: 'ack', service: 'inventory', revision: done.revision })
    await a.ask({ type: 'deregister', id: 'none' })
    await owner.ask({ type: 'deregister', id: 'none' })
    expect(owner.received.some((message) => message.type === 'seen' && message.id === 'i1')).toBe(false)
    // A watcher that ends its watch is waited for no longer.
    b.send({ type: 'unwatch', service: 'inventory' })
    expect(await owner.next('seen', (seen) => seen.id === 'i1')).toMatchObject({ watchers: 2 })
  })

  test('writes nothing for heartbeats, nor for registering again what has not changed', async () => {
    const owner = await open('inventory')
    await owner.ask({ type: 'register', instance: instance('inventory', 'i1') })
    const transact = vi.spyOn(MemoryStorage.prototype, 'transact')
    const written = () => transact.mock.calls.flatMap(([, operations]) => operations.map(({ key }) => key))
    try {
      for (let i = 0; i < 20; i++) owner.send({ type: 'beat' })
      const again = await owner.ask({ type: 'register', instance: instance('inventory', 'i1') })
      expect(again).toMatchObject({ type: 'done' })
      // How far the trust of the processes is, is written when it changes.
      expect(written().filter((key) => !key.startsWith('trust/'))).toEqual([])
      const changed = await owner.ask({ type: 'register', instance: instance('inventory', 'i1', { weight: 5 }) })
      expect(written()).toContain('inst/inventory/i1')
      expect((changed as { revision: number }).revision).toBeGreaterThan((again as { revision: number }).revision)
    } finally {
      transact.mockRestore()
    }
  })

  test('may not register, drain or speak for another service; the attempt is audited and changes nothing', async () => {
    const owner = await open('inventory')
    await owner.ask({ type: 'register', instance: instance('inventory', 'i1') })
    const foreign = await open('checkout')
    expect(await foreign.ask({ type: 'register', instance: instance('inventory', 'evil') })).toMatchObject({
      type: 'error',
      code: 'foreign-service',
    })
    expect(await foreign.ask({ type: 'drain', id: 'i1' })).toMatchObject({ type: 'error', code: 'not-found' })
    await foreign.ask({ type: 'deregister', id: 'i1' })
    const liar = new TestSession(registry, await join(registry, 'checkout'), 'inventory')
    sessions.push(liar)
    expect(await liar.next('error')).toMatchObject({ code: 'foreign-service' })
    await liar.until(() => liar.closed)

    const now = await request(registry, 'GET', '/v1/services/inventory', { admin: true })
    expect(now.json.instances.map((one: { id: string; state: string }) => [one.id, one.state])).toEqual([
      ['i1', 'ready'],
    ])
    const { audit } = (await request(registry, 'GET', '/v1/audit', { admin: true })).json
    const refusals = audit.filter((one: { reason?: string }) => one.reason === 'foreign-service')
    expect(refusals).toHaveLength(2)
    expect(refusals[0]).toMatchObject({ who: 'spiffe://inmesh.local/service/checkout', service: 'inventory' })
  })

  test('is refused without a certificate', async () => {
    const session = new TestSession(registry, undefined, 'checkout')
    sessions.push(session)
    await session.until(() => session.status !== undefined)
    expect(session.status).toBe(401)
  })

  test.each([
    ['no JSON', 'nonsense\n'],
    ['a list', '[]\n'],
    ['null', 'null\n'],
    ['a key that reaches into prototypes', '{"type":"hello","__proto__":{"polluted":1}}\n'],
    ['an escaped key that reaches into prototypes', '{"type":"hello","\\u005f_proto__":{"polluted":1}}\n'],
    ['another first message', '{"type":"beat"}\n'],
    ['an unknown protocol', '{"type":"hello","protocol":99,"service":"checkout","process":"x"}\n'],
  ])('that says %s is ended with a reason', async (_, line) => {
    const session = new TestSession(registry, await join(registry, 'checkout'), undefined)
    sessions.push(session)
    session.sendRaw(line)
    expect((await session.next('error')).message).toBeTruthy()
    await session.until(() => session.closed)
    expect(({} as { polluted?: number }).polluted).toBeUndefined()
  })

  test.each([
    ['port', { port: 0 }],
    ['port', { port: 70_000 }],
    ['weight', { weight: -1 }],
    ['id', { id: '../etc' }],
    ['state', { state: 'lost' }],
    ['address', { address: 'a b' }],
    ['metadata', { metadata: { a: 1 } }],
  ])('is told which field of an instance is wrong: %s', async (field, wrong) => {
    const session = await open('inventory')
    const answer = await session.ask({
      type: 'register',
      instance: instance('inventory', 'i1', wrong as never),
    })
    expect(answer).toMatchObject({ type: 'error', code: 'invalid-request' })
    expect((answer as { message: string }).message).toContain(field)
    session.send({ type: 'watch', service: 'inventory' })
    expect((await session.next('snapshot')).instances).toEqual([])
  })

  test('may not announce addresses that lead others astray', async () => {
    const session = await open('inventory')
    for (const address of ['169.254.169.254', '0.0.0.0', '::', 'fe80::1', '224.0.0.1']) {
      expect(await session.ask({ type: 'register', instance: instance('inventory', 'i1', { address }) })).toMatchObject(
        {
          code: 'address-refused',
        },
      )
    }
  })

  test('resumes from (epoch, revision) with what it missed, and gets a snapshot for another epoch', async () => {
    const owner = await open('inventory')
    await owner.ask({ type: 'register', instance: instance('inventory', 'i1') })
    const first = await open('a')
    first.send({ type: 'watch', service: 'inventory' })
    const { epoch, revision } = await first.next('snapshot')
    first.close()
    await owner.ask({ type: 'register', instance: instance('inventory', 'i2') })
    await owner.ask({ type: 'deregister', id: 'i1' })

    const second = await open('a')
    second.send({ type: 'watch', service: 'inventory', since: { epoch, revision } })
    expect(await second.next('delta')).toMatchObject({
      previous: revision,
      put: [{ id: 'i2' }],
      gone: [{ id: 'i1', why: 'left' }],
      frozen: false,
    })
    expect(second.received.some((message) => message.type === 'snapshot')).toBe(false)
    second.send({ type: 'watch', service: 'inventory', since: { epoch: 'other', revision } })
    expect(await second.next('snapshot')).toMatchObject({ instances: [{ id: 'i2' }] })
  })

  test('that ends leaves its instances until the lease is over; then they are lost', async () => {
    const watcher = await open('checkout')
    watcher.send({ type: 'watch', service: 'inventory' })
    const owner = await open('inventory')
    await owner.ask({ type: 'register', instance: instance('inventory', 'i1') })
    await watcher.next('delta', (delta) => delta.put !== undefined)
    owner.close()
    const back = await open('inventory')
    expect(await back.ask({ type: 'register', instance: instance('inventory', 'i1') })).toMatchObject({
      type: 'done',
    })
    expect(watcher.received.some((message) => message.type === 'delta' && message.gone !== undefined)).toBe(false)
    back.close()
    await pass(1.2 * LEASE_MS)
    expect(await watcher.next('delta', (delta) => delta.gone !== undefined)).toMatchObject({
      gone: [{ id: 'i1', why: 'lost' }],
    })
  })

  test('of many processes that died together ends when an operator says that they did', async () => {
    const owners = await Promise.all(['i0', 'i1', 'i2', 'i3'].map(() => open('inventory')))
    for (const [i, owner] of owners.entries()) {
      await owner.ask({ type: 'register', instance: instance('inventory', `i${i}`) })
    }
    const watcher = await open('checkout')
    watcher.send({ type: 'watch', service: 'inventory' })
    const release = () => request(registry, 'POST', '/v1/services/inventory/release', { admin: true })
    expect((await release()).json.error.code).toBe('conflict')
    for (const owner of owners.slice(0, 3)) owner.silence()
    await pass(1.2 * LEASE_MS)
    await watcher.next('delta', (delta) => delta.frozen === true)
    const before = watcher.received.length
    expect((await release()).json).toEqual({ service: 'inventory', expired: 3 })
    const gone = await watcher.next('delta', (delta) => delta.gone !== undefined, before)
    expect(gone.gone!.map(({ id, why }) => `${id} ${why}`).sort()).toEqual(['i0 lost', 'i1 lost', 'i2 lost'])
  })

  test('of many processes that fall silent together loses none of them; watchers are told that expiry is frozen', async () => {
    const watcher = await open('checkout')
    watcher.send({ type: 'watch', service: 'inventory' })
    const owners = await Promise.all(['i1', 'i2', 'i3', 'i4'].map(() => open('inventory')))
    for (const [i, owner] of owners.entries()) {
      await owner.ask({ type: 'register', instance: instance('inventory', `i${i}`) })
    }
    for (const owner of owners.slice(0, 3)) owner.silence()
    await pass(1.2 * LEASE_MS)
    expect(await watcher.next('delta', (delta) => delta.frozen === true)).toMatchObject({ service: 'inventory' })
    for (const owner of owners.slice(0, 3)) owner.close()
    const back = await Promise.all(['i1', 'i2', 'i3'].map(() => open('inventory')))
    for (const [i, owner] of back.entries()) {
      await owner.ask({ type: 'register', instance: instance('inventory', `i${i}`) })
    }
    await pass(3 * LEASE_MS)
    await watcher.next('delta', (delta) => delta.frozen === false)
    expect(watcher.received.some((message) => message.type === 'delta' && message.gone !== undefined)).toBe(false)
    const { audit } = (await request(registry, 'GET', '/v1/audit', { admin: true })).json
    const actions = audit.map((one: { action: string }) => one.action)
    expect(actions).toContain('expiry-freeze')
    expect(actions).toContain('expiry-release')
  })

  test('is told to come back later when the registry goes away, and the registry is gone soon', async () => {
    const session = await open('checkout')
    const begun = Date.now()
    await registry.close()
    expect((await session.next('goaway')).retryAfterMs).toBeGreaterThan(0)
    await session.until(() => session.closed)
    expect(Date.now() - begun).toBeLessThan(20_000)
  })
})

describe('a policy', () => {
  test('reaches every watcher when it is applied, and its deletion too', async () => {
    const session = await open('checkout')
    for (const service of ['inventory', 'mesh']) session.send({ type: 'watch', service })
    await session.next('snapshot', (snapshot) => snapshot.service === 'mesh')
    await registry.applyPolicies([
      { service: 'inventory', timeout: '800ms' },
      { service: 'mesh', timeout: '2s' },
    ])
    expect((await session.next('delta', (delta) => delta.service === 'inventory')).policy).toEqual({
      service: 'inventory',
      timeout: '800ms',
    })
    expect((await session.next('delta', (delta) => delta.service === 'mesh')).policy).toEqual({
      service: 'mesh',
      timeout: '2s',
    })
    await request(registry, 'DELETE', '/v1/policies/inventory', { admin: true })
    expect(await session.next('delta', (delta) => delta.policy === null)).toMatchObject({ service: 'inventory' })
  })
})

test('a process that reads nothing for a while gets one fresh snapshot instead of all it missed', async () => {
  const slow = await open('checkout')
  slow.send({ type: 'watch', service: 'inventory' })
  await slow.next('snapshot')
  slow.pause()
  const paths = Array.from({ length: 60 }, (_, i) => `/${'x'.repeat(180)}/${i}/*`)
  const allow = Array.from({ length: 15 }, () => ({ from: 'checkout', paths }))
  for (let i = 1; i <= 30; i++) {
    await registry.applyPolicies([{ service: 'inventory', timeout: `${i}s`, allow }])
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  const { revision } = registry
  const before = slow.received.length
  slow.resume()
  const last = await slow.next(
    'snapshot',
    (snapshot) => (snapshot.policy as { timeout?: string } | null)?.timeout === '30s',
    before,
  )
  expect(last.revision).toBeGreaterThanOrEqual(revision)
  expect(slow.received.filter((message) => message.type === 'delta').length).toBeLessThan(20)
  await registry.applyPolicies([{ service: 'inventory', timeout: '31s' }])
  expect(await slow.next('delta', (delta) => delta.previous === last.revision)).toMatchObject({ service: 'inventory' })
})

test.each([
  ['a key that is there twice', '{"type":"beat","type":"hello"}\n', "the key 'type' is there twice"],
  ['a key that is there twice, once in disguise', '{"type":"beat","\\u0074ype":"beat"}\n', "'type' is there twice"],
  ['a key that is there twice further in', '{"type":"beat","x":[{"a":1,"a":1}]}\n', "'a' is there twice"],
  ['bytes that are no UTF-8', Buffer.from('{"type":"beat","x":"\xff"}\n', 'latin1'), 'no UTF-8'],
  ['half a surrogate', Buffer.from('{"x":"\xed\xa0\x80"}\n', 'latin1'), 'no UTF-8'],
  ['an overlong character', Buffer.from('{"x":"\xc0\xaf"}\n', 'latin1'), 'no UTF-8'],
])('a line with %s ends the session and says why', async (_what, line, message) => {
  const session = await open('inventory')
  session.sendRaw(line)
  const refused = await session.next('error')
  expect(refused).toMatchObject({ code: 'invalid-request', message: expect.stringContaining(message) })
  await session.until(() => session.closed)
})
