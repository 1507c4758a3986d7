/** `inmesh ca`: offline roots, intermediates made elsewhere, and rotations by command. */
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { joinMesh } from '../../src/index.ts'
import type { AuthorityStatus } from '../../src/registry/ca/authority-status.ts'
import { type Registry, type RegistryOptions, startRegistry } from '../../src/registry/index.ts'
import { type Run, run } from './run-command.ts'

const DOMAIN = 'shop.example'

let directory: string
const registries: Registry[] = []

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'inmesh-ca-'))
})

afterEach(async () => {
  for (const registry of registries.splice(0)) await registry.close()
  rmSync(directory, { recursive: true })
})

const path = (name: string): string => join(directory, name)

async function start(options: RegistryOptions = {}): Promise<Registry> {
  const registry = await startRegistry({ port: 0, log: false, lease: '500ms', ...options })
  registries.push(registry)
  return registry
}

async function done(...args: string[]): Promise<Run> {
  const answer = await run(args, { env: {} })
  expect(answer, args.join(' ')).toMatchObject({ code: 0, stderr: '' })
  return answer
}

async function refused(...args: string[]): Promise<string> {
  const answer = await run(args, { env: {} })
  expect(answer.code, answer.stderr).toBeGreaterThan(0)
  return answer.stderr
}

/** An offline root, and a directory with an intermediate that it signed. */
async function makeElsewhere(): Promise<void> {
  await done('ca', 'init', '--dir', path('root'), '--trust-domain', DOMAIN)
  await renewElsewhere('1')
}

async function renewElsewhere(name: string): Promise<void> {
  await done('ca', 'csr', '--dir', path('ca'), '--trust-domain', DOMAIN, '--out', path(`${name}.csr`))
  await done(
    'ca',
    'sign',
    path(`${name}.csr`),
    '--dir',
    path('root'),
    '--out',
    path(`${name}.pem`),
    '--life',
    `${name}d`,
  )
  await done('ca', 'import', path(`${name}.pem`), '--dir', path('ca'))
}

async function statusOf(registry: Registry, token: string): Promise<AuthorityStatus> {
  const { stdout } = await done('ca', 'status', '--json', '--registry', registry.url, '--token', token)
  return JSON.parse(stdout) as AuthorityStatus
}

async function joins(registry: Registry, service = 'a'): Promise<void> {
  const joinToken = await registry.createJoinToken({ service })
  const mesh = await joinMesh({ service, registry: registry.url, joinToken, stateDir: 'memory' })
  await mesh.close()
}

describe('a root that is kept offline', () => {
  test('signs the intermediate of a registry, which never has its key', async () => {
    await makeElsewhere()
    for (const name of ['root/root.key', 'ca/intermediate.key']) expect(statSync(path(name)).mode & 0o777).toBe(0o600)
    const registry = await start({ dataDir: path('data'), caDir: path('ca') })
    expect(registry.trustDomain).toBe(DOMAIN)
    expect(registry.roots[0]!.trim()).toBe(readFileSync(path('root/root.pem'), 'utf8').trim())
    await joins(registry)
    const token = readFileSync(path('data/admin-token'), 'utf8').trim()
    const { certificates } = await statusOf(registry, token)
    expect(certificates.authorities.map(({ role, key }) => `${role} ${key}`)).toEqual([
      'root elsewhere',
      'intermediate elsewhere',
    ])
    const secret = readFileSync(path('ca/intermediate.key'), 'utf8').split('\n')[1]!
    const database = ['registry.db', 'registry.db-wal'].map((name) => readFileSync(path(`data/${name}`), 'latin1'))
    expect(database.join('')).not.toContain(secret)
    const at = ['--registry', registry.url, '--token', token]
    expect(await refused('ca', 'rotate', 'intermediate', ...at)).toMatch(/kept elsewhere: sign the request of/)
    expect(await refused('ca', 'rotate', 'root', ...at)).toMatch(/kept elsewhere: make another by 'inmesh ca init'/)
  })

  test('signs a newer one, which a running registry takes over, and a restart meanwhile signs on', async () => {
    await makeElsewhere()
    const first = await start({ dataDir: path('data'), caDir: path('ca') })
    const token = readFileSync(path('data/admin-token'), 'utf8').trim()
    await renewElsewhere('2')
    const stage = async (registry: Registry) => (await statusOf(registry, token)).certificates.stage
    await expect.poll(() => stage(first), { timeout: 20_000 }).toBe('use')
    await first.close()
    const again = await start({ dataDir: path('data'), caDir: path('ca') })
    expect(await stage(again)).toBe('use')
    await joins(again)
  })

  test('is never overwritten, and neither is a request or a chain', async () => {
    await makeElsewhere()
    const before = readFileSync(path('root/root.key'), 'utf8')
    expect(await refused('ca', 'init', '--dir', path('root'))).toMatch(/no root is overwritten/)
    expect(readFileSync(path('root/root.key'), 'utf8')).toBe(before)
    const csr = ['ca', 'csr', '--dir', path('ca'), '--out', path('1.csr')]
    expect(await refused(...csr)).toMatch(/1.csr is there already/)
    const other = await refused('ca', 'sign', path('root/root.pem'), '--dir', path('root'))
    expect(other).toMatch(/^error: The signing request was refused: it is not one PEM block/)
  })

  test('takes a registry with its own root over, and its tokens stay valid meanwhile', async () => {
    const before = await start({ dataDir: path('data'), trustDomain: DOMAIN })
    const joinToken = await before.createJoinToken({ service: 'a', uses: 9 })
    const token = readFileSync(path('data/admin-token'), 'utf8').trim()
    await before.close()
    await makeElsewhere()
    const registry = await start({ dataDir: path('data'), caDir: path('ca') })
    const { pin } = await statusOf(registry, token)
    await expect.poll(async () => (await statusOf(registry, token)).pin, { timeout: 20_000 }).not.toBe(pin)
    const rewritten = readFileSync(path('data/admin-token'), 'utf8').trim()
    expect(rewritten.split('.')[1]).toBe(token.split('.')[1])
    expect(rewritten).not.toBe(token)
    for (const one of [token, rewritten]) expect((await statusOf(registry, one)).certificates.stage).toBe('use')
    const mesh = await joinMesh({ service: 'a', registry: registry.url, joinToken, stateDir: 'memory' })
    await mesh.close()
    await joins(registry)
    // Tokens that others hold get the new root, too, while the former one is trusted.
    const at = ['--registry', registry.url]
    expect((await done('token', 'repin', ...at, '--token', token)).stdout.trim()).toBe(rewritten)
    const repinned = (await done('token', 'repin', joinToken, ...at)).stdout.trim()
    await done('ca', 'rotate', 'root', '--force', ...at, '--token', rewritten)
    expect(await refused('ca', 'status', ...at, '--token', token)).toMatch(/pinned fingerprint/)
    expect(await refused('token', 'repin', ...at, '--token', token)).toMatch(/pinned fingerprint/)
    expect(await refused('token', 'repin', 'nonsense', ...at)).toMatch(/expected a token/)
    expect((await statusOf(registry, rewritten)).certificates.stage).toBe('steady')
    const late = await joinMesh({ service: 'a', registry: registry.url, joinToken: repinned, stateDir: 'memory' })
    await late.close()
  })
})

describe('a directory that does not fit', () => {
  test('signs no request that was made for another trust domain', async () => {
    await done('ca', 'init', '--dir', path('root'), '--trust-domain', DOMAIN)
    await done('ca', 'csr', '--dir', path('ca'), '--trust-domain', 'other.example', '--out', path('other.csr'))
    const answer = await refused('ca', 'sign', path('other.csr'), '--dir', path('root'))
    expect(answer).toContain(`is for another trust domain; the root in ${path('root')} is of ${DOMAIN}`)
  })

  test('is refused with one clear error, and nothing is made', async () => {
    await makeElsewhere()
    const mistake = async (options: RegistryOptions = {}): Promise<string> => {
      const started = startRegistry({ port: 0, log: false, memory: true, caDir: path('ca'), ...options })
      return await started.then(
        async (registry) => {
          await registry.close()
          return 'none'
        },
        (error: Error) => error.message,
      )
    }
    expect(await mistake()).toBe('none')
    expect(await mistake({ caDir: path('none') })).toMatch(/intermediate.key cannot be read \(ENOENT\); make it by/)
    expect(await mistake({ trustDomain: 'other.example' })).toMatch(/names spiffe:\/\/shop.example/)
    const chain = readFileSync(path('ca/chain.pem'), 'utf8')
    writeFileSync(path('ca/chain.pem'), chain.slice(0, chain.indexOf('-----END') + 26))
    expect(await mistake()).toMatch(/caDir: .*chain.pem: the root is missing/)
    writeFileSync(path('ca/chain.pem'), 'nonsense')
    expect(await mistake()).toMatch(/expected certificates in PEM/)
    writeFileSync(path('ca/chain.pem'), chain)
    const key = readFileSync(path('ca/intermediate.key'))
    writeFileSync(path('ca/intermediate.key'), readFileSync(path('root/root.key')))
    expect(await mistake()).toMatch(/is for another key/)
    writeFileSync(path('ca/intermediate.key'), 'nonsense')
    expect(await mistake()).toMatch(/expected a P-256 key in PEM/)
    writeFileSync(path('ca/intermediate.key'), key)
    chmodSync(path('ca/intermediate.key'), 0o640)
    expect(await mistake()).toMatch(/has mode 640, so others may read our private key; run 'chmod 600/)
    chmodSync(path('ca/intermediate.key'), 0o600)
    expect(await mistake()).toBe('none')
  })

  test('made by openssl is taken if it is right', async () => {
    const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: directory, stdio: 'pipe' })
    const san = `subjectAltName=URI:spiffe://${DOMAIN}`
    const ca = (constraints: string, usage = 'keyCertSign,cRLSign') =>
      `basicConstraints=critical,${constraints}\nkeyUsage=critical,${usage}\n${san}\n`
    openssl('ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', 'root.key')
    openssl(
      ...['req', '-new', '-x509', '-key', 'root.key', '-subj', '/CN=company root', '-days', '30', '-out', 'root.pem'],
      ...['-addext', 'basicConstraints=critical,CA:TRUE', '-addext', 'keyUsage=critical,keyCertSign,cRLSign'],
      ...['-addext', san],
    )
    execFileSync('mkdir', ['-m', '700', path('vault')])
    openssl('ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', 'sec1.key')
    openssl('pkcs8', '-topk8', '-nocrypt', '-in', 'sec1.key', '-out', 'vault/intermediate.key')
    chmodSync(path('vault/intermediate.key'), 0o600)
    openssl('req', '-new', '-key', 'vault/intermediate.key', '-subj', '/CN=mesh intermediate', '-out', 'i.csr')
    const sign = (extensions: string): void => {
      writeFileSync(path('ext'), extensions)
      const by = ['-CA', 'root.pem', '-CAkey', 'root.key', '-CAcreateserial', '-days', '10', '-extfile', 'ext']
      openssl('x509', '-req', '-in', 'i.csr', ...by, '-out', 'i.pem')
      writeFileSync(
        path('vault/chain.pem'),
        readFileSync(path('i.pem'), 'utf8') + readFileSync(path('root.pem'), 'utf8'),
      )
    }
    sign(ca('CA:TRUE,pathlen:0'))
    const registry = await start({ memory: true, caDir: path('vault') })
    expect(registry.trustDomain).toBe(DOMAIN)
    await joins(registry)
    sign(ca('CA:FALSE'))
    await expect(start({ memory: true, caDir: path('vault') })).rejects.toThrow('no authority (CA:TRUE)')
    sign(ca('CA:TRUE', 'digitalSignature'))
    await expect(start({ memory: true, caDir: path('vault') })).rejects.toThrow(/may not sign certificates/)
  })
})

describe('an intermediate whose key stays in the registry', () => {
  test('is signed elsewhere, imported, published and used', async () => {
    await done('ca', 'init', '--dir', path('root'), '--trust-domain', DOMAIN)
    const registry = await start({ memory: true, trustDomain: DOMAIN })
    const at = ['--registry', registry.url, '--token', registry.adminToken!]
    await done('ca', 'csr', ...at, '--out', path('i.csr'))
    expect((await done('ca', 'csr', ...at)).stdout.trim()).not.toBe('')
    await done('ca', 'sign', path('i.csr'), '--dir', path('root'), '--out', path('i.pem'))
    const before = registry.rootFingerprint
    await done('ca', 'import', path('i.pem'), ...at)
    await expect.poll(() => registry.rootFingerprint, { timeout: 20_000 }).not.toBe(before)
    await joins(registry)
    expect(await refused('ca', 'import', path('i.pem'), ...at)).toMatch(/is imported already/)
    const { stdout } = await done('audit', ...at)
    expect(stdout).toMatch(/ca-csr/)
    expect(stdout).toMatch(/ca-rotate .*publishes root/)
    expect(stdout).toMatch(/ca-use/)
  })

  test('is refused for another key, and nothing is changed', async () => {
    await makeElsewhere()
    const registry = await start({ memory: true, trustDomain: DOMAIN })
    const at = ['--registry', registry.url, '--token', registry.adminToken!]
    const before = await statusOf(registry, registry.adminToken!)
    expect(await refused('ca', 'import', path('1.pem'), ...at)).toMatch(/is for another key; sign the request of/)
    expect(await refused('ca', 'import', path('1.csr'), ...at)).toMatch(/expected certificates in PEM/)
    expect(await refused('ca', 'import', path('none'), ...at)).toMatch(/cannot read the chain from/)
    expect((await statusOf(registry, registry.adminToken!)).sequence).toBe(before.sequence)
  })
})

describe('a rotation by command', () => {
  test('is shown by status, cancelled before use, forced, and only one at a time', async () => {
    const registry = await start({ memory: true })
    const token = registry.adminToken!
    const at = ['--registry', registry.url, '--token', token]
    expect(await refused('ca', 'rotate', 'tokens', '--force', ...at)).toMatch(/no rotation is under way/)
    expect(await refused('ca', 'rotate', 'tokens', '--cancel', ...at)).toMatch(/no rotation is under way/)
    expect(await refused('ca', 'rotate', 'all', ...at)).toMatch(/expected/)
    expect(await refused('ca', 'rotate', 'root', '--force', '--cancel', ...at)).toMatch(/--force excludes --cancel/)
    const { stdout } = await done('ca', 'rotate', 'tokens', ...at)
    expect(stdout).toMatch(/tokens: the next one is published and signs nothing yet; .* verifiers outside of the mesh/)
    expect(await refused('ca', 'rotate', 'tokens', ...at)).toMatch(/is under way: [0-9a-f]+ is published/)
    await done('ca', 'rotate', 'tokens', '--cancel', ...at)
    expect((await statusOf(registry, token)).tokens).toMatchObject({ stage: 'steady', keys: [{ part: 'active' }] })
    await done('ca', 'rotate', 'tokens', ...at)
    await done('ca', 'rotate', 'tokens', '--force', ...at)
    expect((await statusOf(registry, token)).tokens.keys.map(({ part }) => part)).toEqual(['active', 'former'])
    expect(await refused('ca', 'rotate', 'tokens', '--cancel', ...at)).toMatch(/the new one signs already/)
    await done('ca', 'rotate', 'tokens', '--force', ...at)
    expect((await statusOf(registry, token)).tokens.keys).toHaveLength(1)
  })

  test('needs the right to change something', async () => {
    const registry = await start({ memory: true })
    const at = ['--registry', registry.url, '--token']
    const reader = await done('token', 'operator', 'create', 'r', '--read-only', ...at, registry.adminToken!)
    const token = reader.stdout.trim()
    expect((await statusOf(registry, token)).certificates.stage).toBe('steady')
    expect(await refused('ca', 'rotate', 'root', ...at, token)).toMatch(/may read and not change anything/)
    expect(await refused('ca', 'csr', ...at, token)).toMatch(/may read and not change anything/)
  })
})
