/** Several registries on one store, with and without its seal key. */
import { randomBytes } from 'node:crypto'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { OptionsError } from '../../../src/options/fields.ts'
import { SILENT_LOG } from '../../../src/registry/log.ts'
import type { SealSecret } from '../../../src/registry/seal/key-source.ts'
import { SealedStorage } from '../../../src/registry/seal/sealed-storage.ts'
import { StorageError } from '../../../src/registry/storage/errors.ts'
import { MemoryStorage } from '../../../src/registry/storage/memory.ts'
import type { Batch, Storage } from '../../../src/registry/storage/storage.ts'

const ROOT = { trustDomain: 'inmesh.local', certificate: 'C', privateKey: 'the-root-key', sequence: 1 }
const SIGNING = { privateKey: 'the-signing-key', createdAt: 1 }
const one: SealSecret = { key: randomBytes(32) }
const other: SealSecret = { key: randomBytes(32) }
const phrase: SealSecret = { passphrase: 'correct horse battery staple' }

/** Cheap, because a test derives dozens of keys. */
const SALT = JSON.stringify({ kdf: 'scrypt', salt: 'c2FsdCBvZiB0aGUgdGVzdA==', N: 2 ** 10, r: 8, p: 1 })

let inner: MemoryStorage
beforeEach(async () => {
  inner = new MemoryStorage()
  await inner.transact([], [{ key: 'seal/salt', value: SALT }])
})
afterEach(() => inner.close())

const open = (seal?: SealSecret, former?: SealSecret): Promise<SealedStorage> =>
  SealedStorage.open(inner, { seal, former }, SILENT_LOG)

async function fill(storage: MemoryStorage | SealedStorage): Promise<void> {
  await storage.transact(
    [],
    [
      { key: 'ca/root', value: JSON.stringify(ROOT) },
      { key: 'jwt/key', value: JSON.stringify(SIGNING) },
      { key: 'policy/mesh', value: '{"document":{},"version":1}' },
    ],
  )
}
const stored = async (): Promise<Record<string, string>> =>
  Object.fromEntries((await inner.list('')).items.map(({ key, value }) => [key, value]))
const read = async (storage: SealedStorage, key: string): Promise<unknown> =>
  JSON.parse((await storage.list(key)).items[0]!.value)
async function refusal(opening: Promise<unknown>): Promise<Error> {
  return await opening.then(
    () => expect.unreachable('opened'),
    (error: Error) => error,
  )
}

test('seals the records with private keys, and no others', async () => {
  const storage = await open(one)
  await fill(storage)
  const values = await stored()
  expect(JSON.stringify(values)).not.toMatch(/the-root-key|the-signing-key/)
  expect(values['policy/mesh']).toBe('{"document":{},"version":1}')
  expect(await read(storage, 'ca/root')).toEqual(ROOT)
  expect(await read(await open(one), 'jwt/key')).toEqual(SIGNING)
})

test('tells watchers the plain values, live and from the history', async () => {
  const storage = await open(one)
  const live: Batch[] = []
  const late: Batch[] = []
  await storage.watch('', 0, (batch) => live.push(batch))
  await fill(storage)
  await storage.transact([], [{ key: 'jwt/key', value: undefined }])
  await storage.watch('', 0, (batch) => late.push(batch))
  expect(late).toEqual(live)
  expect(live[1]!.changes).toContainEqual({ key: 'ca/root', value: JSON.stringify(ROOT) })
  expect(live[2]!.changes).toEqual([{ key: 'jwt/key', value: undefined }])
})

test('compares the revisions of sealed records as those of others', async () => {
  const storage = await open(one)
  await fill(storage)
  const { items } = await storage.list('ca/root')
  const value = JSON.stringify({ ...ROOT, sequence: 2 })
  const put = (revision: number) => storage.transact([{ key: 'ca/root', revision }], [{ key: 'ca/root', value }])
  expect(await put(items[0]!.revision + 7)).toMatchObject({ ok: false })
  expect(await put(items[0]!.revision)).toMatchObject({ ok: true })
  expect(await read(storage, 'ca/root')).toEqual({ ...ROOT, sequence: 2 })
})

test.each([
  ['a key', one],
  ['a passphrase', phrase],
])('seals an unsealed store in place with %s', async (_what, secret) => {
  await fill(inner)
  expect(await read(await open(secret), 'ca/root')).toEqual(ROOT)
  expect(JSON.stringify(await stored())).not.toMatch(/the-root-key|the-signing-key/)
  const revision = inner.status().revision
  expect(await read(await open(secret), 'ca/root')).toEqual(ROOT)
  expect(inner.status().revision, 'sealed once').toBe(revision)
})

test('a store without a salt gets one, so that a passphrase has another key in each store', async () => {
  const ids = new Set<string>()
  for (let i = 0; i < 2; i++) {
    await inner.close()
    inner = new MemoryStorage()
    await fill(inner)
    await open(phrase)
    ids.add(JSON.parse((await stored())['ca/root']!).keyId)
    expect(JSON.parse((await stored())['seal/salt']!)).toMatchObject({ kdf: 'scrypt', N: 2 ** 17 })
  }
  expect(ids.size).toBe(2)
})

test('a wrong passphrase leaves no salt behind', async () => {
  await inner.transact([], [{ key: 'seal/salt', value: undefined }])
  await fill(inner)
  await open(one)
  const before = await stored()
  expect((await refusal(open(phrase))).message).toMatch(/sealKey: is another one/)
  expect(await stored()).toEqual(before)
})

test.each([
  ['no key', undefined, one, /sealKey: is missing: the keys of this store are sealed, with key [0-9a-f]{16}/],
  ['another key', other, one, /sealKey: is another one than this store was sealed with \(key \w+, given \w+\)/],
  ['a passphrase for a key', phrase, one, /sealKey: is another one/],
  ['another passphrase', { passphrase: 'incorrect horse battery' }, phrase, /sealKey: is another one/],
  ['a key for a passphrase', one, phrase, /sealKey: is another one/],
])('refuses %s and changes nothing', async (_what, given, right, message) => {
  await fill(inner)
  await open(right)
  const before = { values: await stored(), revision: inner.status().revision }
  const error = await refusal(open(given))
  expect(error).toBeInstanceOf(OptionsError)
  expect(error.message).toMatch(message)
  expect({ values: await stored(), revision: inner.status().revision }).toEqual(before)
  expect(await read(await open(right), 'ca/root')).toEqual(ROOT)
})

test('a key that fits neither way is refused together with its former one', async () => {
  await fill(inner)
  await open(one)
  const before = await stored()
  const third: SealSecret = { key: randomBytes(32) }
  expect((await refusal(open(third, other))).message).toMatch(/sealKey: is another one/)
  expect(await stored()).toEqual(before)
})

test.each([
  ['a key by another key', one, other],
  ['a key by a passphrase', one, phrase],
  ['a passphrase by a key', phrase, one],
  ['a passphrase by another', phrase, { passphrase: 'another horse battery' }],
])('changes %s', async (_what, from, to) => {
  await fill(inner)
  await open(from)
  expect(await read(await open(to, from), 'ca/root')).toEqual(ROOT)
  expect(await read(await open(to), 'jwt/key')).toEqual(SIGNING)
  expect(await read(await open(to, from), 'jwt/key'), 'given once more').toEqual(SIGNING)
  expect(await refusal(open(from))).toBeInstanceOf(OptionsError)
})

test('a damaged record is told from a wrong key, and nothing is sealed then', async () => {
  await fill(inner)
  await open(one)
  const value = JSON.parse((await stored())['ca/root']!)
  const put = (text: string) => inner.transact([], [{ key: 'ca/root', value: text }])
  const flipped = Buffer.from(value.data, 'base64')
  flipped[3]! ^= 4
  for (const damage of [
    JSON.stringify({ ...value, data: flipped.toString('base64') }),
    JSON.stringify({ ...value, nonce: '' }),
    JSON.stringify({ ...value, keyId: 7 }),
    JSON.stringify({ ...value, sealed: 9 }),
    '{"sealed":1',
    '{"privateKey":7}',
  ]) {
    await put(damage)
    const before = await stored()
    const error = await refusal(open(one))
    expect(error).toBeInstanceOf(StorageError)
    expect(error.message).toMatch(/the record 'ca\/root' is damaged: .*estore/)
    expect(await stored()).toEqual(before)
  }
})

test('a damaged salt is one clear error', async () => {
  await fill(inner)
  await open(phrase)
  for (const damage of ['{', '{}', 'null', JSON.stringify({ kdf: 'scrypt', salt: 'AA', N: 2 ** 40, r: 8, p: 1 })]) {
    await inner.transact([], [{ key: 'seal/salt', value: damage }])
    expect((await refusal(open(phrase))).message).toMatch(/'seal\/salt' is damaged.*no passphrase opens/)
  }
})

test('goes on where a start was killed between the records', async () => {
  await fill(inner)
  const half = await open(one)
  await half.transact([], [{ key: 'ca/second', value: JSON.stringify(ROOT) }])
  await inner.transact([], [{ key: 'jwt/key', value: JSON.stringify(SIGNING) }])
  expect(await read(await open(one), 'jwt/key')).toEqual(SIGNING)
  expect(JSON.stringify(await stored())).not.toMatch(/the-root-key|the-signing-key/)
})

test('seals more records than one transaction compares', async () => {
  for (let i = 0; i < 130; i++) {
    await inner.transact([], [{ key: `ca/many-${i}`, value: JSON.stringify(ROOT) }])
  }
  const storage = await open(one)
  expect(JSON.stringify(await stored())).not.toContain('the-root-key')
  expect((await storage.list('ca/')).items).toHaveLength(130)
})

test('two registries that seal one store at once leave it whole', async () => {
  await fill(inner)
  const [a, b] = await Promise.all([open(one), open(one)])
  expect(await read(a!, 'ca/root')).toEqual(ROOT)
  expect(await read(b!, 'jwt/key')).toEqual(SIGNING)
})

test('a registry that runs without the key goes on with what it knows, and changes no key', async () => {
  await fill(inner)
  const without = await open()
  const seen: string[] = []
  await without.watch('', inner.status().revision, ({ changes }) => seen.push(...changes.map(({ key }) => key)))
  const sealed = await open(one)
  expect(seen).not.toContain('ca/root')
  await expect(without.transact([], [{ key: 'ca/root', value: JSON.stringify(ROOT) }])).rejects.toThrow(
    /sealed with a seal key that this registry does not have/,
  )
  // A list without the root would be taken for a mesh without one.
  await expect(without.list('')).rejects.toThrow(/does not have/)
  await without.transact([], [{ key: 'policy/mesh', value: '{"document":{},"version":2}' }])
  expect(seen.at(-1)).toBe('policy/mesh')
  expect(await read(sealed, 'ca/root')).toEqual(ROOT)
})

test('what a registry without the key writes in between is sealed by one that has it', async () => {
  const sealed = await open(one)
  const seen: Batch[] = []
  await sealed.watch('', inner.status().revision, (batch) => seen.push(batch))
  await fill(await open())
  expect(seen[0]!.changes).toContainEqual({ key: 'ca/root', value: JSON.stringify(ROOT) })
  await expect.poll(async () => JSON.stringify(await stored())).not.toMatch(/the-root-key|the-signing-key/)
  expect(await read(sealed, 'jwt/key')).toEqual(SIGNING)
})

test('warns on etcd without a key, and after sealing a store whose history it cannot erase', async () => {
  await fill(inner)
  const warnings: string[] = []
  const log = { ...SILENT_LOG, warn: (_fields: object, message: string) => warnings.push(message) }
  const etcd: Storage = {
    transact: (compares, operations) => inner.transact(compares, operations),
    list: (prefix) => inner.list(prefix),
    scan: (prefix) => inner.scan(prefix),
    watch: (prefix, after, listener) => inner.watch(prefix, after, listener),
    campaign: (name) => inner.campaign(name),
    announce: (key, value) => inner.announce(key, value),
    onStatus: () => () => {},
    status: () => ({ ...inner.status(), engine: 'etcd' }),
    close: () => inner.close(),
  }
  await SealedStorage.open(etcd, { seal: undefined, former: undefined }, log)
  expect(warnings).toEqual([expect.stringMatching(/^no seal key: /)])
  await SealedStorage.open(etcd, { seal: one, former: undefined }, log)
  expect(warnings[1]).toMatch(/history, snapshots and backups; rotate the authority/)
  await SealedStorage.open(etcd, { seal: one, former: undefined }, log)
  expect(warnings).toHaveLength(2)
})
