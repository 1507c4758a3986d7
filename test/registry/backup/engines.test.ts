/** A backup of one engine is the same state in any other, and another incarnation there. */
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { readBackup } from '../../../src/registry/backup/read-backup.ts'
import { type Registry, type RegistryOptions, startRegistry } from '../../../src/registry/index.ts'
import { resolveRegistryOptions } from '../../../src/registry/options.ts'
import { EtcdStorage } from '../../../src/registry/storage/etcd/storage.ts'
import { run } from '../../cli/run-command.ts'
import { EtcdCluster, WITHOUT_ETCD, withEtcd } from '../../rigs/etcd.ts'

describe.skipIf(WITHOUT_ETCD)(withEtcd('with etcd'), () => {
  let cluster: EtcdCluster
  let home: string
  let prefix = 0
  let key: readonly string[]
  const open: Registry[] = []

  beforeAll(async () => {
    cluster = await EtcdCluster.start()
  })
  afterAll(() => cluster?.close())
  beforeEach(() => {
    home = mkdtempSync(join(tmpdir(), 'inmesh-engines-'))
    writeFileSync(join(home, 'key'), randomBytes(32).toString('hex'), { mode: 0o600 })
    key = ['--key-file', join(home, 'key')]
  })
  afterEach(async () => {
    for (const registry of open.splice(0)) await registry.close()
    rmSync(home, { recursive: true, force: true })
  })

  const path = (name: string): string => join(home, name)
  const store = (): string => `${cluster.url}/p${++prefix}`

  async function start(options: Partial<RegistryOptions>): Promise<Registry> {
    const registry = await startRegistry({ port: 0, log: false, ...options })
    open.push(registry)
    return registry
  }

  async function stop(): Promise<void> {
    for (const registry of open.splice(0)) await registry.close()
  }

  async function inmesh(args: readonly string[], code = 0, env: Record<string, string> = {}) {
    const result = await run([...args, '--json'], { env: { HOME: home, ...env } })
    expect(result.code, result.stderr).toBe(code)
    return JSON.parse(code === 0 ? result.stdout : result.stderr.trim().split('\n').at(-1)!)
  }

  async function fill(registry: Registry): Promise<string> {
    await registry.applyPolicies([{ service: 'stock', timeout: '3s' }])
    return await registry.createJoinToken({ service: 'stock' })
  }

  const restore = (file: string, to: string, ...more: string[]) => {
    const where = to.startsWith('etcd:') ? '--store' : '--data-dir'
    return ['restore', path(file), ...key, where, to, ...more]
  }

  /** The whole state, as the backup of stopped registries has it. */
  async function stateOf(at: string, name: string): Promise<object> {
    const where = at.startsWith('etcd:') ? '--store' : '--data-dir'
    await inmesh(['backup', '--out', path(name), ...key, where, at])
    const secret = { kind: 'key', key: Buffer.from(readFileSync(path('key'), 'utf8'), 'hex') } as const
    const { items } = await readBackup(path(name), secret)
    return items.map((item) => [item.key, item.value])
  }

  test('a state goes from SQLite to etcd and back, and is the same bytes', async () => {
    const etcd = store()
    const first = await start({ dataDir: path('first') })
    await fill(first)
    await stop()
    const before = await stateOf(path('first'), 'b')
    await inmesh(restore('b', etcd))
    expect(await stateOf(etcd, 'c')).toEqual(before)
    await inmesh(restore('c', path('second')))
    expect(await stateOf(path('second'), 'd')).toEqual(before)

    const there = await start({ store: etcd })
    expect(there.rootFingerprint).toBe(first.rootFingerprint)
    const again = await start({ dataDir: path('second') })
    expect(again.rootFingerprint).toBe(first.rootFingerprint)
    expect(new Set([first.epoch, there.epoch, again.epoch]).size).toBe(3)
  })

  test('a running registry on etcd is backed up by its API', async () => {
    const etcd = store()
    const registry = await start({ store: etcd, dataDir: path('admin') })
    await fill(registry)
    const env = { INMESH_REGISTRY: registry.url, INMESH_ADMIN_TOKEN: registry.adminToken! }
    const made = await inmesh(['backup', '--out', path('b'), ...key], 0, env)
    expect(made).toMatchObject({ engine: 'etcd', policies: 1, tokens: 1, epoch: registry.epoch })
    await inmesh(restore('b', path('second')))
    const second = await start({ dataDir: path('second') })
    expect(second.rootFingerprint).toBe(registry.rootFingerprint)
  })

  test('a restore over a mesh needs --force, no running registry, and keeps the former state', async () => {
    const etcd = store()
    const first = await start({ store: etcd })
    await fill(first)
    const { epoch } = first
    await inmesh(['backup', '--out', path('b'), ...key, '--store', etcd])
    await first.applyPolicies([
      { service: 'stock', timeout: '9s' },
      { service: 'later', timeout: '1s' },
    ])

    const running = await inmesh(restore('b', etcd, '--force'), 2)
    expect(running.error.code).toBe('store-in-use')
    expect(running.error.message).toContain(`${first.url}; stop them`)
    await stop()
    const occupied = await inmesh(restore('b', etcd), 2)
    expect(occupied.error).toMatchObject({ code: 'store-occupied' })
    expect(occupied.error.message).toContain('has a mesh already; give another prefix, or --force')
    await inmesh(restore('b', etcd, '--force', '--dry-run'))
    expect(readdirSync(home).sort()).toEqual(['b', 'key'])

    const restored = await inmesh(restore('b', etcd, '--force'))
    expect(restored.movedTo).toContain('b.before-restore-')
    expect(await inmesh(['backup', '--verify', restored.movedTo, ...key])).toMatchObject({ policies: 2 })
    const next = await start({ store: etcd })
    expect(next.epoch).not.toBe(epoch)
    const env = { INMESH_REGISTRY: next.url, INMESH_ADMIN_TOKEN: first.adminToken! }
    const policies = await inmesh(['get'], 0, env)
    expect(policies.policies).toEqual([
      expect.objectContaining({ service: 'stock', document: expect.objectContaining({ timeout: '3s' }) }),
    ])
  })

  test('a restore that broke off keeps registries from starting, until it is repeated', async () => {
    const etcd = store()
    await fill(await start({ dataDir: path('first') }))
    await stop()
    await inmesh(['backup', '--out', path('b'), ...key, '--data-dir', path('first')])
    const storage = await EtcdStorage.open(resolveRegistryOptions({ store: etcd }).store!)
    await storage.transact(
      [],
      [
        { key: 'restore/pending', value: '{}' },
        { key: 'note/half', value: '{}' },
      ],
    )
    await storage.close()
    await expect(start({ store: etcd })).rejects.toThrow('a restore into this store has not ended')
    await inmesh(restore('b', etcd, '--force'))
    expect(readdirSync(home).filter((name) => name.includes('before'))).toEqual([])
    await start({ store: etcd })
  })

  test('a backup of another mesh, a wrong URL and an etcd that is away have one clear error each', async () => {
    const etcd = store()
    await fill(await start({ store: etcd, trustDomain: 'other.mesh' }))
    await fill(await start({ dataDir: path('first') }))
    await stop()
    await inmesh(['backup', '--out', path('b'), ...key, '--data-dir', path('first')])
    expect((await inmesh(restore('b', etcd, '--force'), 2)).error.code).toBe('store-foreign')
    const both = await inmesh(restore('b', etcd, '--data-dir', path('x')), 2)
    expect(both.error.message).toBe('give --data-dir or --store, not both')
    expect((await inmesh(restore('b', 'etcd://a b/'), 2)).error.message).toContain('--store: expected host')
    expect((await inmesh([...restore('b', path('x')), '--etcd-user', 'root'], 2)).error.message).toBe(
      '--etcd-user is for a --store',
    )
    const away = await inmesh(restore('b', 'etcd://127.0.0.1:1/p'), 3)
    expect(away.error.code).toBe('store-unavailable')
  })
})
