/** Processes that list the same registries in the same order; the registries share a store. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { deadPort } from '../../rigs/dead-port.ts'
import { TestFleet } from '../../rigs/fleet.ts'
import { Member, type MemberOptions } from '../../rigs/member-session.ts'
import { ScriptedRegistry } from '../../rigs/scripted-registry.ts'

const PROCESSES = 40

let fleet: TestFleet
let members: Member[]

beforeEach(() => {
  fleet = new TestFleet()
  members = []
})

afterEach(async () => {
  await Promise.all(members.map((member) => member.close()))
  await fleet.close()
})

async function open(urls: readonly string[], options: MemberOptions = {}): Promise<Member> {
  const member = await Member.open(urls, 'stock', options)
  members.push(member)
  await expect.poll(() => member.client.connected, { timeout: 20_000 }).toBe(true)
  return member
}

async function several(count: number): Promise<string[]> {
  for (let i = 0; i < count; i++) await fleet.start()
  return fleet.members.map(({ registry }) => registry.url)
}

/** How many sessions each registry has. */
const sessions = (): number[] => fleet.members.map(({ registry }) => registry.counts.sessions)

test.each([
  ['join', {}],
  ['have a certificate already', { restarted: true }],
])('processes that %s spread over three registries, with one session each', async (_what, options) => {
  const urls = await several(3)
  for (let i = 0; i < PROCESSES; i++) await open(urls, options)
  // A registry with far more than its share asks some of them to move, to one other each.
  for (const { told } of members) expect(told.map(({ what }) => what)).toEqual(told.map(() => 'connected'))
  await expect.poll(() => sessions().reduce((sum, some) => sum + some, 0)).toBe(PROCESSES)
  // All at two of them: once in a million runs.
  expect(sessions().every((some) => some > 0)).toBe(true)
})

test('a process is registered once, at the registry that it has chosen', async () => {
  const urls = await several(3)
  for (let i = 0; i < 8; i++) {
    const member = await open(urls, { restarted: true })
    await member.register(member.process, 10_000 + i)
    member.watch('stock')
  }
  const all = members.map(({ process }) => process).sort()
  for (const member of members) await expect.poll(() => member.known('stock'), { timeout: 20_000 }).toEqual(all)
})

test('the only registry is used where it stands in the list', async () => {
  const urls = await several(1)
  const other = await new ScriptedRegistry().listen()
  try {
    for (const restarted of [true, false]) {
      const member = await open([urls[0]!, other.url], { restarted })
      expect(member.registries).toEqual(urls)
    }
  } finally {
    await other.close()
  }
})

test('a process that chooses anew comes back to the one registry that answers', async () => {
  const urls = await several(2)
  const [, second] = fleet.members
  // Its address answers no more, and the store still takes it for alive.
  const url = `https://127.0.0.1:${await deadPort()}`
  for (let i = 0; i < 6; i++) {
    const member = await open([urls[0]!, url], { restarted: true })
    expect(member.registries).toEqual([urls[0]])
  }
  expect(second!.registry.counts.sessions).toBe(0)
})
