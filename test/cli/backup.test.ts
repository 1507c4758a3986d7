/** `inmesh backup` and `inmesh restore` against real registries and data directories. */
import { execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Registry, type RegistryOptions, startRegistry } from '../../src/registry/index.ts'
import { SqliteStorage } from '../../src/registry/storage/sqlite.ts'
import { type Run, run } from './run-command.ts'

const ORIGIN = '{"trustDomain":"inmesh.local","createdAt":1780000000000,"version":"0.1.0","engine":"sqlite"}'
const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))

let home: string
let key: readonly string[]
const open: Registry[] = []

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'inmesh-backup-'))
  writeFileSync(path('key'), randomBytes(32).toString('base64'), { mode: 0o600 })
  key = ['--key-file', path('key')]
})

afterEach(async () => {
  for (const registry of open.splice(0)) await registry.close()
  rmSync(home, { recursive: true, force: true })
})

const path = (name: string): string => join(home, name)

async function start(name: string, options: Partial<RegistryOptions> = {}): Promise<Registry> {
  const registry = await startRegistry({ dataDir: path(name), port: 0, log: false, ...options })
  open.push(registry)
  return registry
}

/** A registry that has run on a directory. */
async function filled(name: string, options: Partial<RegistryOptions> = {}): Promise<Registry> {
  const registry = await start(name, options)
  await registry.applyPolicies([{ service: 'stock', timeout: '3s' }])
  await registry.createJoinToken({ service: 'stock' })
  return registry
}

const inmesh = (args: readonly string[], env: Record<string, string> = {}): Promise<Run> =>
  run(args, { env: { HOME: home, ...env } })

async function done(args: readonly string[], env?: Record<string, string>): Promise<Record<string, unknown>> {
  const { code, stdout, stderr } = await inmesh([...args, '--json'], env)
  expect(stderr).toBe('')
  expect(code).toBe(0)
  return JSON.parse(stdout)
}

async function refused(args: readonly string[], code: number, env?: Record<string, string>) {
  const result = await inmesh([...args, '--json'], env)
  expect(result.stdout).toBe('')
  expect(result.code).toBe(code)
  return JSON.parse(result.stderr).error as { code: string; message: string }
}

/** Each file with its bytes. */
function snapshot(name: string): Record<string, string> {
  return Object.fromEntries(
    readdirSync(path(name), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name))
      .sort()
      .map((file) => [file, `${statSync(file).mode} ${readFileSync(file, 'base64')}`]),
  )
}

async function stateOf(name: string): Promise<readonly (readonly [string, string])[]> {
  const storage = await SqliteStorage.open({ path: path(`${name}/registry.db`) })
  const { items } = await storage.list('')
  await storage.close()
  return items.map((item) => [item.key, item.value])
}

/** In a process, so that it can have limits. */
async function limited(shell: string, args: readonly string[]): Promise<Run> {
  const command = `${shell}; exec "$0" "$@"`
  const around = { env: { ...process.env, HOME: home }, timeout: 60_000 }
  return promisify(execFile)('bash', ['-c', command, process.execPath, MAIN, ...args], around).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    (error: { code: number; stdout: string; stderr: string }) => error,
  )
}

describe('a backup', () => {
  test('of a running registry, restored elsewhere, is the same state under another epoch', async () => {
    const registry = await filled('first')
    const { adminToken, url, epoch } = registry
    const env = { INMESH_REGISTRY: url, INMESH_ADMIN_TOKEN: adminToken! }
    const operator = await done(['token', 'operator', 'create', 'anna'], env)
    const made = await done(['backup', '--out', path('b'), ...key], env)
    expect(made).toMatchObject({
      from: url,
      trustDomain: 'inmesh.local',
      engine: 'sqlite',
      epoch,
      policies: 1,
      tokens: 1,
    })
    expect(statSync(path('b')).mode & 0o777).toBe(0o600)
    expect(await done(['backup', '--verify', path('b'), ...key])).toMatchObject({
      valid: true,
      revision: made.revision,
    })
    await registry.close()

    expect(await done(['restore', path('b'), ...key, '--data-dir', path('second'), '--dry-run'])).toMatchObject({
      restored: false,
    })
    expect(existsSync(path('second'))).toBe(false)
    const restored = await done(['restore', path('b'), ...key, '--data-dir', path('second')])
    expect(restored).toMatchObject({ restored: true, to: path('second'), hasAdminToken: false, policies: 1 })
    const known = new Map(await stateOf('first'))
    const state = await stateOf('second')
    // The registry audits the backup after the state was taken, or before.
    for (const [item, value] of state) expect(known.get(item)).toBe(value)
    expect(state.length).toBeGreaterThanOrEqual(known.size - 1)

    const next = await start('second')
    expect(next.epoch).not.toBe(epoch)
    expect(next.rootFingerprint).toBe(registry.rootFingerprint)
    for (const token of [adminToken!, operator.token as string]) {
      const there = { INMESH_REGISTRY: next.url, INMESH_ADMIN_TOKEN: token }
      expect(await done(['token', 'list'], there)).toMatchObject({ tokens: [{ service: 'stock', usesLeft: 1 }] })
    }
  })

  test('is in the audit log with the operator who made it, who must be one that may change something', async () => {
    const { adminToken, url } = await filled('first')
    const env = { INMESH_REGISTRY: url, INMESH_ADMIN_TOKEN: adminToken! }
    const reader = await done(['token', 'operator', 'create', 'reader', '--read-only'], env)
    const asReader = { ...env, INMESH_ADMIN_TOKEN: reader.token as string }
    const error = await refused(['backup', '--out', path('b'), ...key], 1, asReader)
    expect(error.code).toBe('admin-required')
    expect(existsSync(path('b'))).toBe(false)
    await done(['backup', '--out', path('b'), ...key], env)
    const { events } = await done(['audit'], env)
    expect(events).toContainEqual(expect.objectContaining({ who: 'admin', action: 'backup', outcome: 'done' }))
  })

  test('of a registry in memory is one, too', async () => {
    const { url, adminToken } = await filled('memory', { dataDir: undefined, memory: true } as never)
    await done(['backup', '--out', path('b'), ...key], { INMESH_REGISTRY: url, INMESH_ADMIN_TOKEN: adminToken! })
    await done(['restore', path('b'), ...key, '--data-dir', path('second')])
    expect((await start('second')).trustDomain).toBe('inmesh.local')
  })

  test('of a stopped registry leaves its directory as it was, and the next run goes on', async () => {
    const registry = await filled('first')
    await registry.close()
    const before = snapshot('first')
    // The variable is set for other commands.
    const env = { INMESH_REGISTRY: registry.url }
    const made = await done(['backup', '--out', path('b'), ...key, '--data-dir', path('first')], env)
    expect(made).toMatchObject({ from: path('first'), trustDomain: 'inmesh.local', epoch: registry.epoch })
    expect(snapshot('first')).toEqual(before)
    expect((await start('first')).epoch).toBe(registry.epoch)
    await open.pop()!.close()
    await done(['restore', path('b'), ...key, '--data-dir', path('second')])
    expect(await stateOf('second')).toEqual(await stateOf('first'))
  })

  test('of a killed registry has what is in its log only', async () => {
    const main = ['registry', '--port', '0', '--json', '--data-dir', path('first'), '--log-level', 'silent']
    const child = spawn(process.execPath, [MAIN, ...main], { stdio: ['ignore', 'pipe', 'inherit'] })
    const [line] = await once(child.stdout, 'data')
    const env = { INMESH_REGISTRY: JSON.parse(String(line)).url as string }
    await done(['token', 'create', '--service', 'stock', '--data-dir', path('first')], env)
    child.kill('SIGKILL')
    await once(child, 'exit')
    expect(statSync(path('first/registry.db-wal')).size).toBeGreaterThan(0)
    const before = snapshot('first')
    expect(await done(['backup', '--out', path('b'), ...key, '--data-dir', path('first')])).toMatchObject({ tokens: 1 })
    expect(snapshot('first')).toEqual(before)
  })

  test('of a directory on which a registry runs asks that registry', async () => {
    const { url } = await filled('first')
    const at = ['--data-dir', path('first')]
    expect(await done(['backup', '--out', path('b'), ...key, ...at], { INMESH_REGISTRY: url })).toMatchObject({
      from: url,
    })
    // At another port than the default one.
    const error = await refused(['backup', '--out', path('c'), ...key, ...at], 3)
    expect(error.message).toContain('give --registry URL of the one that runs')
    expect((await refused(['backup', '--out', path('c'), ...key], 3)).message).toContain(
      '--data-dir DIR if it is stopped',
    )
  })

  test('keeps sealed keys sealed, and says which key is needed', async () => {
    const sealKey = `file:${path('seal')}`
    writeFileSync(path('seal'), randomBytes(32).toString('base64'), { mode: 0o600 })
    const registry = await filled('first', { sealKey })
    const { url, adminToken } = registry
    const env = { INMESH_REGISTRY: url, INMESH_ADMIN_TOKEN: adminToken! }
    const running = await done(['backup', '--out', path('b'), ...key], env)
    await registry.close()
    const stopped = await done(['backup', '--out', path('c'), ...key, '--data-dir', path('first')])
    for (const made of [running, stopped]) expect(made.sealKeyIds).toEqual([expect.stringMatching(/^[0-9a-f]{16}$/)])
    expect(running.trustDomain).toBe('inmesh.local')
    const { stdout } = await inmesh(['restore', path('b'), ...key, '--data-dir', path('second')])
    expect(stdout).toContain(`needs the seal key ${running.sealKeyIds}`)
    await expect(start('second')).rejects.toThrow('sealKey: is missing')
    expect((await start('second', { sealKey })).rootFingerprint).toBe(registry.rootFingerprint)
  })
})

describe('a restore', () => {
  let registry: Registry
  let env: Record<string, string>
  beforeEach(async () => {
    registry = await filled('first')
    env = { INMESH_REGISTRY: registry.url, INMESH_ADMIN_TOKEN: registry.adminToken! }
    await done(['backup', '--out', path('b'), ...key], env)
  })
  const restore = (...args: string[]): string[] => ['restore', path('b'), ...key, '--data-dir', ...args]

  test('into a directory with a store needs --force, and moves that store aside', async () => {
    await registry.applyPolicies([{ service: 'stock', timeout: '7s' }])
    await registry.close()
    const before = snapshot('first')
    const refusal = await refused(restore(path('first')), 2)
    expect(refusal).toEqual({
      code: 'store-occupied',
      exitCode: 2,
      message: `${path('first')} has registry.db already; give another directory, or --force to move it aside`,
    })
    await done(restore(path('first'), '--force', '--dry-run'))
    expect(snapshot('first')).toEqual(before)
    const { movedTo, hasAdminToken } = await done(restore(`${path('first')}/`, '--force'))
    // It is that of the backup.
    expect(hasAdminToken).toBe(true)
    const moved = Object.entries(snapshot('first')).filter(([file]) => file.startsWith(String(movedTo)))
    const names = moved.map(([file]) => file.slice(String(movedTo).length + 1))
    expect(names).toEqual(['registry.db', 'registry.db-run'])
    for (const [i, [, bytes]] of moved.entries()) expect(bytes).toBe(before[join(path('first'), names[i]!)])
    expect(readdirSync(path('first')).sort()).toEqual([
      'admin-token',
      String(movedTo).slice(path('first').length + 1),
      'registry.db',
      'registry.db-run',
    ])
    const next = await start('first')
    expect(next.epoch).not.toBe(registry.epoch)
    expect((await inmesh(['get', 'stock'], { ...env, INMESH_REGISTRY: next.url })).stdout).toContain('3s')
  })

  test('moves an admin token aside that is not that of the backup', async () => {
    await registry.close()
    rmSync(path('first'), { recursive: true })
    await (await start('first')).close()
    const { movedTo, hasAdminToken } = await done(restore(path('first'), '--force'))
    expect(hasAdminToken).toBe(false)
    expect(readdirSync(String(movedTo))).toContain('admin-token')
    expect(existsSync(path('first/admin-token'))).toBe(false)
  })

  test('on a directory with a running registry is refused', async () => {
    const before = readdirSync(path('first')).sort()
    const error = await refused(restore(path('first'), '--force'), 2)
    expect(error).toMatchObject({
      code: 'store-in-use',
      message: expect.stringMatching(/a registry runs on .*; stop it first/),
    })
    expect(readdirSync(path('first')).sort()).toEqual(before)
    expect((await done(['token', 'list'], env)).tokens).toHaveLength(1)
  })

  test('of another trust domain is refused, also with --force', async () => {
    await (await start('other', { trustDomain: 'other.mesh' })).close()
    const before = snapshot('other')
    const error = await refused(restore(path('other'), '--force'), 2)
    expect(error.code).toBe('store-foreign')
    expect(error.message).toContain("of another trust domain than the backup ('inmesh.local')")
    expect(snapshot('other')).toEqual(before)
  })

  test('replaces a store that no registry can open any more', async () => {
    mkdirSync(path('broken'), { mode: 0o700 })
    writeFileSync(path('broken/registry.db'), randomBytes(8_192), { mode: 0o600 })
    await done(restore(path('broken'), '--force'))
    expect((await start('broken')).rootFingerprint).toBe(registry.rootFingerprint)
  })

  test('that was killed leaves a directory on which no registry makes another root, and runs again', async () => {
    await registry.close()
    mkdirSync(path('killed'), { mode: 0o700 })
    writeFileSync(path('killed/registry.db-run'), 'a restore puts a store here\n', { mode: 0o600 })
    writeFileSync(path('killed/registry.db.restoring'), 'half', { mode: 0o600 })
    await expect(start('killed')).rejects.toThrow('is missing or lacks its data')
    await done(restore(path('killed')))
    expect(readdirSync(path('killed')).sort()).toEqual(['registry.db', 'registry.db-run'])
    expect((await start('killed')).rootFingerprint).toBe(registry.rootFingerprint)
  })

  test('refuses a place that it cannot use, and says why', async () => {
    writeFileSync(path('file'), '')
    expect((await refused(restore(path('file')), 1)).message).toContain('file cannot be used: ')
    expect((await refused(restore(path('file/below')), 1)).message).toContain('not a directory')
    mkdirSync(path('open'), { mode: 0o755 })
    writeFileSync(path('open/note'), '')
    chmodSync(path('open'), 0o755)
    expect((await refused(restore(path('open')), 1)).message).toContain("run 'chmod 700")
    expect(readdirSync(path('open'))).toEqual(['note'])
  })
})

describe('an answer that is no backup', () => {
  const answers: readonly (readonly [string, string, RegExp])[] = [
    ['a page', '<html>\n', /answer is no backup/],
    ['an origin only', `${ORIGIN}\n`, /ended too early/],
    ['a first line without end', 'x'.repeat(200_000), /answer is no backup/],
    ['a time that is none', `${ORIGIN.replace('1780000000000', '1e300')}\n`, /answer is no backup/],
    ['lines that are none', `${ORIGIN}\n{"a":1}\n`, /line 1 is no record/],
    ['another count', `${ORIGIN}\n{"epoch":"e","revision":1,"lines":7}\n`, /has 0 lines, and should have 7/],
  ]
  test.each(answers)('%s is refused, and nothing is written', async (_name, body, message) => {
    const server = createServer((_request, response) => response.end(body)).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as { port: number }
    const result = await inmesh(['backup', '--out', path('b'), ...key, '--registry', `http://127.0.0.1:${port}`])
    server.close()
    expect(result.stderr).toMatch(message)
    expect(result.code).toBeGreaterThan(0)
    expect(readdirSync(home)).toEqual(['key'])
  })

  test('shows no control characters of it', async () => {
    const evil = ORIGIN.replace('inmesh.local', '\\u001b[31mred')
    const authority = JSON.stringify(['ca/x', '{"sealed":1,"keyId":"k","nonce":"n","data":"d"}', 1])
    const body = `${evil}\n${authority}\n{"epoch":"e","revision":1,"lines":1}\n`
    const server = createServer((_request, response) => response.end(body)).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as { port: number }
    const result = await inmesh(['backup', '--out', path('b'), ...key, '--registry', `http://127.0.0.1:${port}`])
    server.close()
    expect(result.stdout).toContain('trust domain: ?[31mred')
  })
})

describe('flags and secrets', () => {
  const out = (...args: string[]): string[] => ['backup', '--out', path('b'), ...args]
  test.each<[string, () => string[], RegExp]>([
    ['none', () => out(), /holds the private keys .* so it is encrypted: give --passphrase-file/],
    ['two', () => out(...key, '--passphrase-env', 'P'), /give one of --passphrase-file/],
    ['a missing key file', () => out('--key-file', path('none')), /--key-file: .*none cannot be read: ENOENT/],
    ['a key file that others read', () => out('--key-file', exposed()), /--key-file: .* has mode 644/],
    ['a passphrase as key file', () => out('--key-file', text('a long passphrase')), /no key of 32 bytes; make one/],
    ['a short passphrase', () => out('--passphrase-file', text('short')), /fewer than 12 characters/],
    ['a variable that is not set', () => out('--passphrase-env', 'NOT_SET'), /the variable NOT_SET is not set/],
    ['a directory as passphrase', () => out('--passphrase-file', home), /is no regular file/],
    ['neither --out nor --verify', () => ['backup', ...key], /give --out FILE .* or --verify FILE/],
    ['both --out and --verify', () => out('--verify', path('b'), ...key), /give --out FILE .* or --verify FILE/],
    ['stdout', () => ['backup', '--out', '-', ...key], /give a file/],
    ['no store', () => out(...key, '--data-dir', path('none')), /there is no store at/],
    ['no file to restore', () => ['restore', ...key], /missing required argument 'file'/],
    ['a backup that is none', () => ['restore', path('key'), ...key], /it is no backup/],
    [
      'a directory that is none',
      () => ['backup', '--out', path('none/b'), ...key, '--data-dir', path('none')],
      /no store at/,
    ],
  ])('%s', async (_name, args, message) => {
    const error = await refused(args(), 2)
    expect(error.message).toMatch(message)
    expect(existsSync(path('b'))).toBe(false)
  })

  function text(value: string): string {
    writeFileSync(path('text'), value, { mode: 0o600 })
    return path('text')
  }
  function exposed(): string {
    chmodSync(path('key'), 0o644)
    return path('key')
  }
})

describe('without permission', () => {
  test.skipIf(process.getuid?.() !== 0)('a store, a backup and a directory have one clear error each', async () => {
    await (await filled('first')).close()
    const secret = ['--passphrase-env', 'BACKUP']
    const made = ['backup', '--out', path('b'), ...secret, '--data-dir', path('first')]
    await done(made, { BACKUP: 'a long passphrase' })
    chmodSync(home, 0o755)
    const before = snapshot('first')
    /** As a user who owns nothing here. */
    const become = async (...words: string[]): Promise<Run> => {
      const around = { env: { ...process.env, HOME: home, BACKUP: 'a long passphrase' } }
      const args = ['--reuid=65534', '--clear-groups', process.execPath, MAIN, ...words, ...secret, '--json']
      return promisify(execFile)('/usr/bin/setpriv', args, around).then(
        ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
        (error: { code: number; stdout: string; stderr: string }) => error,
      )
    }
    const store = await become('backup', '--out', path('c'), '--data-dir', path('first'))
    expect(store.stderr).toMatch(/cannot read the store .*: permission denied/)
    const file = await become('backup', '--verify', path('b'))
    expect(file.stderr).toMatch(/cannot read .*b: permission denied/)
    chmodSync(path('b'), 0o644)
    const place = await become('restore', path('b'), '--data-dir', path('there'))
    expect(place.stderr).toMatch(/there cannot be used: .*permission denied/)
    expect([store.code, file.code, place.code]).toEqual([2, 2, 1])
    expect(snapshot('first')).toEqual(before)
    expect(existsSync(path('there'))).toBe(false)
  })
})

describe('a full disk', () => {
  beforeEach(async () => {
    const registry = await filled('first')
    await registry.close()
    const storage = await SqliteStorage.open({ path: path('first/registry.db') })
    for (let i = 0; i < 4; i++) {
      const value = JSON.stringify({ note: randomBytes(200_000).toString('base64') })
      await storage.transact([], [{ key: `note/${i}`, value }])
    }
    await storage.close()
  })

  test('leaves nothing of a backup', async () => {
    const args = ['backup', '--out', path('b'), ...key, '--data-dir', path('first'), '--json']
    const { code, stderr } = await limited('ulimit -f 100', args)
    expect(JSON.parse(stderr).error).toMatchObject({
      code: 'backup-failed',
      message: `cannot write ${path('b')}: it grew beyond the largest size of a file (ulimit -f)`,
    })
    expect(code).toBe(1)
    expect(readdirSync(home).sort()).toEqual(['first', 'key'])
  })

  test('leaves a store as it was', async () => {
    await done(['backup', '--out', path('b'), ...key, '--data-dir', path('first')])
    const before = snapshot('first')
    const args = ['restore', path('b'), ...key, '--data-dir', path('first'), '--force', '--json']
    const { code, stderr } = await limited('ulimit -f 100', args)
    expect(JSON.parse(stderr).error).toMatchObject({ code: 'restore-failed' })
    expect(code).toBe(1)
    expect(snapshot('first')).toEqual(before)
  })
})
