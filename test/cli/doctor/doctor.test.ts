/** `inmesh doctor` beside a workload, and where something is wrong. */
import { mkdtempSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer, type Server as TcpServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Server } from '@grpc/grpc-js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { clockFinding } from '../../../src/cli/doctor/registry-checks.ts'
import { joinMesh } from '../../../src/mesh/join-mesh.ts'
import type { Mesh } from '../../../src/mesh/mesh.ts'
import { type Registry, startRegistry } from '../../../src/registry/index.ts'
import { LeapingClock } from '../../rigs/leaping-clock.ts'
import { run } from '../run-command.ts'

const folder = mkdtempSync(join(tmpdir(), 'inmesh-doctor-test-'))
const stateDir = join(folder, 'checkout')
const meshes: Mesh[] = []
let registry: Registry

async function member(service: string, directory = 'memory'): Promise<Mesh> {
  const joinToken = await registry.createJoinToken({ service })
  const options = { service, joinToken, registry: registry.url, stateDir: directory, handleSignals: false }
  const mesh = await joinMesh({ ...options, drainNotice: 0, joinTimeout: '30s' })
  meshes.push(mesh)
  return mesh
}

beforeAll(async () => {
  registry = await startRegistry({ port: 0, memory: true, log: false, joinsPerSecond: 1_000 })
  await (await member('checkout', stateDir)).serve((_request, response) => response.end())
  await (await member('inventory')).serve((_request, response) => response.end())
  await (await member('prices')).serve((_request, response) => response.end())
  await (await member('scores')).serve((_request, response) => response.end())
  await (await member('quotes')).serveGrpc(new Server())
  await (await member('redis')).listen('redis', (socket) => socket.end())
  await registry.applyPolicies([
    { service: 'inventory', allow: [{ from: 'checkout' }] },
    { service: 'redis', allow: [{ from: 'checkout', tcp: true }] },
    { service: 'scores', allow: [{ from: 'checkout', methods: ['POST'], paths: ['/scores/*'] }] },
    { service: 'quotes', allow: [{ from: 'checkout', grpc: ['shop.Quotes/*'] }] },
  ])
})
afterAll(async () => {
  await Promise.all(meshes.map((mesh) => mesh.close()))
  await registry.close()
  rmSync(folder, { recursive: true, force: true })
})

interface Found {
  readonly check: string
  readonly state: string
  readonly subject?: string
  readonly message: string
  readonly todo?: string
}

async function doctor(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const around = {
    INMESH_SERVICE: 'checkout',
    INMESH_STATE_DIR: stateDir,
    INMESH_REGISTRY: registry.url,
    HOME: '/nonexistent',
  }
  const { code, stdout, stderr } = await run(['doctor', '--json', ...args], { env: { ...around, ...env } })
  const answer = JSON.parse(stdout || '{"findings":[]}') as { ok: boolean; findings: readonly Found[] }
  const of = (check: string, subject?: string): Found | undefined =>
    answer.findings.find((one) => one.check === check && (subject === undefined || one.subject === subject))
  return { code, stderr, ok: answer.ok, findings: answer.findings, of }
}

describe('beside a workload that is well', () => {
  it('finds registry, clock, certificate and registration, and each service that it calls', async () => {
    const { code, ok, of, findings } = await doctor(['--to', 'inventory', '--to', 'tcp://redis'])
    expect(findings.filter(({ state }) => state === 'failed')).toEqual([])
    expect({ code, ok }).toEqual({ code: 0, ok: true })
    expect(of('registry')?.message).toContain('its root is the one that is pinned')
    expect(of('clock')?.message).toMatch(/^agrees within \d+ ms$/)
    expect(of('certificate')?.message).toContain('spiffe://inmesh.local/service/checkout, until 20')
    expect(of('membership')).toMatchObject({ state: 'ok' })
    expect(of('registration')?.message).toMatch(/:\d+ http ready$/)
    expect(of('intention', 'inventory')?.message).toBe(
      "'checkout' may call it (allow[0] of the document of 'inventory')",
    )
    expect(of('dependency', 'inventory')?.message).toBe('1 of 1 instances answer')
    expect(findings.at(-2)).toMatchObject({ subject: 'tcp://redis', message: 'a connection was admitted' })
    expect(of('versions')?.message).toContain(`Node ${process.versions.node}`)
  })

  it('prints a line for each, and what to do below', async () => {
    const env = { INMESH_SERVICE: 'checkout', INMESH_STATE_DIR: stateDir, INMESH_REGISTRY: registry.url }
    const { code, stdout, stderr } = await run(['doctor', '--to', 'prices'], { env })
    expect(code).toBe(1)
    expect(stdout).toMatch(/^ok {6} registry https:/m)
    expect(stdout).toMatch(/^failed {3}intention prices: 'checkout' may not call it \(.*\)\n {9}do: add `allow:/m)
    expect(stderr).toBe('error: 1 check failed\n')
  })
})

describe('where a rule allows some requests', () => {
  it('names them, and how to test one', async () => {
    const { code, of } = await doctor(['--to', 'scores'])
    expect(of('intention')).toMatchObject({
      state: 'ok',
      message: "the document of 'scores' allows 'checkout' POST /scores/* (allow[0]), and not GET /",
      todo: "to test a request, --to 'POST http://scores/scores/1'",
    })
    expect(code).toBe(0)
    expect((await doctor(['--to', 'POST http://scores/scores/1'])).of('intention')?.message).toBe(
      "'checkout' may call it (allow[0] of the document of 'scores')",
    )
  })

  it('are what explain names as well', async () => {
    const env = { INMESH_REGISTRY: registry.url, INMESH_ADMIN_TOKEN: registry.adminToken }
    const { stdout } = await run(['explain', 'GET', 'http://scores/', '--from', 'checkout'], { env })
    expect(stdout).toContain('from checkout; the caller may send POST /scores/* (allow[0])\n')
  })

  it('fails for a request that none allows', async () => {
    expect((await doctor(['--to', 'http://scores/scores/1'])).of('intention')).toMatchObject({
      state: 'failed',
      message: "the document of 'scores' allows 'checkout' POST /scores/* (allow[0]), and not GET /scores/1",
    })
  })
})

describe('a service that speaks gRPC only', () => {
  it('is registered and a dependency by its name', async () => {
    const { code, of } = await doctor(['--to', 'quotes'])
    expect(of('intention')).toMatchObject({
      state: 'ok',
      message: expect.stringContaining("allows 'checkout' gRPC shop.Quotes/* (allow[0])"),
    })
    expect(of('dependency')?.message).toBe('1 of 1 instances answer')
    expect(code).toBe(0)
    const env = { INMESH_SERVICE: 'quotes', INMESH_STATE_DIR: 'memory', INMESH_ADMIN_TOKEN: registry.adminToken! }
    expect((await doctor([], env)).of('registration')?.message).toMatch(/:\d+ grpc ready$/)
    expect((await doctor(['--to', 'http://quotes/'])).of('dependency')?.message).toBe(
      "no instance of 'quotes' serves http, only grpc",
    )
  })
})

describe('where something is wrong', () => {
  it('asks for the service', async () => {
    const { code, stderr } = await run(['doctor'], { env: { HOME: '/nonexistent' } })
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr: 'error: whose workload is it? Give --service checkout, or set INMESH_SERVICE\n',
    })
  })

  it('says that another program listens at the address of an instance', async () => {
    const parrot = createServer((socket) => socket.on('error', () => {}).end('hello\n')).listen(0, '127.0.0.2')
    await new Promise((resolve) => parrot.once('listening', resolve))
    const { port } = parrot.address() as AddressInfo
    await (await member('strange')).serve(() => {}, { host: '127.0.0.1', port, advertise: '127.0.0.2' })
    const found = (await doctor(['--to', 'strange'])).of('dependency')
    parrot.close()
    expect(found).toMatchObject({
      state: 'failed',
      message: expect.stringMatching(/^0 of 1 instances answer; 127\.0\.0\.2:\d+: another program listens there/),
    })
  })

  it('says that nothing listens, and that a name is unknown', async () => {
    const env = { INMESH_REGISTRY: 'https://127.0.0.1:1,https://registry.invalid:7400' }
    const { code, findings } = await doctor([], env)
    expect(code).toBe(3)
    expect(findings.filter(({ check }) => check === 'registry')).toMatchObject([
      { state: 'failed', message: 'no connection to 127.0.0.1: nothing listens on port 1' },
      { state: 'failed', message: expect.stringContaining('its name cannot be resolved (') },
    ])
  })

  it('gives up one that is silent, and names a program that is no registry', async () => {
    const silent: TcpServer = createServer(() => {}).listen(0, '127.0.0.1')
    const other: TcpServer = createServer((socket) => socket.on('error', () => {}).end('hello\n')).listen(
      0,
      '127.0.0.1',
    )
    await Promise.all([silent, other].map((server) => new Promise((resolve) => server.once('listening', resolve))))
    const urls = [silent, other].map((server) => `https://127.0.0.1:${(server.address() as AddressInfo).port}`)
    const { code, findings } = await doctor([], { INMESH_REGISTRY: urls.join(',') })
    for (const server of [silent, other]) server.close()
    expect(code).toBe(3)
    const found = findings.filter(({ check }) => check === 'registry')
    expect(found[0]?.message).toContain('no TLS handshake within 3000 ms')
    expect(found[1]).toMatchObject({
      state: 'failed',
      todo: expect.stringContaining('does another program listen there?'),
    })
  })

  it('names a registry of another mesh, and a token that is none', async () => {
    await using other = await startRegistry({ port: 0, memory: true, log: false })
    const foreign = await doctor([], { INMESH_REGISTRY: other.url })
    expect(foreign.of('registry')).toMatchObject({ state: 'failed', message: expect.stringContaining('fingerprint') })
    const { code, stderr } = await doctor([], { INMESH_JOIN_TOKEN: 'secret' })
    expect(code).toBe(2)
    expect(stderr).toContain('from INMESH_JOIN_TOKEN')
  })

  it('says that a token is used up, of another service or unknown, by the right of an operator', async () => {
    const env = { INMESH_STATE_DIR: 'memory', INMESH_ADMIN_TOKEN: registry.adminToken! }
    const used = await registry.createJoinToken({ service: 'checkout' })
    const mesh = await joinMesh({
      service: 'checkout',
      joinToken: used,
      registry: registry.url,
      stateDir: 'memory',
      handleSignals: false,
      drainNotice: 0,
    })
    await mesh.close()
    const tokenOf = async (INMESH_JOIN_TOKEN: string): Promise<string[]> =>
      (await doctor([], { ...env, INMESH_JOIN_TOKEN })).findings
        .filter(({ check }) => check === 'join token')
        .map(({ message }) => message)
    expect(await tokenOf(used)).toContain('is used up')
    expect(await tokenOf(await registry.createJoinToken({ service: 'prices' }))).toContain(
      "is for 'prices', not 'checkout'",
    )
    expect(await tokenOf(await registry.createJoinToken({ service: 'checkout' }))).toContainEqual(
      expect.stringMatching(/^good for 1 more, until /),
    )
  })

  it('spends no join token unless it is asked to', async () => {
    const INMESH_JOIN_TOKEN = await registry.createJoinToken({ service: 'checkout' })
    const env = { INMESH_STATE_DIR: 'memory', INMESH_JOIN_TOKEN }
    const looked = await doctor([], env)
    expect(looked.of('membership')).toMatchObject({ state: 'skipped', todo: expect.stringContaining('--join') })
    expect((await doctor(['--join', '--to', 'inventory'], env)).of('membership')).toMatchObject({ state: 'ok' })
    expect((await doctor(['--join'], env)).of('membership')).toMatchObject({ state: 'failed' })
  })

  it('names a service without instances', async () => {
    const { code, of } = await doctor(['--to', 'inventroy'])
    expect(code).toBe(1)
    expect(of('dependency', 'inventroy')).toMatchObject({
      ...{ state: 'failed', message: "no instance of 'inventroy' is registered" },
    })
  })

  it('tells a clock that is wrong: by a minute, by more than certificates allow, by hours', async () => {
    expect(clockFinding('URL', -60_000, 5)).toMatchObject({
      ...{ state: 'warning', message: "this machine's clock is 60.0 s behind the registry's" },
    })
    expect(clockFinding('URL', 400_000, 5)).toMatchObject({ state: 'failed', todo: expect.stringContaining('NTP') })
    await using ahead = await startRegistry({
      port: 0,
      memory: true,
      dev: true,
      log: false,
      clock: new LeapingClock(-60_000),
    })
    const env = { INMESH_STATE_DIR: 'memory', INMESH_REGISTRY: ahead.url }
    expect((await doctor([], env)).of('clock')).toMatchObject({
      ...{
        state: 'warning',
        message: expect.stringMatching(/^this machine's clock is (?:5\d|6\d)\.\d s behind the registry's$/),
      },
    })
  })
})
