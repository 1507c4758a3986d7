/**
 * The directory with the authority's key is refused when others can read or replace what is in it.
 */
import { once } from 'node:events'
import {
  chmodSync,
  lchownSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { connect } from 'node:http2'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { startRegistry } from '../../../src/registry/index.ts'

let home: string
let directory: string
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'inmesh-data-'))
  directory = join(home, 'data')
})
afterEach(() => rmSync(home, { recursive: true, force: true }))

async function start(): Promise<string> {
  try {
    const registry = await startRegistry({ port: 0, dataDir: directory, log: false })
    await registry.close()
    return 'started'
  } catch (error) {
    return (error as Error).message
  }
}

const modeOf = (name: string): number => statSync(join(directory, name)).mode & 0o777

test('it is made for its owner alone, starts again, and an empty one is taken over', async () => {
  mkdirSync(directory)
  chmodSync(directory, 0o777)
  expect(await start()).toBe('started')
  expect(await start()).toBe('started')
  expect([modeOf('.'), modeOf('registry.db'), modeOf('admin-token')]).toEqual([0o700, 0o600, 0o600])
})

test('one that others can reach and that holds something is refused, and left as it is', async () => {
  mkdirSync(directory)
  writeFileSync(join(directory, 'x'), '')
  for (const mode of [0o777, 0o755, 0o710]) {
    chmodSync(directory, mode)
    expect(await start()).toContain(`has mode ${mode.toString(8)}`)
    expect(modeOf('.')).toBe(mode)
  }
})

const FILES = ['registry.db', 'registry.db-wal', 'registry.db-shm', 'registry.db-run']

test.each([...FILES, 'admin-token'])(
  'a %s that is a link or a directory is refused, and nothing behind it changes',
  async (name) => {
    mkdirSync(directory, { mode: 0o700 })
    const victim = join(home, 'victim')
    writeFileSync(victim, 'precious', { mode: 0o644 })
    const path = join(directory, name)
    symlinkSync(victim, path)
    expect(await start()).toContain('is a link')
    expect([readFileSync(victim, 'utf8'), statSync(victim).mode & 0o777]).toEqual(['precious', 0o644])
    rmSync(path)
    mkdirSync(path)
    expect(await start()).toContain('is no file')
  },
)

test.each([...FILES, 'admin-token'])('a %s with another name elsewhere is refused', async (name) => {
  mkdirSync(directory, { mode: 0o700 })
  const victim = join(home, 'victim')
  writeFileSync(victim, 'precious', { mode: 0o600 })
  linkSync(victim, join(directory, name))
  expect(await start()).toContain('is a hard link')
  expect(readFileSync(victim, 'utf8')).toBe('precious')
})

test.runIf(process.getuid?.() === 0)(
  'a link of another user to it is refused, one of our own is followed',
  async () => {
    mkdirSync(join(home, 'real'), { mode: 0o700 })
    symlinkSync(join(home, 'real'), directory)
    expect(await start()).toBe('started')
    lchownSync(directory, 1234, 1234)
    expect(await start()).toContain('is a link of user 1234')
  },
)

test('whatever stands in the place of a half-written admin token gives way', async () => {
  mkdirSync(join(directory, 'admin-token.tmp', 'x'), { recursive: true, mode: 0o700 })
  chmodSync(directory, 0o700)
  expect(await start()).toBe('started')
})

test.each(FILES)('a %s that others can read is refused', async (name) => {
  mkdirSync(directory, { mode: 0o700 })
  writeFileSync(join(directory, name), '')
  chmodSync(join(directory, name), 0o640)
  expect(await start()).toContain('has mode 640')
})

/** Starts once more; what each token may do, and what the audit log says. */
async function tried(...tokens: string[]): Promise<{ answers: number[]; actions: string[] }> {
  const registry = await startRegistry({ port: 0, dataDir: directory, log: false })
  const session = connect(registry.url, { ca: registry.roots.map((root) => root.toString()) })
  try {
    const ask = async (token: string): Promise<{ status: number; text: string }> => {
      const stream = session.request({ ':path': '/v1/audit', authorization: `Bearer ${token}` })
      const [head] = (await once(stream, 'response')) as [{ ':status': number }]
      return { status: head[':status'], text: await text(stream) }
    }
    const all = []
    for (const token of tokens) all.push(await ask(token))
    const actions = all.flatMap((one) => [...one.text.matchAll(/"action":"([^"]+)"/g)].map((match) => match[1]!))
    return { answers: all.map(({ status }) => status), actions }
  } finally {
    session.destroy()
    await registry.close()
  }
}

const tokenIn = (): string => readFileSync(join(directory, 'admin-token'), 'utf8').trim()

test.each([0o644, 0o640, 0o666, 0o602])('an admin token with mode %o is replaced by another one', async (mode) => {
  expect(await start()).toBe('started')
  const known = tokenIn()
  chmodSync(join(directory, 'admin-token'), mode)
  expect(await start()).toBe('started')
  const fresh = tokenIn()
  expect([fresh === known, modeOf('admin-token')]).toEqual([false, 0o600])
  const { answers, actions } = await tried(known, fresh)
  expect(answers).toEqual([403, 200])
  expect(actions).toContain('admin-token-replace')
  expect(tokenIn()).toBe(fresh)
})

test('a start that fails takes an exposed token from others, and the next replaces it', async () => {
  expect(await start()).toBe('started')
  const known = tokenIn()
  chmodSync(join(directory, 'admin-token'), 0o644)
  const store = join(directory, 'registry.db')
  renameSync(store, join(home, 'away'))
  rmSync(`${store}-run`, { force: true })
  expect(await start()).toContain('Restore the whole data directory')
  expect([tokenIn(), modeOf('admin-token')]).toEqual(['', 0o600])
  for (const end of ['', '-wal', '-shm']) rmSync(`${store}${end}`, { force: true })
  renameSync(join(home, 'away'), store)
  expect(await start()).toBe('started')
  expect((await tried(known, tokenIn())).answers).toEqual([403, 200])
})

test('a start beside a registry that runs leaves an exposed token to that one', async () => {
  const running = await startRegistry({ port: 0, dataDir: directory, log: false })
  try {
    const known = tokenIn()
    chmodSync(join(directory, 'admin-token'), 0o644)
    expect(await start()).not.toBe('started')
    expect(tokenIn()).toBe(known)
  } finally {
    await running.close()
  }
})

test.runIf(process.getuid?.() === 0)('what belongs to another user is refused', async () => {
  const { chownSync } = await import('node:fs')
  expect(await start()).toBe('started')
  chownSync(join(directory, 'registry.db'), 1234, 1234)
  expect(await start()).toContain('belongs to user 1234')
  chownSync(join(directory, 'registry.db'), 0, 0)
  chownSync(directory, 1234, 1234)
  expect(await start()).toContain('belongs to user 1234')
})
