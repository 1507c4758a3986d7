/** Operators watch single calls of a real mesh, by the command. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { get } from 'node:http'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { runCli } from '../../src/cli/program.ts'
import type { Mesh, MeshOptions } from '../../src/index.ts'
import type { Registry } from '../../src/registry/index.ts'
import { type Run, run } from '../cli/run-command.ts'
import { Rig } from '../end-to-end/rig.ts'
import { FakeTerminal } from '../rigs/fake-terminal.ts'
import { TestSession } from '../rigs/registry-session.ts'
import { Shop, shopServer } from '../rigs/shop.ts'

const LOOPBACK = { host: '127.0.0.1', port: 0 }
const POLICY = `
service: mesh
defaultIntention: allow
tap: { headers: [x-tenant, x-empty] }
`

let rig: Rig
let registry: Registry

beforeEach(async () => {
  rig = new Rig()
  registry = await rig.registry({ memory: true })
  expect(await command(['apply', '-f', '-'], POLICY)).toMatchObject({ code: 0 })
})
afterEach(() => rig.close())

const env = () => ({ INMESH_REGISTRY: registry.url, INMESH_ADMIN_TOKEN: registry.adminToken, HOME: '/nonexistent' })
const command = (args: readonly string[], stdin?: string): Promise<Run> =>
  run(args, { env: env(), ...(stdin !== undefined && { stdin }) })

/** Runs the tap; `begun` when the processes have been asked. */
async function tap(...args: string[]) {
  const terminal = new FakeTerminal(env())
  const code = runCli(['tap', ...args, '--json'], terminal.context)
  const records = (): Record<string, unknown>[] =>
    terminal.text
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line))
  const calls = () => records().filter(({ type }) => type === 'call')
  await expect.poll(() => terminal.text + terminal.errors).toMatch(/"type":"tap"|error/)
  return { terminal, code, records, calls, stop: () => terminal.breakPipe() }
}

async function inventory(options: Partial<MeshOptions> = {}): Promise<Mesh> {
  const mesh = await rig.mesh(registry, 'inventory', { version: 'v2', ...options })
  await mesh.serve((request, response) => {
    response.statusCode = request.url!.startsWith('/broken') ? 503 : 200
    response.end('x')
  }, LOOPBACK)
  return mesh
}

async function caller(service = 'checkout', options: Partial<MeshOptions> = {}): Promise<Mesh> {
  const mesh = await rig.mesh(registry, service, options)
  await (await mesh.http('inventory').get('/warm')).text()
  return mesh
}

const ask = async (mesh: Mesh, path: string, headers: Record<string, string> = {}): Promise<unknown> =>
  (await mesh.http('inventory').get(path, { headers, retry: false })).text().catch(() => undefined)

/** Calls until the tap shows one of them: the process may not have been asked yet. */
async function seen(watched: Awaited<ReturnType<typeof tap>>, mesh: Mesh, path: string): Promise<void> {
  await expect
    .poll(
      async () => {
        await ask(mesh, path)
        return watched.calls().length
      },
      { interval: 100 },
    )
    .toBeGreaterThan(0)
}

describe('inmesh tap', () => {
  it('shows the calls of one caller that match, with all that is known and without queries', async () => {
    await inventory()
    const [checkout, cart] = [await caller(), await caller('cart')]
    const watched = await tap('inventory', '--from', 'checkout', '--path', '/broken/*', '--status', '5xx', '--max', '3')
    expect(watched.records()[0]).toMatchObject({ type: 'tap', processes: 1, notTappable: [], max: 3 })
    for (let i = 0; i < 5; i++) {
      await ask(cart, '/broken/cart')
      await ask(checkout, '/items/1')
      await ask(checkout, '/broken')
      await ask(checkout, `/broken/${i}?token=secret`)
    }
    expect(await watched.code).toBe(0)
    expect(watched.terminal.text).not.toContain('secret')
    expect(watched.calls().map(({ path }) => path)).toEqual(['/broken/0', '/broken/1', '/broken/2'])
    expect(watched.calls()[0]).toMatchObject({
      ...{ from: 'checkout', to: 'inventory', protocol: 'http', method: 'GET', status: 503, attempts: 1 },
      ...{ version: 'v2', endpoint: expect.stringMatching(/^127\.0\.0\.1:\d+$/), ms: expect.any(Number) },
      ...{ process: expect.stringMatching(/^checkout /), at: expect.any(Number), code: expect.any(String) },
    })
    expect(watched.calls()[0]).not.toHaveProperty('headers')
    expect(watched.records().at(-1)).toMatchObject({ type: 'end', why: 'max', calls: 3 })
  })

  it('shows headers that the document of the mesh allows and that were named, and no secret ones', async () => {
    await inventory()
    const checkout = await caller()
    const watched = await tap('inventory', '--header', 'X-Tenant', '--header', 'x-empty', '--max', '1')
    const headers = { 'x-tenant': 'acme\u009b2J', 'x-user': 'ann', authorization: 'Basic abc' }
    await expect
      .poll(async () => {
        await ask(checkout, '/items', { ...headers, 'x-tenant': 'acme' })
        return watched.calls().length
      })
      .toBe(1)
    expect(watched.calls()[0]!.headers).toEqual({ 'x-tenant': 'acme' })

    const refused = await command(['tap', 'inventory', '--header', 'x-user'])
    expect(refused).toMatchObject({ code: 2, stdout: '' })
    expect(refused.stderr).toMatch(/^error: .*'x-user' is not in 'tap\.headers' of the document of 'mesh'\n$/)
    for (const name of ['authorization', 'Cookie', 'x-api-key']) {
      expect(await command(['tap', 'inventory', '--header', name])).toMatchObject({ code: 2, stdout: '' })
    }
    const listed = await command(['check', '-f', '-'], 'service: mesh\ntap: { headers: [authorization] }\n')
    expect([listed.code, listed.stdout + listed.stderr]).toEqual([2, expect.stringContaining('tap.headers[0]')])
    const elsewhere = await command(['check', '-f', '-'], 'service: inventory\ntap: { headers: [x-tenant] }\n')
    expect([elsewhere.code, elsewhere.stdout + elsewhere.stderr]).toEqual([2, expect.stringContaining("'mesh' only")])
  })

  it('stops showing a header that the document of the mesh no longer allows', async () => {
    await inventory()
    const checkout = await caller()
    const watched = await tap('inventory', '--header', 'x-tenant')
    const call = async (): Promise<unknown> => {
      await ask(checkout, '/items', { 'x-tenant': 'acme' })
      return watched.calls().at(-1)?.headers
    }
    await expect.poll(call).toEqual({ 'x-tenant': 'acme' })
    await command(['apply', '-f', '-'], 'service: mesh\ndefaultIntention: allow\n')
    await expect.poll(call).toBe(undefined)
    watched.stop()
    expect(await watched.code).toBe(0)
  })

  it('asks processes that come later, and shows gRPC calls and those of callers outside', async () => {
    const stock = await rig.mesh(registry, 'inventory', {})
    const server = await stock.serve((_request, response) => response.end('x'), { ...LOOPBACK, mode: 'permissive' })
    await stock.serveGrpc(shopServer({ Get: (_call, answer) => answer(null, { sku: 'a' }) }), LOOPBACK)
    const watched = await tap('inventory', '--rate', '100')
    const checkout = await rig.mesh(registry, 'checkout')
    await expect
      .poll(async () => {
        await checkout.grpc(Shop, 'inventory').promises.get({ sku: 'a' })
        const [response] = await once(get({ port: server.port, host: '127.0.0.1', path: '/out?x=1' }), 'response')
        response.resume()
        const calls = watched.calls()
        return [calls.find(({ protocol }) => protocol === 'grpc'), calls.find(({ from }) => from === 'outside')]
      })
      .toMatchObject([
        { from: 'checkout', to: 'inventory', method: expect.stringMatching(/\/Get$/), status: 0 },
        { side: 'server', to: 'inventory', method: 'GET', path: '/out', status: 200 },
      ])
    watched.stop()
    await watched.code
  })

  it('shows no more than its rate, and says how many more there were', async () => {
    await inventory()
    const checkout = await caller()
    const watched = await tap('inventory', '--rate', '1', '--path', '/items', '--for', '5s')
    await seen(watched, checkout, '/items')
    await Promise.all(Array.from({ length: 50 }, () => ask(checkout, '/items')))
    expect(await watched.code).toBe(0)
    // Five seconds, one call from the time before them, and one begun in the last.
    expect(watched.calls().length).toBeLessThanOrEqual(7)
    expect((watched.records().at(-1) as { left: number }).left).toBeGreaterThanOrEqual(43)
  })

  it('ends in the process when the operator leaves, when its token ends, and when its time is over', async () => {
    await inventory()
    const checkout = await caller()
    const session = await TestSession.open(registry, 'checkout', undefined, { process: 'p2', tap: true })
    const asked = async (from: number) => (await session.next('tap', () => true, from)).tap
    let heard = session.received.length
    const first = await tap('inventory', '--from', 'checkout')
    const id = await asked(heard)
    first.stop()
    expect(await first.code).toBe(0)
    expect(await session.next('untap', (message) => message.tap === id, heard)).toBeDefined()

    heard = session.received.length
    const made = await command(['token', 'operator', 'create', 'ann', '--json'])
    const { token, id: operator } = JSON.parse(made.stdout)
    const second = await tap('inventory', '--from', 'checkout', '--token', token)
    await asked(heard)
    await command(['token', 'operator', 'revoke', operator])
    expect(await second.code).toBe(1)
    expect(second.terminal.errors).toContain('the admin token is not one of this registry, or it was revoked')
    expect(await session.next('untap', () => true, heard)).toBeDefined()

    const third = await tap('inventory', '--from', 'checkout', '--for', '1s')
    expect(await third.code).toBe(0)
    expect(third.records().at(-1)).toMatchObject({ type: 'end', why: 'time' })
    session.close()
    await ask(checkout, '/items')
  })

  it('names processes that cannot be tapped, because they are older or refuse', async () => {
    await inventory()
    const checkout = await caller('checkout', { tap: false })
    const old = await TestSession.open(registry, 'checkout', undefined, { process: 'old' })
    const watched = await tap('inventory', '--from', 'checkout')
    const { processes, notTappable } = watched.records()[0] as { processes: number; notTappable: string[] }
    expect(processes).toBe(0)
    expect(notTappable.toSorted()).toEqual(['checkout old', expect.stringMatching(/^checkout checkout-/)].toSorted())
    await ask(checkout, '/items')
    expect(old.received.some(({ type }) => type === 'tap')).toBe(false)
    old.close()
    watched.stop()
    await watched.code
  })

  it('says why it ends when the registry stops', async () => {
    await inventory()
    const watched = await tap('inventory')
    await registry.close()
    expect(await watched.code).toBe(1)
    expect(JSON.parse(watched.terminal.errors)).toMatchObject({
      error: { code: 'broken-off', message: expect.stringMatching(/ ended the tap early: /) },
    })
  })

  it('is an event in each process that is watched, with the operator', async () => {
    await inventory()
    const checkout = await caller()
    const heard: object[] = []
    const hear = (event: unknown): void => {
      heard.push(event as object)
    }
    const channels = ['inmesh:tap:began', 'inmesh:tap:ended']
    for (const channel of channels) subscribe(channel, hear)
    try {
      const watched = await tap('inventory', '--from', 'checkout', '--path', '/items/*', '--max', '1')
      await seen(watched, checkout, '/items/1')
      expect(await watched.code).toBe(0)
      await expect.poll(() => heard).toHaveLength(2)
    } finally {
      for (const channel of channels) unsubscribe(channel, hear)
    }
    const event = { service: 'checkout', peer: 'inventory', by: 'admin' }
    expect(heard).toMatchObject([
      { ...event, filter: 'from checkout, path /items/*', forMs: expect.any(Number) },
      { ...event, shown: expect.any(Number), left: 0 },
    ])
  })

  it('is audited, also when it is refused, and needs an operator who may change something', async () => {
    await inventory()
    const watched = await tap('inventory', '--path', '/items/*', '--status', '5xx,none')
    watched.stop()
    await watched.code
    const { stdout } = await command(['token', 'operator', 'create', 'ann', '--read-only', '--json'])
    const readOnly = await command(['tap', 'inventory', '--token', JSON.parse(stdout).token])
    expect(readOnly).toMatchObject({ code: 1, stderr: 'error: operator:ann may read and not change anything\n' })
    expect(await command(['tap', 'inventroy'])).toMatchObject({
      code: 1,
      stderr: "error: there is no service 'inventroy'; did you mean 'inventory'?\n",
    })
    const ended = / tap-end +done +inventory +the connection ended, 0 calls shown, 0 left out$/m
    await expect.poll(async () => (await command(['audit'])).stdout).toMatch(ended)
    const audit = (await command(['audit'])).stdout
    expect(audit).toMatch(/ tap +done +inventory +any caller, path \/items\/\*, status 5xx none, 100 calls at most/)
    expect(audit).toMatch(/ tap +refused: not-found +inventroy /)
    expect(audit).toMatch(/operator:ann .*POST \/v1\/tap +refused: admin-required/)
  })
})
