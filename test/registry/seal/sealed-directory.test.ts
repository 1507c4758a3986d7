/** What the files of a data directory hold after it was sealed. */
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest'
import { type RegistryOptions, startRegistry } from '../../../src/registry/index.ts'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'inmesh-sealed-'))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

const KEY = randomBytes(32)
const start = (options: RegistryOptions = {}) => startRegistry({ port: 0, dataDir: directory, log: false, ...options })

/** The lines of base64 of every private key in the store. */
function secretsOf(dataDir: string): string[] {
  const database = new DatabaseSync(join(dataDir, 'registry.db'))
  const rows = database.prepare("SELECT value FROM items WHERE key LIKE 'ca/%' OR key LIKE 'jwt/%'").all()
  database.close()
  return rows.flatMap(({ value }) => {
    const { privateKey = '' } = JSON.parse(value as string) as { privateKey?: string }
    return privateKey.split('\n').filter((line) => line !== '' && !line.startsWith('-----'))
  })
}

function filesWith(texts: readonly string[], dataDir = directory): string[] {
  return readdirSync(dataDir).filter((name) => {
    const bytes = readFileSync(join(dataDir, name))
    return texts.some((text) => bytes.includes(text))
  })
}

async function fillUnsealed(): Promise<string[]> {
  const registry = await start()
  // Pages that become free again, and a history.
  for (let i = 0; i < 50; i++) await registry.createJoinToken({ service: `s${i}` })
  await registry.close()
  const secrets = secretsOf(directory)
  expect(secrets.length).toBeGreaterThanOrEqual(4)
  expect(filesWith(secrets)).toEqual(['registry.db'])
  return [...secrets, 'BEGIN PRIVATE KEY']
}

test('no byte of the files shows a key that was sealed in place, also while the registry runs', async () => {
  const secrets = await fillUnsealed()
  const fingerprint = await start().then(async (registry) => {
    await registry.close()
    return registry.rootFingerprint
  })
  const registry = await start({ sealKey: KEY })
  expect(registry.rootFingerprint).toBe(fingerprint)
  expect(filesWith(secrets)).toEqual([])
  await registry.createJoinToken({ service: 'a' })
  expect(filesWith(secrets)).toEqual([])
  await registry.close()
  expect(filesWith(secrets)).toEqual([])
  const again = await start({ sealKey: () => KEY.toString('base64') })
  expect(again.rootFingerprint).toBe(fingerprint)
  expect(again.adminToken, 'the admin token stays').toBeUndefined()
  await again.close()
})

test('no byte of the files shows a key that was in the log of a killed registry', async () => {
  const running = await start()
  const killed = mkdtempSync(join(tmpdir(), 'inmesh-killed-'))
  onTestFinished(() => rmSync(killed, { recursive: true }))
  cpSync(directory, killed, { recursive: true })
  await running.close()
  const secrets = secretsOf(directory)
  expect(filesWith(secrets, killed)).toEqual(['registry.db-wal'])
  const registry = await start({ dataDir: killed, sealKey: KEY })
  expect(filesWith(secrets, killed)).toEqual([])
  await registry.close()
  expect(filesWith(secrets, killed)).toEqual([])
})

test('no byte of the files shows a key of a store that was sealed from its first start', async () => {
  const registry = await start({ sealKey: () => 'correct horse battery staple' })
  expect(filesWith(['BEGIN PRIVATE KEY', 'privateKey'])).toEqual([])
  await registry.close()
  expect(filesWith(['BEGIN PRIVATE KEY', 'privateKey'])).toEqual([])
})

test('what the former key sealed is gone after the key was changed', async () => {
  await (await start({ sealKey: KEY })).close()
  const database = new DatabaseSync(join(directory, 'registry.db'))
  const rows = database.prepare("SELECT value FROM items WHERE key LIKE 'ca/%' OR key LIKE 'jwt/%'").all()
  database.close()
  const sealed = rows.map(({ value }) => JSON.parse(value as string).data as string)
  expect(filesWith(sealed)).toEqual(['registry.db'])
  await (await start({ sealKey: randomBytes(32), formerSealKey: KEY })).close()
  expect(filesWith(sealed)).toEqual([])
})

test('a start with a wrong or missing key changes no byte of the store', async () => {
  await (await start({ sealKey: KEY })).close()
  const bytes = readFileSync(join(directory, 'registry.db'))
  await expect(start()).rejects.toThrow(/sealKey: is missing/)
  await expect(start({ sealKey: randomBytes(32) })).rejects.toThrow(/sealKey: is another one/)
  await expect(start({ sealKey: 'env:INMESH_TEST_NOT_SET' })).rejects.toThrow(/is not set/)
  expect(readFileSync(join(directory, 'registry.db')).equals(bytes)).toBe(true)
  await (await start({ sealKey: KEY })).close()
})

test('a start that was killed before it had erased the keys is completed by the next', async () => {
  const secrets = await fillUnsealed()
  const module = (path: string): string =>
    JSON.stringify(new URL(`../../../src/registry/${path}`, import.meta.url).href)
  const script = `
    import { SqliteStorage } from ${module('storage/sqlite.ts')}
    import { SealedStorage } from ${module('seal/sealed-storage.ts')}
    import { SILENT_LOG } from ${module('log.ts')}
    const storage = await SqliteStorage.open({ path: ${JSON.stringify(join(directory, 'registry.db'))} })
    storage.eraseFormer = () => process.kill(process.pid, 'SIGKILL')
    await SealedStorage.open(storage, { seal: { key: Buffer.from('${KEY.toString('hex')}', 'hex') } }, SILENT_LOG)
    process.exit(3)`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script], { stdio: 'inherit' })
  expect((await once(child, 'exit'))[1]).toBe('SIGKILL')
  expect(filesWith(secrets), 'sealed, but not erased').not.toEqual([])
  const registry = await start({ sealKey: KEY })
  expect(filesWith(secrets)).toEqual([])
  await registry.close()
  expect(filesWith(secrets)).toEqual([])
})
