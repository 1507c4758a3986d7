import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Run, run } from './run-command.ts'

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))

interface RunningRegistry {
  readonly child: ChildProcess
  readonly ready: { url: string; rootFingerprint: string; dev: boolean; adminToken?: string }
}

async function startRegistry(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<RunningRegistry> {
  const child = spawn(process.execPath, [MAIN, 'registry', '--port', '0', '--json', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  })
  let stderr = ''
  child.stderr!.on('data', (chunk) => {
    stderr += chunk
  })
  const lines = createInterface({ input: child.stdout! })
  const ready = await Promise.race([
    once(lines, 'line').then(([line]) => JSON.parse(line as string)),
    once(child, 'exit').then(() => Promise.reject(new Error(`the registry ended: ${stderr}`))),
  ])
  return { child, ready }
}

async function stop({ child }: RunningRegistry): Promise<number | null> {
  if (child.exitCode !== null) return child.exitCode
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  return (await exited)[0] as number | null
}

let directory: string
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'inmesh-cli-'))
})
afterAll(() => rm(directory, { recursive: true }))

describe('commands against a --dev registry', () => {
  let registry: RunningRegistry
  let env: Record<string, string>
  beforeAll(async () => {
    registry = await startRegistry(['--memory', '--dev'])
    // A separate home directory, so that no admin token of this machine is found.
    env = { INMESH_REGISTRY: registry.ready.url, HOME: directory }
  })
  afterAll(() => stop(registry))

  const command = (args: readonly string[], stdin?: string): Promise<Run> =>
    run(args, { env, ...(stdin === undefined ? {} : { stdin }) })

  async function json<T>(args: readonly string[], stdin?: string): Promise<T> {
    const { code, stdout, stderr } = await command([...args, '--json'], stdin)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout.trimEnd()).not.toContain('\n')
    return JSON.parse(stdout)
  }

  it('says in the ready line what it is', () => {
    expect(registry.ready).toMatchObject({
      ready: true,
      dev: true,
      url: expect.stringMatching(/^https:\/\/127\.0\.0\.1:\d+$/),
    })
    expect(registry.ready.rootFingerprint).toMatch(/^[\w-]{43}$/)
  })

  it('tells its status', async () => {
    expect(await json(['status'])).toMatchObject({ ready: true, url: registry.ready.url, trustDomain: 'inmesh.local' })
    const { stdout } = await command(['status'])
    expect(stdout).toMatch(/^ready\n/)
    expect(stdout).toMatch(
      /^REGISTRY +URL +VERSION +ROLE +SESSIONS +REVISION +LAG +STATE\nlocal +https:.* reaper .* ready$/m,
    )
  })

  it('goes through the life of a policy: apply, get, diff, history, rollback, delete', async () => {
    const first = 'service: mesh\ntimeout: 3s\n---\nservice: orders\ntimeout: 800ms\nretry: { attempts: 2 }\n'
    const dry = await json<{ changes: { change: string }[] }>(['apply', '-f', '-', '--dry-run'], first)
    expect(dry).toMatchObject({ dryRun: true, changes: [{ change: 'created' }, { change: 'created' }] })
    expect(await json(['get'])).toEqual({ policies: [] })

    expect((await command(['apply', '-f', '-'], first)).stdout).toBe('mesh: created\norders: created\n')
    expect((await command(['get', 'orders'])).stdout).toBe('service: orders\ntimeout: 800ms\nretry:\n  attempts: 2\n')
    expect((await command(['get'])).stdout).toMatch(/^service: mesh\n[\s\S]*\n---\nservice: orders\n/)
    // What get prints is what apply takes.
    expect((await command(['apply', '-f', '-'], (await command(['get'])).stdout)).stdout).toContain('orders: unchanged')

    const second = 'service: orders\ntimeout: 1s\nlimits: { rate: 5/s }\n'
    expect((await command(['diff', '-f', '-'], second)).stdout).toBe(
      'orders: updated\n  ~ timeout: "800ms" -> "1s"\n  - retry.attempts: 2\n  + limits.rate: "5/s"\n',
    )
    expect(await json(['diff', '-f', '-'], first)).toMatchObject({ differs: false })
    await json(['apply', '-f', '-'], second)

    const { versions } = await json<{ versions: { version: number }[] }>(['history', 'orders'])
    expect(versions.map(({ version }) => version).sort()).toEqual([1, 2])
    expect((await command(['history', 'orders'])).stdout).toContain('~ timeout: "800ms" -> "1s"')

    expect(await json(['rollback', 'orders', '--to', '1'])).toMatchObject({ service: 'orders', rolledBackTo: 1 })
    expect((await command(['get', 'orders'])).stdout).toContain('timeout: 800ms')

    expect((await command(['delete', 'orders'])).stdout).toBe('orders: deleted\n')
    expect((await command(['history', 'orders'])).stdout).toMatch(/4 .*deleted/)
    expect(await json(['rollback', 'orders', '--to', '2'])).toMatchObject({ change: 'created' })
    expect((await command(['get', 'orders'])).stdout).toContain('timeout: 1s')
  })

  it('denies an identity, lists it, and allows it again', async () => {
    const id = 'spiffe://inmesh.local/service/stolen'
    expect((await command(['deny', '--list'])).stdout).toBe('no denied identities\n')
    const denied = await command(['deny', id, '--reason', 'key stolen', '--for', '1h'])
    expect(denied.stdout).toMatch(/^spiffe:\S+stolen: denied until 20\d\d-\S+ \S+Z\n$/)
    expect((await command(['deny', id])).stdout).toBe(`${id}: denied (was already)\n`)
    expect((await command(['deny', id])).stdout).toBe(`${id}: denied (unchanged)\n`)
    expect((await command(['deny', '--list'])).stdout).toMatch(/^IDENTITY +SINCE +UNTIL +BY +REASON\nspiffe:\S+stolen /)
    expect(await json(['deny', '--list'])).toMatchObject({ denials: [{ spiffeId: id, until: null }] })
    expect(await json(['allow', id])).toMatchObject({ spiffeId: id, allowed: true })
    expect((await command(['audit', '--service', 'stolen'])).stdout).toMatch(/ deny [\s\S]* allow /)
  })

  it.each([
    [['deny'], 2, 'give the SPIFFE id to deny'],
    [['deny', '--list', 'spiffe://inmesh.local/service/a'], 2, '--list stands alone'],
    [['deny', 'a', '--for', 'soon'], 2, 'expected a duration'],
    [['deny', 'a', '--reason', 'two\nlines'], 2, 'expected one line'],
    [['deny', 'checkout'], 2, 'expected one such as spiffe://inmesh.local/service/checkout'],
    [['deny', 'spiffe://inmesh.local/registry'], 2, 'the identity of the registries'],
    [['allow', 'spiffe://inmesh.local/service/a'], 1, 'is not denied'],
    [['allow'], 2, "missing required argument 'spiffe-id'"],
  ])('refuses %j with a hint', async (args, code, hint) => {
    const answer = await command(args)
    expect(answer.code).toBe(code)
    expect(answer.stderr).toContain(hint)
    expect(await json(['deny', '--list'])).toEqual({ denials: [] })
  })

  it('applies nothing of a file with a mistake', async () => {
    const { code, stderr } = await command(['apply', '-f', '-'], 'service: whole\n---\nservice: half\ntimout: 1s\n')
    expect(code).toBe(2)
    expect(stderr).toContain("<stdin>:4:1 timout: unknown key; did you mean 'timeout'?")
    expect((await command(['get', 'whole'])).code).toBe(1)
  })

  it('ends with 1 when the registry refuses', async () => {
    for (const args of [
      ['get', 'nobody'],
      ['delete', 'nobody'],
      ['history', 'nobody'],
      ['token', 'revoke', 'none'],
    ]) {
      const { code, stdout, stderr } = await command([...args, '--json'])
      expect({ args, code, stdout }).toEqual({ args, code: 1, stdout: '' })
      expect(JSON.parse(stderr).error).toMatchObject({ code: 'not-found', exitCode: 1 })
    }
    await json(['apply', '-f', '-'], 'service: known\n')
    expect(await command(['rollback', 'known', '--to', '99'])).toMatchObject({ code: 1 })
  })

  it('makes, lists and revokes join tokens', async () => {
    const made = await json<{ id: string; token: string; expiresAt: number }>([
      ...['token', 'create', '--service', 'checkout', '--ttl', '1h', '--uses', '3'],
    ])
    expect(made).toMatchObject({ service: 'checkout', uses: 3 })
    expect(made.token).toMatch(/^inmesh-join\./)
    expect(made.token.endsWith(registry.ready.rootFingerprint)).toBe(true)
    expect(Math.abs(made.expiresAt - Date.now() - 3_600_000)).toBeLessThan(120_000)

    const listed = await command(['token', 'list'])
    expect(listed.stdout).toMatch(new RegExp(`${made.id} +checkout +3 of 3`))
    expect(listed.stdout).not.toContain(made.token.split('.')[1])

    expect((await command(['token', 'revoke', made.id])).stdout).toBe(`${made.id}: revoked\n`)
    expect(await json(['token', 'list'])).toEqual({ tokens: [] })

    const plain = await command(['token', 'create', '--service', 'checkout'])
    expect(plain.stdout).toMatch(/^inmesh-join\.[\w-]+\.[\w-]+\n$/)
    expect(plain.stderr).toContain("for 'checkout', 1 use, until")
  })

  it('lists services and instances', async () => {
    await json(['apply', '-f', '-'], 'service: listed\n')
    const { services } = await json<{ services: { service: string }[] }>(['services'])
    expect(services).toContainEqual(expect.objectContaining({ service: 'listed', instances: 0 }))
    expect((await command(['services'])).stdout).toMatch(/^SERVICE +READY.*\n[\s\S]*listed +0 +0 +version 1 +ok/)
    expect(await json(['instances', 'listed'])).toEqual({ instances: [] })
    expect(await json(['instances'])).toEqual({ instances: [] })
    expect(await command(['instances', 'nobody'])).toMatchObject({ code: 1 })
  })

  it('prints the audit log, oldest first, by either name', async () => {
    await json(['apply', '-f', '-'], 'service: audited\n')
    await json(['delete', 'audited'])
    const { events } = await json<{ events: { action: string }[] }>(['audit', '--service', 'audited'])
    expect(events.map(({ action }) => action)).toEqual(['policy-apply', 'policy-delete'])
    expect((await command(['events', '--service', 'audited', '--limit', '1'])).stdout).toMatch(
      /policy-delete +done +audited/,
    )
    expect(await json(['audit', '--refused', '--service', 'audited'])).toMatchObject({ events: [] })
  })

  it('runs as an executable, with exit code and streams', async () => {
    const file = join(directory, 'wrong.yaml')
    await writeFile(file, 'service: a\nretry:\n  atempts: 3\n')
    const child = spawn(process.execPath, [MAIN, 'apply', '-f', file], { env: { ...process.env, ...env } })
    let [stdout, stderr] = ['', '']
    child.stdout.on('data', (chunk) => {
      stdout += chunk
    })
    child.stderr.on('data', (chunk) => {
      stderr += chunk
    })
    const [code] = await once(child, 'close')
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toContain(`${file}:3:3 retry.atempts: unknown key; did you mean 'attempts'?`)
  })
})

describe('commands against a registry with tokens', () => {
  let registry: RunningRegistry
  let dataDir: string
  let token: string
  let env: Record<string, string>
  beforeAll(async () => {
    dataDir = join(directory, 'registry')
    registry = await startRegistry(['--data-dir', dataDir, '--log-level', 'silent'])
    token = (await readFile(join(dataDir, 'admin-token'), 'utf8')).trim()
    env = { INMESH_REGISTRY: registry.ready.url, HOME: directory }
  })
  afterAll(() => stop(registry))

  it('refuses commands without the admin token', async () => {
    const { code, stderr } = await run(['token', 'list', '--json'], { env })
    expect(code).toBe(1)
    expect(JSON.parse(stderr).error.code).toBe('admin-required')
  })

  it('takes it from the flag, the variable or the data directory', async () => {
    expect((await run(['token', 'list', '--token', token], { env })).code).toBe(0)
    expect((await run(['token', 'list'], { env: { ...env, INMESH_ADMIN_TOKEN: token } })).code).toBe(0)
    expect((await run(['token', 'list', '--data-dir', dataDir], { env })).code).toBe(0)
  })

  it('sends the token to no other registry than its own', async () => {
    const foreign = token.replace(/[^.]+$/, 'A'.repeat(43))
    const { code, stderr } = await run(['token', 'list', '--json'], { env: { ...env, INMESH_ADMIN_TOKEN: foreign } })
    expect(code).toBe(1)
    expect(JSON.parse(stderr).error.code).toBe('identity-rejected')
  })

  it('refuses a join token in place of the admin token', async () => {
    const made = await run(['token', 'create', '--service', 'a', '--token', token], { env })
    const { code, stderr } = await run(['get', '--token', made.stdout.trim()], { env })
    expect(code).toBe(2)
    expect(stderr).toContain('this is a join token')
  })

  it('keeps its state private, and over a restart', async () => {
    expect((await stat(dataDir)).mode & 0o777).toBe(0o700)
    expect((await stat(join(dataDir, 'admin-token'))).mode & 0o777).toBe(0o600)
    await run(['apply', '-f', '-', '--token', token], { env, stdin: 'service: kept\ntimeout: 1s\n' })
    expect(await stop(registry)).toBe(0)
    expect((await run(['status', '--token', token], { env })).code).toBe(3)
    const { rootFingerprint } = registry.ready
    registry = await startRegistry(['--data-dir', dataDir])
    env.INMESH_REGISTRY = registry.ready.url
    expect(registry.ready.rootFingerprint).toBe(rootFingerprint)
    expect((await run(['get', 'kept', '--token', token], { env })).stdout).toContain('timeout: 1s')
  })

  it('finds the token of a registry that keeps its state in the default directory', async () => {
    const home = { HOME: join(directory, 'home'), XDG_STATE_HOME: '' }
    const standard = await startRegistry([], home)
    try {
      const around = { env: { ...home, INMESH_REGISTRY: standard.ready.url } }
      expect((await run(['token', 'list'], around)).code).toBe(0)
      // Another registry gets no token that was only found.
      const other = await run(['token', 'list', '--json'], { env: { ...home, INMESH_REGISTRY: registry.ready.url } })
      expect(JSON.parse(other.stderr).error.code).toBe('admin-required')
    } finally {
      await stop(standard)
    }
  })
})

describe('inmesh registry', () => {
  it.each([
    [['--dev', '--address', '0.0.0.0', '--memory'], '--dev: is for loopback addresses only'],
    [['--memory', '--data-dir', 'somewhere'], '--memory: excludes a data directory'],
    [['--memory', '--port', '70000'], '--port: expected a whole number from 0 to 65535'],
    [['--memory', '--port', 'http'], '--port: expected a whole number'],
    [['--memory', '--lease', 'long'], '--lease: expected a duration'],
    [['--memory', '--certificate-life', '1ms'], '--certificate-life: expected a duration'],
    [['--memory', '--address', 'no address'], '--address: expected an IP address'],
    [['--memory', '--trust-domain', 'UPPER case'], '--trust-domain: expected'],
    [['--memory', '--seal-key', 'c2VjcmV0'], "--seal-key: expected 'file:PATH', 'env:NAME' or 'cmd:COMMAND'"],
    [['--memory', '--seal-key', 'env:INMESH_TEST_NOT_SET'], '--seal-key: the variable INMESH_TEST_NOT_SET is not set'],
    [['--memory', '--seal-key', 'cmd:false'], "--seal-key: the command 'false' ended with exit code 1"],
    [['--memory', '--former-seal-key', 'env:OLD'], '--seal-key: is missing'],
  ])('refuses %j and names the flag', async (args, message) => {
    const { code, stdout, stderr } = await run(['registry', ...args])
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toContain(message)
  })

  it('seals its store, names the wrong key, and changes it', async () => {
    const dataDir = join(directory, 'sealed')
    const start = (...args: string[]) => startRegistry(['--data-dir', dataDir, ...args], KEYS)
    const KEYS = { OLD_KEY: 'a'.repeat(64), NEW_KEY: 'correct horse battery staple' }
    const first = await start('--log-level', 'silent')
    await stop(first)
    await stop(await start('--seal-key', 'env:OLD_KEY'))
    await expect(start()).rejects.toThrow(/--seal-key: is missing: the keys of this store are sealed/)
    await expect(start('--seal-key', 'env:NEW_KEY')).rejects.toThrow(/--seal-key: is another one/)
    await stop(await start('--seal-key', 'env:NEW_KEY', '--former-seal-key', 'env:OLD_KEY'))
    const last = await start('--seal-key', 'env:NEW_KEY')
    expect(last.ready.rootFingerprint).toBe(first.ready.rootFingerprint)
    expect((await run(['services', '--registry', last.ready.url, '--data-dir', dataDir], { env: {} })).code).toBe(0)
    await stop(last)
  })

  it('refuses a port that is taken', async () => {
    const first = await startRegistry(['--memory', '--dev'])
    try {
      const { code, stdout, stderr } = await run([
        'registry',
        '--memory',
        '--log-level',
        'silent',
        '--port',
        new URL(first.ready.url).port,
      ])
      expect(stdout).toBe('')
      expect([1, 2]).toContain(code)
      expect(stderr).toContain(new URL(first.ready.url).port)
    } finally {
      await stop(first)
    }
  })

  it('prints the admin token when there is no directory to read it from', async () => {
    const registry = await startRegistry(['--memory'])
    try {
      const { url, adminToken } = registry.ready
      expect(
        (await run(['status', '--registry', url, '--token', adminToken!], { env: { HOME: directory } })).code,
      ).toBe(0)
    } finally {
      await stop(registry)
    }
  })

  it.each(['SIGTERM', 'SIGINT'] as const)('ends with 0 on %s', async (signal) => {
    const { child } = await startRegistry(['--memory', '--dev'])
    const exited = once(child, 'exit')
    child.kill(signal)
    expect(await exited).toEqual([0, null])
  })
})
