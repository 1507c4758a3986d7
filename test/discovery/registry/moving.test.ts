/** Processes whose registry sends them to another one, on two whole registries with one store. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Registry } from '../../../src/registry/index.ts'
import { TestFleet } from '../../rigs/fleet.ts'
import { instance } from '../../rigs/instance.ts'
import { Member } from '../../rigs/member-session.ts'
import { TestSession } from '../../rigs/registry-session.ts'

let fleet: TestFleet
let members: Member[]

beforeEach(() => {
  fleet = new TestFleet()
  members = []
})

/** Two registries, whose leases last so long. */
async function two(lease: '2s' | '3s' | '15s'): Promise<[Registry, Registry]> {
  fleet = new TestFleet({ lease })
  return [(await fleet.start()).registry, (await fleet.start()).registry]
}

afterEach(async () => {
  await Promise.all(members.map((member) => member.close()))
  await fleet.close()
})

async function open(urls: readonly string[], service: string): Promise<Member> {
  const member = await Member.open(urls, service)
  members.push(member)
  await expect.poll(() => member.client.connected, { timeout: 20_000 }).toBe(true)
  return member
}

/** Members that begin at `first`, and know `then` as well. */
async function openAt(first: Registry, then: Registry, count: number, service = 'stock'): Promise<Member[]> {
  const opened: Member[] = []
  for (let i = 0; i < count; i++) {
    const member = await Member.at(first.url, [first.url, then.url], service)
    members.push(member)
    opened.push(member)
    await expect.poll(() => member.client.connected, { timeout: 20_000 }).toBe(true)
    expect(member.registries).toEqual([first.url])
  }
  return opened
}

/** What a registry sees of the store. */
const view = (registry: Registry) => fleet.members.find((one) => one.registry === registry)!.view

/** Every list of `service` that a member got from now on, as ids. */
function lists(member: Member, service: string): string[][] {
  const all: string[][] = []
  member.client.watches.watchEndpoints(service, ({ instances }) => all.push(instances.map(({ id }) => id).sort()))
  return all
}

const ids = (some: readonly Member[]): string[] => some.map(({ process }) => process).sort()

test('a registry that goes away sends its processes to the other one: no session is lost, no instance vanishes', async () => {
  const [first, second] = await two('15s')
  const stock = await openAt(first, second, 8)
  for (const [i, member] of stock.entries()) {
    await member.register(member.process, 10_000 + i)
    member.watch('stock')
  }
  const observer = await open([second.url], 'checkout')
  const seen = lists(observer, 'stock')
  await expect.poll(() => seen.at(-1), { timeout: 20_000 }).toEqual(ids(stock))
  const from = seen.length
  await first.close()
  for (const member of stock) {
    expect(member.told).toEqual([
      { what: 'connected', registry: first.url },
      { what: 'connected', registry: second.url },
    ])
    await expect.poll(() => member.known('stock'), { timeout: 20_000 }).toEqual(ids(stock))
  }
  expect(second.counts.sessions).toBe(stock.length + 1)
  for (const list of seen.slice(from)) expect(list).toEqual(ids(stock))
}, 60_000)

test('what is registered, drained and deregistered while its process moves arrives', async () => {
  const [first, second] = await two('3s')
  const [member] = await openAt(first, second, 1)
  const observer = await open([second.url], 'checkout')
  const seen = lists(observer, 'stock')
  for (let i = 0; i < 20; i++) await member!.register(`i-${i}`, 10_000 + i)
  const closed = first.close()
  const asked: Promise<unknown>[] = []
  for (let i = 0; i < 10; i++) {
    asked.push(member!.client.deregister(`i-${i}`))
    asked.push(member!.register(`j-${i}`, 11_000 + i).catch(() => undefined))
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  await Promise.all([closed, ...asked])
  const left = [
    ...Array.from({ length: 10 }, (_, i) => `i-${i + 10}`),
    ...Array.from({ length: 10 }, (_, i) => `j-${i}`),
  ]
  await expect.poll(() => seen.at(-1), { timeout: 20_000 }).toEqual(left.sort())
  // Longer than a lease: all of them belong to the session that stands.
  await new Promise((resolve) => setTimeout(resolve, 5_000))
  expect(seen.at(-1)).toEqual(left)
}, 60_000)

test('processes that know no other registry stay until the end', async () => {
  const [first] = await two('15s')
  const member = await open([first.url], 'stock')
  const begunAt = performance.now()
  await first.close()
  expect(performance.now() - begunAt).toBeGreaterThan(8_000)
  await expect.poll(() => member.told.some(({ what }) => what === 'lost')).toBe(true)
}, 60_000)

test('a registry that has its store for itself goes away at once', async () => {
  const { registry: first } = await fleet.start()
  const member = await open([first.url], 'stock')
  await first.close()
  await expect.poll(() => member.told.some(({ what }) => what === 'lost')).toBe(true)
})

test('a new registry gets its share of the sessions', async () => {
  const [first, later] = await two('15s')
  const stock = await openAt(first, later, 30)
  await expect.poll(() => later.counts.sessions, { timeout: 60_000 }).toBeGreaterThanOrEqual(5)
  await expect.poll(() => first.counts.sessions + later.counts.sessions, { timeout: 20_000 }).toBe(30)
  for (const { told } of stock) expect(told.filter(({ what }) => what !== 'connected')).toEqual([])
}, 150_000)

test('a process that moves to a registry that is behind keeps what it knows, and misses nothing later', async () => {
  const [first, second] = await two('15s')
  const source = await open([first.url], 'stock')
  const [member] = await openAt(first, second, 1, 'checkout')
  const seen = lists(member!, 'stock')
  await source.register('a', 10_001)
  view(second).cutOff()
  await source.register('b', 10_002)
  await expect.poll(() => seen.at(-1)).toEqual(['a', 'b'])
  const from = seen.length
  void first.close()
  await expect.poll(() => member!.registries.at(-1), { timeout: 20_000 }).toBe(second.url)
  // Longer than a registry is waited for that is behind.
  await new Promise((resolve) => setTimeout(resolve, 2_500))
  expect(member!.known('stock')).toEqual(['a', 'b'])
  await source.register('c', 10_003).catch(() => undefined)
  view(second).reconnect()
  await expect.poll(() => member!.known('stock'), { timeout: 20_000 }).toEqual(expect.arrayContaining(['a', 'b']))
  for (const list of seen.slice(from)) expect(list).toEqual(expect.arrayContaining(['a', 'b']))
}, 60_000)

test('a listener that closes while its registry dies leaves through another one', async () => {
  const [first, second] = await two('15s')
  const observer = await open([second.url], 'checkout')
  const seen = lists(observer, 'stock')
  const [member] = await openAt(first, second, 1)
  await member!.register('one', 10_001)
  await expect.poll(() => seen.at(-1)).toEqual(['one'])
  // Held by the first registry, which is cut off from the store and so cannot remove it.
  view(first).cutOff()
  void member!.client.deregister('one')
  void first.close()
  await expect.poll(() => seen.at(-1), { timeout: 30_000 }).toEqual([])
}, 60_000)

test('an instance that a former session takes back by a late request is taken over again', async () => {
  const [first, second] = await two('2s')
  const [member] = await openAt(second, first, 1)
  await member!.register('one', 10_001)
  // As a registry that stood still, and executes what the process asked before it went elsewhere.
  const late = await TestSession.open(first, 'stock', member!.credentials())
  expect(await late.ask({ type: 'register', instance: instance('stock', 'one', { port: 10_001 }) })).toMatchObject({
    type: 'done',
  })
  late.close()
  const observer = await open([second.url], 'checkout')
  const seen = lists(observer, 'stock')
  await new Promise((resolve) => setTimeout(resolve, 5_000))
  expect(seen.at(-1)).toEqual(['one'])
  for (const list of seen) expect(list).toEqual(['one'])
}, 60_000)
