/** The file of a backup: what is read is what was written, or one clear error. */
import { randomBytes } from 'node:crypto'
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { CHUNK, TAG } from '../../../src/registry/backup/chunks.ts'
import { BackupError } from '../../../src/registry/backup/error.ts'
import { exportState } from '../../../src/registry/backup/export-state.ts'
import type { BackupSecret } from '../../../src/registry/backup/secret.ts'
import { writeBackup } from '../../../src/registry/backup/write-backup.ts'
import { SqliteStorage } from '../../../src/registry/storage/sqlite.ts'
import type { Operation } from '../../../src/registry/storage/storage.ts'
import { BackupRig, KEY, ORIGIN } from './rig.ts'

let rig: BackupRig
beforeEach(() => {
  rig = new BackupRig()
})
afterEach(() => rig.close())

/** Cannot be compressed, so that the file has several chunks. */
function noise(records: number): Operation[] {
  return Array.from({ length: records }, (_, i) => ({ key: `note/${i}`, value: randomBytes(300).toString('hex') })).map(
    ({ key, value }) => ({ key, value: JSON.stringify({ value }) }),
  )
}

async function refusal(work: Promise<unknown>): Promise<BackupError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(BackupError)
  return error as BackupError
}

/** Where the parts of the file begin. */
function partsOf(file: Buffer): number[] {
  let head = 0
  for (let line = 0; line < 3; line++) head = file.indexOf('\n', head) + 1
  const parts: number[] = []
  for (let at = head; at < file.length; at += CHUNK + TAG) parts.push(at)
  return parts
}

describe('a backup', () => {
  test('gives back each record as it was, also kinds that this version does not know', async () => {
    const storage = await rig.storage([
      { key: 'future/thing', value: '{"a":"ü\\u0000"}' },
      { key: 'token/h', value: JSON.stringify({ id: 'h', service: 's', uses: 1, usesLeft: 1, expiresAt: 1 }) },
      { key: 'registry/abc', value: '{}' },
      { key: 'tx/abc', value: '{}' },
    ])
    await rig.write(storage, 'b')
    const { items, revision, epoch, counts, origin } = await rig.read('b')
    const expected = (await storage.list('')).items.filter(({ key }) => !/^(registry|tx)\//.test(key))
    expect(items).toEqual(expected)
    expect({ revision, epoch }).toEqual({ revision: 1, epoch: storage.status().epoch })
    expect(origin).toEqual(ORIGIN)
    expect(counts).toMatchObject({ records: 3, tokens: 1 })
  })

  test('is a file for its owner alone, and holds no byte of a record in clear', async () => {
    await rig.write(await rig.storage(), 'b')
    expect(statSync(rig.path('b')).mode & 0o777).toBe(0o600)
    const text = readFileSync(rig.path('b'), 'latin1')
    expect(text).not.toContain('PRIVATE KEY')
    expect(text).not.toContain('ca/root')
    expect(text).toContain(ORIGIN.trustDomain)
    expect(readdirSync(rig.directory)).toEqual(['b'])
  })

  test('made twice of one state has no byte of ciphertext in common', async () => {
    const storage = await rig.storage()
    await rig.write(storage, 'a')
    await rig.write(storage, 'b')
    const [a, b] = ['a', 'b'].map((name) => readFileSync(rig.path(name)))
    expect(a!.subarray(-64).equals(b!.subarray(-64))).toBe(false)
  })

  test('opens with its passphrase in either form of Unicode, and with no other', async () => {
    const secret: BackupSecret = { kind: 'passphrase', passphrase: 'gr\u00fcne Kan\u00e4le' }
    await rig.write(await rig.storage(), 'b', secret)
    const decomposed: BackupSecret = { kind: 'passphrase', passphrase: secret.passphrase.normalize('NFD') }
    expect((await rig.read('b', decomposed)).counts.records).toBe(1)
    const wrong = await refusal(rig.read('b', { kind: 'passphrase', passphrase: 'another passphrase' }))
    expect(wrong.code).toBe('backup-wrong-key')
    expect(wrong.message).toBe(`${rig.path('b')}: this is not the passphrase with which the backup was made`)
  })

  test('says which kind of secret opens it', async () => {
    await rig.write(await rig.storage(), 'b')
    const other = await refusal(rig.read('b', { kind: 'passphrase', passphrase: 'a passphrase' }))
    expect(other.message).toContain('made with a key file; give --key-file')
    const wrong = await refusal(rig.read('b', { kind: 'key', key: randomBytes(32) }))
    expect(wrong).toMatchObject({ code: 'backup-wrong-key', message: expect.stringContaining('not the key file') })
  })

  test('never replaces a file, unless it is asked to', async () => {
    const storage = await rig.storage()
    writeFileSync(rig.path('b'), 'mine')
    expect(await refusal(rig.write(storage, 'b'))).toMatchObject({
      code: 'backup-exists',
      message: `${rig.path('b')} is there already; give another name, or --force to replace it`,
    })
    expect(readFileSync(rig.path('b'), 'utf8')).toBe('mine')
    await rig.write(storage, 'b', KEY, true)
    expect((await rig.read('b')).counts.records).toBe(1)
    expect(readdirSync(rig.directory)).toEqual(['b'])
  })

  test('is not written over a file that appears meanwhile, or through a link', async () => {
    const storage = await rig.storage()
    async function* slow(): AsyncGenerator<string> {
      writeFileSync(rig.path('b'), 'mine')
      yield* exportState(storage)
    }
    const options = { path: rig.path('b'), secret: KEY, replace: false }
    expect((await refusal(writeBackup({ origin: ORIGIN, lines: slow() }, options))).code).toBe('backup-exists')
    expect(readFileSync(rig.path('b'), 'utf8')).toBe('mine')
    symlinkSync(rig.path('b'), rig.path('link'))
    expect((await refusal(rig.write(storage, 'link', KEY, true))).message).toContain('is no file')
    expect(readFileSync(rig.path('b'), 'utf8')).toBe('mine')
    expect(readdirSync(rig.directory).sort()).toEqual(['b', 'link'])
  })

  test('of a damaged state is not written, and the record is named', async () => {
    const storage = await rig.storage([{ key: 'policy/shop', value: '{"version":"x"}' }])
    const error = await refusal(rig.write(storage, 'b'))
    expect(error.code).toBe('backup-invalid')
    expect(error.message).toContain("because the state is damaged: the record 'policy/shop' is damaged")
    expect(readdirSync(rig.directory)).toEqual([])
  })

  test('of an answer that ends early, or without an authority, is not written', async () => {
    const options = { path: rig.path('b'), secret: KEY, replace: false }
    async function* cut(): AsyncGenerator<string> {
      yield '["ca/root","{}",1]\n'
    }
    expect((await refusal(writeBackup({ origin: ORIGIN, lines: cut() }, options))).code).toBe('backup-incomplete')
    async function* empty(): AsyncGenerator<string> {
      yield '{"epoch":"e","revision":0,"lines":0}\n'
    }
    expect((await refusal(writeBackup({ origin: ORIGIN, lines: empty() }, options))).message).toContain(
      "no certificate authority ('ca/…')",
    )
    expect(readdirSync(rig.directory)).toEqual([])
  })
})

describe('what is no backup', () => {
  const cases: readonly (readonly [string, () => void, string, string])[] = [
    ['a missing file', () => {}, 'backup-unreadable', 'it does not exist'],
    ['a directory', () => mkdirSync(rig.path('b')), 'backup-unreadable', 'it is a directory'],
    ['an empty file', () => writeFileSync(rig.path('b'), ''), 'backup-unreadable', 'it is empty'],
    ['another file', () => writeFileSync(rig.path('b'), randomBytes(9_000)), 'backup-unreadable', 'it is no backup'],
    ['a file of text', () => writeFileSync(rig.path('b'), 'services:\n- a\n'), 'backup-unreadable', 'it is no backup'],
    [
      'a newer format',
      () => writeFileSync(rig.path('b'), `inmesh-backup 2 ${'A'.repeat(43)}\n{}\nx\n`),
      'backup-version',
      'its format is 2, and this inmesh reads up to format 1; use the inmesh that made it, or newer',
    ],
  ]
  test.each(cases)('%s has one clear error', async (_name, make, code, message) => {
    make()
    const error = await refusal(rig.read('b'))
    expect(error.code).toBe(code)
    expect(error.message).toContain(message)
    expect(error.message).toContain(rig.path('b'))
  })

  test.skipIf(process.getuid?.() === 0)('a file that may not be read (SKIPPED as root, who may read any)', async () => {
    await rig.write(await rig.storage(), 'b')
    chmodSync(rig.path('b'), 0)
    expect((await refusal(rig.read('b'))).message).toContain('permission denied')
  })

  test('a head that asks for more memory than a backup is worth', async () => {
    const secret: BackupSecret = { kind: 'passphrase', passphrase: 'a passphrase' }
    const { createHash } = await import('node:crypto')
    const salt = Buffer.alloc(32).toString('base64url')
    for (const scrypt of [{ n: 2 ** 30, r: 8, p: 1 }, { n: 3, r: 8, p: 1 }, { n: 2 ** 17, r: 8, p: 1e9 }, {}, null]) {
      const fields = JSON.stringify({ ...ORIGIN, key: { kind: 'passphrase', salt, scrypt } })
      const digest = createHash('sha256').update(fields).digest('base64url')
      writeFileSync(rig.path('b'), `inmesh-backup 1 ${digest}\n${fields}\nAAAA\n`)
      expect((await refusal(rig.read('b', secret))).message).toContain('missing or invalid')
    }
  })
})

describe('a damaged backup', () => {
  let file: Buffer
  beforeEach(async () => {
    await rig.write(await rig.storage(noise(800)), 'whole')
    file = readFileSync(rig.path('whole'))
  })
  const reading = async (bytes: Buffer): Promise<BackupError> => {
    writeFileSync(rig.path('b'), bytes)
    return refusal(rig.read('b'))
  }
  const CODES = ['backup-damaged', 'backup-unreadable', 'backup-wrong-key', 'backup-version']

  test('has at least four parts, and is refused with any two of them exchanged or one repeated', async () => {
    const parts = partsOf(file)
    expect(parts.length).toBeGreaterThanOrEqual(4)
    const part = (i: number): Buffer => file.subarray(parts[i], parts[i + 1])
    const head = file.subarray(0, parts[0])
    const orders = [
      [1, 0, 2, 3],
      [0, 2, 1, 3],
      [0, 0, 1, 2, 3],
      [1, 2, 3],
      [0, 1, 3],
    ]
    for (const order of orders) {
      const rest = order.map(part)
      expect((await reading(Buffer.concat([head, ...rest]))).code).toBe('backup-damaged')
    }
  })

  test('is refused when it was cut anywhere, at each boundary above all', async () => {
    const parts = partsOf(file)
    const lengths = new Set([0, 1, 13, 14, 16, parts[0]! - 1, file.length - 1])
    for (const part of parts) for (const beside of [-1, 0, 1, TAG]) lengths.add(part + beside)
    for (const length of lengths) {
      const error = await reading(file.subarray(0, length))
      expect(CODES).toContain(error.code)
      if (length >= parts[0]!) expect(error.message).toMatch(/it was cut off.*; use another backup/)
    }
  })

  test('is refused with bytes behind its end', async () => {
    for (const more of [1, TAG, 4_000]) {
      expect((await reading(Buffer.concat([file, randomBytes(more)]))).code).toBe('backup-damaged')
    }
  })

  test('is refused with any bit flipped', async () => {
    const head = partsOf(file)[0]!
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.nat(head - 1), fc.nat(file.length - 1)), fc.nat(7), async (at, bit) => {
        const bytes = Buffer.from(file)
        bytes[at]! ^= 1 << bit
        const { code } = await reading(bytes)
        expect(CODES).toContain(code)
        if (at >= head) expect(code).toBe('backup-damaged')
      }),
      { numRuns: 150 },
    )
  })

  test('with the parts of another one is refused, also under the same key', async () => {
    await rig.write(await rig.storage(noise(800)), 'other')
    const other = readFileSync(rig.path('other'))
    const [mine, theirs] = [partsOf(file), partsOf(other)]
    const mixed = Buffer.concat([file.subarray(0, mine[1]), other.subarray(theirs[1])])
    expect((await reading(mixed)).code).toBe('backup-damaged')
    const head = Buffer.concat([file.subarray(0, mine[0]), other.subarray(theirs[0])])
    expect((await reading(head)).code).toBe('backup-damaged')
  })
})

test('the state of an export under changes is that of its revision', async () => {
  const storage = await rig.storage(noise(900))
  const expected = new Map((await storage.list('')).items.map((item) => [item.key, item]))
  let changes = 0
  async function* busy(): AsyncGenerator<string> {
    for await (const lines of exportState(storage)) {
      yield lines
      for (let i = 0; i < 5; i++, changes++) {
        await storage.transact([], [{ key: `note/${changes * 20}`, value: undefined }])
        await storage.transact([], [{ key: `note/${899 - changes}`, value: `{"changed":${changes}}` }])
        await storage.transact([], [{ key: `note/new-${changes}`, value: '{}' }])
      }
    }
  }
  const options = { path: rig.path('b'), secret: KEY, replace: false }
  const { items, revision } = await writeBackup({ origin: ORIGIN, lines: busy() }, options)
  expect(revision).toBeGreaterThan(1)
  expect(revision).toBeLessThan(storage.status().revision)
  // From the history alone.
  const stop = await storage.watch('', 1, (batch) => {
    if (batch.revision > revision) return
    for (const { key, value } of batch.changes) {
      if (value === undefined) expected.delete(key)
      else expected.set(key, { key, value, revision: batch.revision })
    }
  })
  stop()
  expect(items).toEqual([...expected.values()].sort((a, b) => (a.key < b.key ? -1 : 1)))
})

test('an export reads a large store in parts, and lets other work run in between', async () => {
  const storage = await SqliteStorage.open({ path: rig.path('large.db') })
  for (let i = 0; i < 20; i++) {
    const some = Array.from({ length: 1_000 }, (_, k) => ({ key: `note/${i}-${k}`, value: '{"n":1}' }))
    await storage.transact([], some)
  }
  let turns = 0
  let next = setImmediate(function turn() {
    turns += 1
    next = setImmediate(turn)
  })
  const sizes: number[] = []
  for await (const lines of exportState(storage)) sizes.push(lines.split('\n').length - 1)
  clearImmediate(next)
  await storage.close()
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(20_001)
  expect(Math.max(...sizes)).toBeLessThanOrEqual(500)
  expect(turns).toBeGreaterThanOrEqual(sizes.length - 2)
})
