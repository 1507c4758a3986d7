/** The directory with the authority's key is refused when others can read or replace what is in it. */
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { startRegistry } from '../../src/registry/index.ts'

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

test.each(['registry.db', 'registry.db-wal', 'registry.db-shm', 'registry.db-run', 'admin-token'])(
  'a %s that is a link, a directory or readable for others is refused, and nothing behind it changes',
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
    rmSync(path, { recursive: true })
    writeFileSync(path, '')
    chmodSync(path, 0o640)
    expect(await start()).toContain('has mode 640')
  },
)

test.runIf(process.getuid?.() === 0)('what belongs to another user is refused', async () => {
  const { chownSync } = await import('node:fs')
  expect(await start()).toBe('started')
  chownSync(join(directory, 'registry.db'), 1234, 1234)
  expect(await start()).toContain('belongs to user 1234')
  chownSync(join(directory, 'registry.db'), 0, 0)
  chownSync(directory, 1234, 1234)
  expect(await start()).toContain('belongs to user 1234')
})
