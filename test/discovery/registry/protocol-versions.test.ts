/** Processes and registries of protocols 1 and 2, each with each. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { commonProtocol } from '../../../src/discovery/registry/wire.ts'
import type { Registry } from '../../../src/registry/index.ts'
import { TestFleet } from '../../rigs/fleet.ts'
import { Member } from '../../rigs/member-session.ts'
import { join, TestSession } from '../../rigs/registry-session.ts'

let fleet: TestFleet
const members: Member[] = []

beforeEach(() => {
  fleet = new TestFleet()
})

afterEach(async () => {
  await Promise.all(members.splice(0).map((member) => member.close()))
  await fleet.close()
})

/** A registry that speaks up to `protocol`. */
async function start(protocol: number): Promise<Registry> {
  return (await fleet.start(undefined, protocol)).registry
}

async function open(urls: readonly string[], protocol?: number): Promise<Member> {
  const member = await Member.at(urls[0]!, urls, 'stock', protocol === undefined ? {} : { protocol })
  members.push(member)
  await expect.poll(() => member.client.connected, { timeout: 20_000 }).toBe(true)
  return member
}

test.each([
  [1, 1],
  [1, 2],
  [2, 1],
  [2, 2],
])('a registry up to protocol %i serves a process up to protocol %i', async (ofRegistry, ofProcess) => {
  const registry = await start(ofRegistry)
  const member = await open([registry.url], ofProcess)
  await member.register('one', 10_001)
  member.watch('stock')
  await expect.poll(() => member.known('stock')).toEqual(['one'])
  await member.client.deregister('one')
  await expect.poll(() => member.known('stock')).toEqual([])
  expect(member.told.map(({ what }) => what)).toEqual(['connected'])
})

test.each([
  ['3, 2 or 1', { protocol: 3, least: 1 }, 2],
  ['2 or 1', { protocol: 2, least: 1 }, 2],
  ['1 only', { protocol: 1 }, 1],
  ['2 only', { protocol: 2 }, 2],
  ['3 only', { protocol: 3 }, undefined],
  ['3 at least', { protocol: 4, least: 3 }, undefined],
  ['none', { protocol: 'two' }, undefined],
])('to a process that speaks %s, a registry of protocol 2 answers so', async (_what, hello, answer) => {
  expect(commonProtocol(2, hello)).toBe(answer)
  const registry = await start(2)
  const session = new TestSession(registry, await join(registry, 'stock'), undefined)
  session.sendRaw(`${JSON.stringify({ type: 'hello', service: 'stock', process: 'p', ...hello })}\n`)
  if (answer === undefined) await session.next('error', ({ code }) => code === 'protocol-unsupported')
  else expect(await session.next('welcome')).toMatchObject({ protocol: answer })
  session.close()
})

test('registries of both protocols take over from each other, and no instance vanishes', async () => {
  const registries = [await start(1), await start(2)]
  const urls = registries.map(({ url }) => url)
  const stock = [await open(urls, 1), await open(urls, 2), await open([...urls].reverse(), 2)]
  for (const [i, member] of stock.entries()) {
    await member.register(member.process, 10_000 + i)
    member.watch('stock')
  }
  const ids = stock.map(({ process }) => process).sort()
  await expect.poll(() => stock.map((member) => member.known('stock'))).toEqual([ids, ids, ids])
  const vanished: string[][] = []
  for (const member of stock) {
    member.client.watches.watchEndpoints('stock', ({ instances }) => {
      const known = instances.map(({ id }) => id).sort()
      if (known.length < ids.length) vanished.push(known)
    })
  }
  await registries[0]!.close()
  const at = () => stock.map(({ client, registries: all }) => (client.connected ? all.at(-1) : undefined))
  await expect.poll(at, { timeout: 30_000 }).toEqual([urls[1], urls[1], urls[1]])
  await expect.poll(() => stock.map((member) => member.known('stock'))).toEqual([ids, ids, ids])
  expect(vanished).toEqual([])
})
