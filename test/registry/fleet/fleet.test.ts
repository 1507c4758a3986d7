/** Registries on one store, with sessions: one that dies or is cut off loses nothing that lives. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { ListedRegistry } from '../../../src/registry/fleet/fleet.ts'
import { deadPort } from '../../rigs/dead-port.ts'
import { type Member, TestFleet } from '../../rigs/fleet.ts'
import { instance } from '../../rigs/instance.ts'
import { SkippingClock } from '../../rigs/skipping-clock.ts'

const LEASE_MS = 20_000

let clock: SkippingClock
let fleet: TestFleet
let first: Member
let second: Member
let third: Member

beforeEach(async () => {
  clock = new SkippingClock()
  fleet = new TestFleet({ lease: LEASE_MS, clock })
  first = await fleet.start()
  second = await fleet.start()
  third = await fleet.start()
})

afterEach(() => fleet.close())

async function listed(member: Member, service = 'a'): Promise<string[]> {
  const { json } = await fleet.ask(member, `/v1/services/${service}`)
  return (json.instances ?? []).map(({ id }: { id: string }) => id).sort()
}

async function registries(member: Member): Promise<ListedRegistry[]> {
  return (await fleet.ask(member, '/v1/registries')).json.registries
}

/** In which the processes beat that are not silent. */
const pass = (ms: number): Promise<void> => clock.pass(ms, fleet.sessions)

test('each lists all, with version, role, lag and sessions, and without those that are gone', async () => {
  await fleet.session(second, 'a')
  const told = async (member: Member) =>
    (await registries(member)).map((one) => [one.id, one.url, one.reachable && [one.lag, one.ready, one.sessions]])
  const roles = async (member: Member) =>
    (await registries(member)).flatMap((one) => (one.reachable ? one.roles : ['away']))
  const urls = fleet.members.map(({ registry }) => registry.url)
  await expect
    .poll(() => told(third))
    .toEqual([
      ['r1', urls[0], [0, true, 0]],
      ['r2', urls[1], [0, true, 1]],
      ['r3', urls[2], [0, true, 0]],
    ])
  await expect.poll(() => roles(third)).toEqual(['reaper'])
  await fleet.kill(first)
  await expect.poll(async () => (await registries(second)).map(({ id }) => id)).toEqual(['r2', 'r3'])
  await expect.poll(() => roles(second)).toEqual(['reaper'])
})

test('one that does not answer is listed as such', async () => {
  const url = `https://127.0.0.1:${await deadPort()}`
  const ghost = { id: 'ghost', url, version: '0.0.1', protocol: 1, startedAt: 0, sessions: 7 }
  await fleet.store.announce('registry/ghost', JSON.stringify(ghost))
  const [listedGhost] = await registries(first)
  expect(listedGhost).toEqual({ ...ghost, reachable: false, reason: expect.stringContaining('no answer') })
})

test('what a dead registry held is expired by the reaper, unless its process comes back', async () => {
  const gone = await fleet.session(third, 'a')
  await gone.ask({ type: 'register', instance: instance('a', 'gone') })
  await gone.ask({ type: 'register', instance: instance('a', 'back') })
  await fleet.kill(third)
  expect(await listed(first)).toEqual(['back', 'gone'])
  const back = await fleet.session(second, 'a')
  await back.ask({ type: 'register', instance: instance('a', 'back') })
  await pass(2 * LEASE_MS)
  await expect.poll(() => listed(first)).toEqual(['back'])
  await pass(2 * LEASE_MS)
  expect(await listed(second)).toEqual(['back'])
})

test('a reaper that dies amid an adoption is followed by another, which finds all that are gone', async () => {
  const ids = ['of-first', 'of-second']
  const sessions = [await fleet.session(first, 'a'), await fleet.session(second, 'a')]
  for (const [i, id] of ids.entries()) await sessions[i]!.ask({ type: 'register', instance: instance('a', id) })
  await fleet.kill(second)
  // The first leads; it dies with the leases that it has just adopted.
  await fleet.kill(first)
  expect(await listed(third)).toEqual(ids)
  await pass(2 * LEASE_MS)
  await expect.poll(() => listed(third)).toEqual([])
})

test('a drain waits for the watchers at every registry', async () => {
  const watchers = [await fleet.session(second, 'w'), await fleet.session(third, 'w')]
  for (const watcher of watchers) {
    watcher.send({ type: 'watch', service: 'a' })
    await watcher.next('snapshot')
  }
  const own = await fleet.session(first, 'a')
  await own.ask({ type: 'register', instance: instance('a', 'i') })
  for (const watcher of watchers) await watcher.next('delta')
  await own.ask({ type: 'drain', id: 'i' })
  const acknowledge = async (i: number): Promise<void> => {
    const delta = await watchers[i]!.next('delta', ({ put }) => put?.[0]?.state === 'draining')
    watchers[i]!.send({ type: 'ack', service: 'a', revision: delta.revision })
  }
  await acknowledge(0)
  await pass(1_000)
  expect(own.received.some((said) => said.type === 'seen' && said.id === 'i')).toBe(false)
  await acknowledge(1)
  expect(await own.next('seen', ({ id }) => id === 'i')).toMatchObject({ watchers: 2 })
})

test('a service that freezes at one is frozen for watchers at all, until an operator says otherwise at any', async () => {
  const watcher = await fleet.session(third, 'w')
  watcher.send({ type: 'watch', service: 'a' })
  await watcher.next('snapshot')
  const sessions = [await fleet.session(first, 'a'), await fleet.session(second, 'a'), await fleet.session(third, 'a')]
  for (const [i, session] of sessions.entries()) {
    for (const id of [`${i}-1`, `${i}-2`]) await session.ask({ type: 'register', instance: instance('a', id) })
  }
  for (const session of sessions) session.silence()
  await pass(1.2 * LEASE_MS)
  await watcher.next('delta', ({ frozen }) => frozen === true)
  await pass(2 * LEASE_MS)
  expect(await listed(first)).toHaveLength(6)
  expect((await fleet.ask(second, '/v1/services/a')).json.frozen).toBe(true)
  const released = await fleet.ask(second, '/v1/services/a/release', 'POST')
  expect(released.json).toEqual({ service: 'a', expired: 6 })
  await watcher.next('delta', ({ frozen }) => frozen === false)
  await expect.poll(() => listed(third)).toEqual([])
  const { json } = await fleet.ask(first, '/v1/audit')
  const actions = json.audit.map(({ action }: { action: string }) => action)
  for (const action of ['expiry-freeze', 'expiry-release', 'release']) {
    expect(actions.filter((one: string) => one === action)).toHaveLength(1)
  }
})

test('one that is cut off expires nothing, refuses writes, and sends its sessions to one that is ready', async () => {
  const session = await fleet.session(second, 'a')
  await session.ask({ type: 'register', instance: instance('a', 'i') })
  second.view.cutOff('no leader')
  const ready = await fleet.ask(second, '/readyz')
  expect([ready.status, ready.text]).toEqual([503, 'degraded: no leader\n'])
  const refused = await fleet.ask(second, '/v1/tokens', 'POST', { service: 'a' })
  expect([refused.status, refused.headers['retry-after']]).toEqual([503, '1'])
  expect(await listed(second)).toEqual(['i'])
  await session.next('goaway')
  session.close()
  await pass(2 * LEASE_MS)
  const moved = await fleet.session(third, 'a')
  await moved.ask({ type: 'register', instance: instance('a', 'i') })
  second.view.reconnect()
  await expect.poll(async () => (await fleet.ask(second, '/readyz')).status).toBe(200)
  await pass(2 * LEASE_MS)
  expect(await listed(first)).toEqual(['i'])
})

test('one keeps its sessions while no other is ready', async () => {
  const session = await fleet.session(second, 'a')
  await session.ask({ type: 'register', instance: instance('a', 'i') })
  for (const { view } of fleet.members) view.cutOff('no leader')
  // It asks the others over sockets, whether they are ready.
  await new Promise((resolve) => setTimeout(resolve, 4_000))
  expect(session.closed).toBe(false)
  expect(session.received.some(({ type }) => type === 'goaway')).toBe(false)
  for (const { view } of fleet.members) view.reconnect()
  await pass(2 * LEASE_MS)
  expect(await listed(first)).toEqual(['i'])
})

test('one that the store took for dead expires nothing that another counts, and is announced again', async () => {
  const session = await fleet.session(second, 'a')
  await session.ask({ type: 'register', instance: instance('a', 'i') })
  await second.view.expire()
  await expect.poll(async () => (await registries(first)).map(({ id }) => id).sort()).toEqual(['r1', 'r2', 'r3'])
  await pass(2 * LEASE_MS)
  expect(await listed(third)).toEqual(['i'])
})

test('a service without instances is kept while it is watched at another registry', async () => {
  const session = await fleet.session(first, 'a')
  const watcher = await fleet.session(third, 'w')
  for (const service of ['watched', 'unwatched']) {
    const own = await fleet.session(second, service)
    await own.ask({ type: 'register', instance: instance(service, 'i') })
    if (service === 'watched') {
      watcher.send({ type: 'watch', service })
      await watcher.next('snapshot')
    }
    await own.ask({ type: 'deregister', id: 'i' })
  }
  const names = async (): Promise<string[]> =>
    (await fleet.ask(first, '/v1/services')).json.services.map(({ service }: { service: string }) => service)
  await pass(4 * LEASE_MS)
  await expect.poll(names).not.toContain('unwatched')
  await pass(3 * LEASE_MS)
  expect(await names()).toContain('watched')
  session.close()
})

test('ten registries: nine die at once, and the last one adopts them all', async () => {
  while (fleet.members.length < 10) await fleet.start()
  const ids = fleet.members.map(({ id }) => `of-${id}`)
  for (const [i, member] of fleet.members.entries()) {
    const session = await fleet.session(member, 'a')
    await session.ask({ type: 'register', instance: instance('a', ids[i]!) })
  }
  const last = fleet.members.at(-1)!
  await Promise.all(fleet.members.slice(0, -1).map((member) => fleet.kill(member)))
  await expect.poll(async () => (await registries(last)).map(({ id }) => id)).toEqual([last.id])
  const next = await fleet.session(last, 'a')
  for (const id of ids) await next.ask({ type: 'register', instance: instance('a', id) })
  await pass(3 * LEASE_MS)
  expect(await listed(last)).toEqual([...ids].sort())
})

test('nothing is written while nothing changes, and little while processes come and go', async () => {
  const watcher = await fleet.session(second, 'w')
  watcher.send({ type: 'watch', service: 'a' })
  const session = await fleet.session(first, 'a')
  await session.ask({ type: 'register', instance: instance('a', 'i') })
  const announced = async (): Promise<number[]> =>
    (await fleet.store.list('registry/')).items.map(({ value }) => JSON.parse(value).sessions)
  await pass(6_000)
  await expect.poll(announced).toEqual([1, 1, 0])
  const written: string[] = []
  await fleet.store.watch('', fleet.store.status().revision, ({ changes }) => {
    // How far the trust of the processes is, which settles once.
    written.push(...changes.map(({ key }) => key).filter((key) => !key.startsWith('trust/')))
  })
  await pass(4 * LEASE_MS)
  expect(written).toEqual([])
  const begunAt = clock.now()
  for (let i = 0; i < 20; i++) (await fleet.session(third, 'b')).close()
  // The join, and the number of sessions, which is written at most every 5 s.
  const most = 2 + Math.floor((clock.now() - begunAt) / 5_000)
  expect(written.filter((key) => !key.startsWith('audit/')).length).toBeLessThanOrEqual(most)
})

test('one that the store takes for dead again and again loses nothing', async () => {
  const session = await fleet.session(second, 'a')
  await session.ask({ type: 'register', instance: instance('a', 'i') })
  for (let i = 0; i < 20; i++) {
    await second.view.expire()
    await pass(LEASE_MS / 4)
    expect(await listed(first)).toEqual(['i'])
  }
  await expect.poll(async () => (await registries(first)).map(({ id }) => id)).toEqual(['r1', 'r2', 'r3'])
})
