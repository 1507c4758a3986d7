/** Which history a store holds: one that goes on, another, or only a part of one. */
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Registry, startRegistry } from '../../../src/registry/index.ts'
import { request } from '../../rigs/registry-session.ts'

let home: string
let data: string
const open: Registry[] = []

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'inmesh-incarnation-'))
  data = join(home, 'data')
})

afterEach(async () => {
  for (const registry of open.splice(0)) await registry.close()
  rmSync(home, { recursive: true, force: true })
})

async function start(dataDir = data, dev = true): Promise<Registry> {
  const registry = await startRegistry({ dataDir, port: 0, log: false, dev })
  open.push(registry)
  return registry
}

async function run(work: (registry: Registry) => unknown = () => {}, dataDir = data): Promise<string> {
  const registry = await start(dataDir)
  await work(registry)
  await registry.close()
  return registry.epoch
}

/** As `cp -a` does it; node's own copy of a directory may be one that others can read. */
function copy(from: string, to: string): void {
  cpSync(from, to, { recursive: true, preserveTimestamps: true })
  chmodSync(to, 0o700)
}

const applied = (timeout: string) => (registry: Registry) => registry.applyPolicies([{ service: 'stock', timeout }])

describe('a start', () => {
  test('on what the last run left goes on in its history', async () => {
    const first = await run(applied('3s'))
    expect(await run()).toBe(first)
    expect(await run()).toBe(first)
  })

  test('on a restored backup is another incarnation, however it was restored', async () => {
    const backup = join(home, 'backup')
    const first = await run(applied('3s'))
    copy(data, backup)
    await run(applied('7s'))
    // Over the files that are there.
    copy(backup, data)
    const second = await run()
    expect(second).not.toBe(first)
    // In their place.
    rmSync(data, { recursive: true })
    copy(backup, data)
    const third = await run()
    expect([first, second]).not.toContain(third)
    // Only the store.
    await run(applied('9s'))
    cpSync(join(backup, 'registry.db'), join(data, 'registry.db'))
    expect(await run()).not.toBe(third)
    // In another place.
    expect(await run(undefined, backup)).not.toBe(first)
  })

  test('believes no short list of a restored store to be meant', async () => {
    await run(applied('3s'))
    copy(data, join(home, 'copy'))
    const registry = await start(join(home, 'copy'))
    const { json } = await request(registry, 'GET', '/v1/services/stock')
    expect(json).toMatchObject({ intended: false, instances: [] })
  })

  test('answers a script at once that knows a revision which has not been', async () => {
    const registry = await start()
    await registry.applyPolicies([{ service: 'stock', timeout: '3s' }])
    const answer = await request(registry, 'GET', `/v1/services/stock?since=${registry.revision + 100}&wait=60s`)
    expect(answer.json.revision).toBeLessThanOrEqual(registry.revision)
  })
})

describe('a part of a store', () => {
  async function refusal(): Promise<string> {
    return await start().then(
      () => 'started',
      (error: Error) => error.message,
    )
  }

  test('copied without its log while the registry ran is refused, with what to do', async () => {
    const registry = await start()
    await registry.applyPolicies([{ service: 'stock', timeout: '3s' }])
    const copy = join(home, 'copy')
    mkdirSync(copy, { mode: 0o700 })
    for (const file of ['registry.db', 'admin-token']) cpSync(join(data, file), join(copy, file))
    await registry.close()
    data = copy
    expect(await refusal()).toMatch(/admin-token is there.*Restore the whole data directory from a backup/)
    expect(await refusal()).toMatch(/admin-token is there/)
  })

  test('that is a log alone is refused, and the log stays', async () => {
    const registry = await start()
    await registry.applyPolicies([{ service: 'stock', timeout: '3s' }])
    const copy = join(home, 'copy')
    mkdirSync(copy, { mode: 0o700 })
    cpSync(join(data, 'registry.db-wal'), join(copy, 'registry.db-wal'))
    await registry.close()
    data = copy
    expect(await refusal()).toMatch(/registry\.db-wal is there without it/)
    writeFileSync(join(data, 'registry.db'), '', { mode: 0o600 })
    expect(await refusal()).toMatch(/registry\.db-wal is there without it/)
    expect(existsSync(join(data, 'registry.db-wal'))).toBe(true)
  })

  test('that was emptied is refused', async () => {
    await run(applied('3s'))
    truncateSync(join(data, 'registry.db'))
    expect(await refusal()).toMatch(/shows that there was one/)
    rmSync(join(data, 'registry.db-run'))
    expect(await refusal()).toMatch(/admin-token is there/)
  })

  test('whose pages are damaged is refused, with what to do', async () => {
    await run(applied('3s'))
    truncateSync(join(data, 'registry.db'), 8_192)
    expect(await refusal()).toMatch(/Restore the data directory from a backup/)
  })

  test('copied whole is the same mesh', async () => {
    const first = await start()
    await first.close()
    copy(data, join(home, 'copy'))
    const second = await start(join(home, 'copy'))
    expect(second.rootFingerprint).toBe(first.rootFingerprint)
    expect(readdirSync(join(home, 'copy'))).toContain('admin-token')
  })
})

describe('a damaged record', () => {
  function damage(key: string, value: string): void {
    const database = new DatabaseSync(join(data, 'registry.db'))
    database
      .prepare(
        'INSERT INTO items (key, value, revision) VALUES (?, ?, 1) ON CONFLICT (key) DO UPDATE SET value = excluded.value',
      )
      .run(key, value)
    database.close()
  }

  test.each([
    ['policy/stock', '{"document":', /record 'policy\/stock' is damaged.*DELETE FROM items.*apply the policy again/],
    ['policy/stock', '{"document":7,"version":1}', /record 'policy\/stock' is damaged/],
    ['token/abc', '[]', /record 'token\/abc' is damaged.*create the token again/],
    [
      'ca/root',
      '{"trustDomain":"inmesh.local"}',
      /record 'ca\/root' is damaged.*restore the data directory from a backup/,
    ],
    ['admin/token', '{}', /record 'admin\/token' is damaged/],
  ])('%s ends the start with its name and with what to do', async (key, value, said) => {
    await run(applied('3s'))
    damage(key, value)
    await expect(start()).rejects.toThrow(said)
  })

  test('of an instance is left out, because its process registers again', async () => {
    await run(applied('3s'))
    damage('inst/stock/s1', '{"instance":{"id":"s1"}')
    const registry = await start()
    expect((await request(registry, 'GET', '/v1/services/stock')).json.instances).toEqual([])
  })

  test('of the history makes watchers begin anew, and nothing else', async () => {
    const registry = await start()
    for (const timeout of ['1s', '2s', '3s']) await applied(timeout)(registry)
    await registry.close()
    const database = new DatabaseSync(join(data, 'registry.db'))
    database.exec("UPDATE log SET value = '{' WHERE key = 'policy/stock'")
    database.close()
    const again = await start()
    expect((await request(again, 'GET', '/v1/policies/stock')).json.document).toMatchObject({ timeout: '3s' })
  })
})
