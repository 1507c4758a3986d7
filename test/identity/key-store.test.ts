import { execFileSync } from 'node:child_process'
import { chmod, link, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { rootFingerprint } from '../../src/identity/join-token.ts'
import { KeyStore } from '../../src/identity/key-store.ts'
import { OptionsError } from '../../src/options/fields.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import { newAuthority, newIdentity } from '../rigs/certificates.ts'

const now = Date.now()
let parent: string
let directory: string

beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), 'inmesh-'))
  directory = join(parent, 'state')
})

afterEach(async () => {
  await rm(parent, { recursive: true, force: true })
})

const open = (clock = new FakeClock({ wallNow: now })) => KeyStore.open({ directory, clock })
const modeOf = async (path: string) => (await stat(path)).mode & 0o777

describe('the key store', () => {
  test('makes its directory and files for the owner alone, and leaves no temporary file', async () => {
    const store = await open()
    await store.saveIdentity(newIdentity(newAuthority(now), 'checkout', now))
    expect(await modeOf(directory)).toBe(0o700)
    expect(await modeOf(join(directory, 'identity-checkout.json'))).toBe(0o600)
    expect(await readdir(directory)).toEqual(['identity-checkout.json'])
  })

  test('gives an identity back after a restart, and none for another service', async () => {
    const identity = newIdentity(newAuthority(now), 'checkout', now)
    await (await open()).saveIdentity(identity)
    const store = await open()
    expect(await store.loadIdentity('checkout')).toEqual(identity)
    expect(await store.loadIdentity('checkout', rootFingerprint(identity.roots[0]!))).toEqual(identity)
    expect(await store.loadIdentity('prices')).toBeUndefined()
    expect(store.ignored).toBe(0)
  })

  test('reads an identity of a version whose bundle had only roots', async () => {
    const { intermediates, denied, ...older } = newIdentity(newAuthority(now), 'checkout', now)
    expect([intermediates, denied]).toEqual([[], []])
    const store = await open()
    await store.writeState('identity-checkout.json', Buffer.from(JSON.stringify({ format: 1, ...older })))
    expect(await store.loadIdentity('checkout')).toMatchObject({ ...older, intermediates: [], denied: [] })
  })

  test('ignores and counts an identity that is expired, of another mesh, or under the name of another service', async () => {
    const identity = newIdentity(newAuthority(now), 'checkout', now)
    await (await open()).saveIdentity(identity)
    const late = await open(new FakeClock({ wallNow: now + 2 * 3_600_000 }))
    expect(await late.loadIdentity('checkout')).toBeUndefined()
    expect(late.ignored).toBe(1)
    const store = await open()
    expect(await store.loadIdentity('checkout', rootFingerprint(newAuthority(now).certificate))).toBeUndefined()
    await store.writeState('identity-prices.json', (await store.readState('identity-checkout.json'))!)
    expect(await store.loadIdentity('prices')).toBeUndefined()
    expect(store.ignored).toBe(2)
  })

  test.each([
    ['empty', () => ''],
    ['half written', (good: string) => good.slice(0, 400)],
    ['null', () => 'null'],
    ['a list', () => '[]'],
    ['of another format', (good: string) => good.replace('"format":1', '"format":2')],
    ['with the key of another certificate', swapKey],
    ['without roots', (good: string) => JSON.stringify({ ...JSON.parse(good), roots: [] })],
    ['with a root that is none', (good: string) => JSON.stringify({ ...JSON.parse(good), roots: [7] })],
    ['with a sequence that is none', (good: string) => JSON.stringify({ ...JSON.parse(good), sequence: 'x' })],
  ])('ignores and counts a file that is %s', async (_what, damage) => {
    const store = await open()
    await store.saveIdentity(newIdentity(newAuthority(now), 'checkout', now))
    const path = join(directory, 'identity-checkout.json')
    await writeFile(path, damage(await readFile(path, 'utf8')))
    expect(await store.loadIdentity('checkout')).toBeUndefined()
    expect(store.ignored).toBe(1)
  })

  test('refuses a directory that others can read, and says what to do', async () => {
    await mkdir(directory)
    await chmod(directory, 0o755)
    await expect(open()).rejects.toThrow(OptionsError)
    await expect(open()).rejects.toThrow(`run 'chmod 700 ${directory}'`)
    expect(await modeOf(directory)).toBe(0o755)
    await chmod(directory, 0o700)
    await open()
  })

  test('refuses a key file that others can read, and says what to do', async () => {
    const store = await open()
    await store.saveIdentity(newIdentity(newAuthority(now), 'checkout', now))
    const path = join(directory, 'identity-checkout.json')
    await chmod(path, 0o640)
    await expect(store.loadIdentity('checkout')).rejects.toThrow(`run 'chmod 600 ${path}'`)
  })

  test('refuses what is no directory', async () => {
    await writeFile(directory, '')
    await expect(open()).rejects.toThrow(/stateDir: .*state.*INMESH_STATE_DIR.*'memory'/)
  })

  test('does not follow a link in place of a file', async () => {
    const store = await open()
    await writeFile(join(parent, 'elsewhere'), 'secret', { mode: 0o600 })
    await symlink(join(parent, 'elsewhere'), join(directory, 'snapshot.json'))
    expect(await store.readState('snapshot.json')).toBeUndefined()
    expect(store.ignored).toBe(1)
  })

  test.runIf(process.platform !== 'win32')('waits for no FIFO, and takes no file with another name', async () => {
    const store = await open()
    execFileSync('mkfifo', ['-m', '600', join(directory, 'fifo.json')])
    expect(await store.readState('fifo.json')).toBeUndefined()
    await writeFile(join(parent, 'other'), '{}', { mode: 0o600 })
    await link(join(parent, 'other'), join(directory, 'linked.json'))
    expect(await store.readState('linked.json')).toBeUndefined()
    expect(store.ignored).toBe(2)
  })

  test('keeps the last of many writes, whole', async () => {
    const store = await open()
    const texts = Array.from({ length: 20 }, (_, i) => String(i).repeat(10_000))
    await Promise.all(texts.map((text) => store.writeState('snapshot.json', Buffer.from(text))))
    expect((await store.readState('snapshot.json'))?.toString()).toBe(texts.at(-1))
    await store.removeState('snapshot.json')
    await store.removeState('snapshot.json')
    expect(await store.readState('snapshot.json')).toBeUndefined()
    expect(store.ignored).toBe(0)
  })

  test('rejects a write that the file system refuses, and writes again once it can', async () => {
    const store = await open()
    await rm(directory, { recursive: true })
    await expect(store.writeState('snapshot.json', Buffer.from('1'))).rejects.toMatchObject({ code: 'ENOENT' })
    await mkdir(directory, { mode: 0o700 })
    await store.writeState('snapshot.json', Buffer.from('2'))
    expect((await store.readState('snapshot.json'))?.toString()).toBe('2')
  })

  test('removes old temporary files of processes that died, not young ones', async () => {
    await open()
    const [old, young] = [join(directory, '.a.json.00aa.tmp'), join(directory, '.b.json.00bb.tmp')]
    await writeFile(old, '')
    await writeFile(young, '')
    await utimes(old, new Date(0), new Date(0))
    await open()
    expect(await readdir(directory)).toEqual(['.b.json.00bb.tmp'])
  })

  test.each(['../escape', 'a/b', '', '.hidden', 'UPPER', 'a\0b'])('refuses the name %j', async (name) => {
    const store = await open()
    await expect(store.readState(name)).rejects.toThrow(OptionsError)
    expect(() => store.writeState(name, Buffer.alloc(0))).toThrow(OptionsError)
  })

  test('without a directory keeps everything in memory', async () => {
    const store = await KeyStore.open({ directory: undefined, clock: new FakeClock({ wallNow: now }) })
    const identity = newIdentity(newAuthority(now), 'checkout', now)
    await store.saveIdentity(identity)
    expect(await store.loadIdentity('checkout')).toEqual(identity)
    expect(await readdir(parent)).toEqual([])
  })
})

function swapKey(good: string): string {
  return JSON.stringify({ ...JSON.parse(good), privateKey: newIdentity(newAuthority(now), 'x', now).privateKey })
}
