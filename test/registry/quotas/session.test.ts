/** Shares of a global rate over sessions: demand, leases, and messages that are refused. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Registry, startRegistry } from '../../../src/registry/index.ts'
import { instance } from '../../rigs/instance.ts'
import { TestSession } from '../../rigs/registry-session.ts'
import { SkippingClock } from '../../rigs/skipping-clock.ts'

const LEASE_MS = 20_000

let clock: SkippingClock
let registry: Registry
const sessions: TestSession[] = []

beforeEach(async () => {
  clock = new SkippingClock()
  const options = { port: 0, memory: true, dev: true, log: false, lease: LEASE_MS, joinsPerSecond: 1_000 } as const
  registry = await startRegistry({ ...options, clock })
})

afterEach(async () => {
  for (const session of sessions.splice(0)) session.close()
  await registry.close()
})

async function process(name: string, service = 'stock'): Promise<TestSession> {
  const session = await TestSession.open(registry, service, undefined, { process: name })
  sessions.push(session)
  await session.ask({ type: 'register', instance: instance(service, name) })
  return session
}

const limit = (global: object | false) => registry.applyPolicies([{ service: 'stock', limits: { global } }])

test('a process that tells its demand gets a share, and one that does not gets none and keeps an equal part', async () => {
  await limit({ rate: '100/s' })
  const [silent, one, two] = [await process('silent'), await process('one'), await process('two')]
  one.send({ type: 'demand', perSecond: [['*', 1_000]] })
  two.send({ type: 'demand', perSecond: [['*', 5]] })
  const lease = await one.next('quota', ({ share }) => share > 50)
  expect(lease).toMatchObject({ type: 'quota', leaseMs: LEASE_MS, rate: 100 })
  expect(lease.callers).toBeUndefined()
  await two.next('quota', ({ share }) => Math.abs(share - 5) < 0.1)
  // Two thirds of the rate: the third process shares by itself.
  expect(lease.share).toBeCloseTo(100 * (2 / 3) - 5, 0)
  expect(silent.received.filter(({ type }) => type === 'quota')).toEqual([])
})

test('the limits of mesh count for each service by itself', async () => {
  await registry.applyPolicies([{ service: 'mesh', limits: { global: { rate: 50 } } }])
  const [stock, price] = [await process('one'), await process('price', 'price')]
  for (const session of [stock, price]) session.send({ type: 'demand', perSecond: [['*', 10]] })
  for (const session of [stock, price]) await session.next('quota', ({ share }) => Math.abs(share - 50) < 0.1)
})

test('a lease is renewed without a word, and ends with the limit', async () => {
  await limit({ rate: 10, by: ['caller'] })
  const one = await process('one')
  one.send({
    type: 'demand',
    perSecond: [
      ['checkout', 4],
      ['', 1],
    ],
  })
  const lease = await one.next('quota', ({ callers }) => callers?.length === 2)
  expect(lease.share).toBeCloseTo(10)
  const leases = (): number => one.received.filter(({ type }) => type === 'quota').length
  const before = leases()
  await clock.pass(2 * LEASE_MS, sessions)
  await one.until(() => leases() >= before + 3)
  await limit(false)
  await one.ask({ type: 'register', instance: instance('stock', 'one') })
  const after = leases()
  await clock.pass(LEASE_MS, sessions)
  expect(leases()).toBeLessThanOrEqual(after + 1)
})

test.each([
  ['no list', 7],
  ['a negative rate', [['*', -1]]],
  ['text for a rate', [['*', '5']]],
  ['no pair', ['*']],
  ['a name that no service has', [['__proto__', 1]]],
  ['more than a hundred callers', Array.from({ length: 101 }, (_, i) => [`c${i}`, 1])],
])('demand with %s is refused, and the session goes on', async (_what, perSecond) => {
  await limit({ rate: 10 })
  const one = await process('one')
  one.sendRaw(`${JSON.stringify({ type: 'demand', perSecond })}\n`)
  expect(await one.next('error')).toMatchObject({ code: 'invalid-request' })
  one.send({ type: 'demand', perSecond: [['*', 1e9]] })
  await one.next('quota', ({ share }) => Math.abs(share - 10) < 0.1)
})

test('a flood of demand is answered a few times', async () => {
  await limit({ rate: 100 })
  const [one, two] = [await process('one'), await process('two')]
  two.send({ type: 'demand', perSecond: [['*', 100]] })
  for (let i = 0; i < 5_000; i++) one.send({ type: 'demand', perSecond: [['*', i % 2 === 0 ? 1 : 1_000]] })
  one.send({ type: 'demand', perSecond: [['*', 10]] })
  await one.next('quota', ({ share }) => Math.abs(share - 10) < 0.3)
  for (const { received } of [one, two]) {
    expect(received.filter(({ type }) => type === 'quota').length).toBeLessThan(100)
  }
})

test('the share of a process whose session breaks is kept until its lease ends', async () => {
  await limit({ rate: 100 })
  const [one, two] = [await process('one'), await process('two')]
  for (const session of [one, two]) session.send({ type: 'demand', perSecond: [['*', 100]] })
  await two.next('quota', ({ share }) => Math.abs(share - 50) < 1)
  const from = two.received.length
  one.close()
  await clock.pass(LEASE_MS / 2, sessions)
  expect(two.received.slice(from).some((said) => said.type === 'quota' && said.share > 90)).toBe(false)
  await clock.pass(LEASE_MS, sessions)
  await two.next('quota', ({ share }) => share > 90, from)
})
