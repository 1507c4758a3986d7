import { expect, test } from 'vitest'
import { LOOKUP_MS, RegistryAddresses, type ResolveName } from '../../../src/discovery/registry/addresses.ts'
import { isOnLoopback, labelOf, lookupOf } from '../../../src/discovery/registry/target.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'

const NAME = 'https://registry.example:7400'
const THREE = ['https://10.0.0.1:7400', 'https://10.0.0.2:7400', 'https://10.0.0.3:7400']

function named(answer: ResolveName, all: readonly string[] = [NAME], seed = 1) {
  const clock = new FakeClock({ seed })
  const asked: string[] = []
  const addresses = new RegistryAddresses(all, clock, (host) => {
    asked.push(host)
    return answer(host)
  })
  const labels = async (): Promise<string[]> => (await addresses.targets()).map(labelOf)
  return { addresses, clock, asked, labels }
}

const none: ResolveName = () => Promise.reject(new Error('getaddrinfo ENOTFOUND registry.example'))

test('addresses are tried as given, and at random once a registry is one of several', async () => {
  const firsts = new Map<string, number>()
  for (let seed = 1; seed <= 300; seed++) {
    const { addresses, labels } = named(none, THREE, seed)
    expect(await labels()).toEqual(THREE)
    expect(addresses.answered({ url: THREE[0]!, ip: undefined }, 2)).toBe(true)
    const [first] = await labels()
    firsts.set(first!, (firsts.get(first!) ?? 0) + 1)
  }
  expect([...firsts.keys()].sort()).toEqual(THREE)
  for (const times of firsts.values()) expect(times).toBeGreaterThan(50)
})

test.each([
  ['is the only one', THREE, 1],
  ['does not say, because it is older', THREE, undefined],
  ['has a name with several addresses, which come at random anyhow', [NAME], 3],
])('the address of a registry that %s is kept', async (_what, urls, registries) => {
  const { addresses, labels } = named(async () => ['10.0.0.1', '10.0.0.2'], urls)
  const [target] = await addresses.targets()
  expect(addresses.answered(target!, registries)).toBe(false)
  for (let i = 0; i < 20; i++) expect((await labels())[0]).toBe(labelOf(target!))
})

test('a process chooses anew once, and then stays with the registry that answers', async () => {
  const { addresses, labels } = named(none, THREE)
  expect(addresses.answered({ url: THREE[0]!, ip: undefined }, 3)).toBe(true)
  expect(addresses.answered({ url: THREE[2]!, ip: undefined }, 3)).toBe(false)
  for (let i = 0; i < 20; i++) expect((await labels())[0]).toBe(THREE[2])
})

test('every address is tried, each once, also when one is given twice', async () => {
  const { labels } = named(none, [...THREE, THREE[0]!])
  expect((await labels()).sort()).toEqual(THREE)
})

test('the one that answered last comes first, until it fails; then it comes last for a while', async () => {
  const { addresses, clock, labels } = named(none, THREE)
  const target = { url: THREE[1]!, ip: undefined }
  addresses.answered(target, 3)
  addresses.answered(target, 3)
  expect((await labels())[0]).toBe(THREE[1])
  addresses.avoid(target)
  for (let i = 0; i < 20; i++) expect((await labels())[2]).toBe(THREE[1])
  clock.advance(10_000)
  const places = new Set<number>()
  for (let i = 0; i < 100; i++) places.add((await labels()).indexOf(THREE[1]!))
  expect([...places].sort()).toEqual([0, 1, 2])
})

test('each address of a name is a registry of its own, and a changed answer is followed', async () => {
  let answer = ['10.0.0.1', '10.0.0.2', '10.0.0.1']
  const { labels } = named(async () => answer)
  expect((await labels()).sort()).toEqual([`${NAME} (10.0.0.1)`, `${NAME} (10.0.0.2)`])
  answer = ['10.0.0.2', '::1']
  expect((await labels()).sort()).toEqual([`${NAME} (10.0.0.2)`, `${NAME} (::1)`])
})

test('a name with one address is left to the connection', async () => {
  expect(await named(async () => ['10.0.0.1']).labels()).toEqual([NAME])
})

test('of 200 addresses of a name, a search tries 16, and another one others', async () => {
  const ips = Array.from({ length: 200 }, (_, i) => `10.0.1.${i}`)
  const { labels } = named(async () => ips)
  const tried = new Set<string>()
  for (let i = 0; i < 100; i++) {
    const some = await labels()
    expect(some).toHaveLength(16)
    for (const one of some) tried.add(one)
  }
  expect(tried.size).toBe(200)
})

test.each<[string, ResolveName]>([
  ['fails', none],
  ['is empty', async () => []],
  ['is nonsense', async () => ['not an address']],
])('when DNS %s, the connection says why, and the last answer is tried, too', async (_what, broken) => {
  let answer: ResolveName = broken
  const { labels } = named((host) => answer(host))
  expect(await labels()).toEqual([NAME])
  answer = async () => ['10.0.0.1', '10.0.0.2']
  await labels()
  answer = broken
  const later = await labels()
  expect([...later].sort()).toEqual([NAME, `${NAME} (10.0.0.1)`, `${NAME} (10.0.0.2)`])
})

test('a silent name server is waited for once, and holds up no other address', async () => {
  const { asked, clock, labels } = named(() => new Promise(() => {}), [NAME, THREE[0]!])
  for (let i = 0; i < 3; i++) {
    const found = labels()
    await clock.settle(LOOKUP_MS)
    expect((await found).sort()).toEqual([THREE[0], NAME])
  }
  expect(asked).toEqual(['registry.example'])
  expect(clock.timers).toBe(0)
})

test('a late answer is for the next search', async () => {
  const late = Promise.withResolvers<readonly string[]>()
  const { clock, labels } = named(() => late.promise)
  const found = labels()
  await clock.settle(LOOKUP_MS)
  expect(await found).toEqual([NAME])
  late.resolve(['10.0.0.1', '10.0.0.2'])
  await clock.settle()
  expect(await labels()).toHaveLength(2)
})

test('a connection to one address of a name does not look it up', () => {
  const { lookup } = lookupOf({ url: NAME, ip: '::1' })
  const answers: unknown[] = []
  lookup!('registry.example', {}, (...answer) => answers.push(answer))
  lookup!('registry.example', { all: true }, (...answer) => answers.push(answer))
  expect(answers).toEqual([
    [null, '::1', 6],
    [null, [{ address: '::1', family: 6 }]],
  ])
  expect(lookupOf({ url: NAME, ip: undefined })).toEqual({})
})

test('localhost that resolves elsewhere is not on loopback', () => {
  const url = 'https://localhost:7400'
  expect([undefined, '127.0.0.1', '::1', '10.0.0.1'].map((ip) => isOnLoopback({ url, ip }))).toEqual([
    true,
    true,
    true,
    false,
  ])
})
