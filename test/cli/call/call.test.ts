/** `inmesh call` in a `--dev` mesh and in one that needs tokens, by HTTP and gRPC. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { SHOP_PROTO } from '../../rigs/shop.ts'
import { CalledMesh } from './rig.ts'

const dev = new CalledMesh()
const real = new CalledMesh()
const folder = mkdtempSync(join(tmpdir(), 'inmesh-call-'))

beforeAll(async () => {
  await Promise.all([dev.start({ dev: true }), real.start({})])
  const inventory = await dev.join('inventory')
  await dev.serveHttp(inventory)
  await dev.serveGrpc(inventory)
  for (const version of ['v1', 'v1alpha'] as const) await dev.serveGrpc(await dev.join(`reflects-${version}`), version)
  await real.serveHttp(await real.join('inventory'))
})
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true })
  await Promise.all([dev.close(), real.close()])
})

const ITEM = 'http://inventory/items/42'

describe('by HTTP', () => {
  it('prints the body as it is to a pipe, and indented to a terminal', async () => {
    const piped = await dev.command(['call', ITEM, '-H', 'x-user: 7'])
    expect(piped).toEqual({ code: 0, stdout: '{"method":"GET","url":"/items/42","body":"","user":"7"}', stderr: '' })
    const shown = await dev.command(['call', ITEM], { terminal: true })
    expect(shown.stdout).toBe('{\n  "method": "GET",\n  "url": "/items/42",\n  "body": ""\n}\n')
    expect((await dev.command(['call', 'http://inventory/wide'], { terminal: true })).stdout).toContain(
      '"id": 12345678901234567890',
    )
    expect((await dev.command(['call', 'http://inventory/escape'], { terminal: true })).stdout).toBe('?[31mred\n')
  })

  it('sends a body: text, a file, standard input', async () => {
    writeFileSync(join(folder, 'body.txt'), 'seven')
    const bodies = [
      ['{"sku":"42"}', '', '"body":"{\\"sku\\":\\"42\\"}","type":"application/json"'],
      [`@${join(folder, 'body.txt')}`, '', '"method":"POST","url":"/items/42","body":"seven"}'],
      ['@-', 'from stdin', '"body":"from stdin"}'],
    ] as const
    for (const [data, stdin, expected] of bodies) {
      expect((await dev.command(['call', ITEM, '-d', data], { stdin })).stdout).toContain(expected)
    }
    expect((await dev.command(['call', ITEM, '-d', 'x', '-X', 'PUT'])).stdout).toContain('"method":"PUT"')
  })

  it('shows the attempts: with -v as lines, with --json as values', async () => {
    dev.failures = 1
    const verbose = await dev.command(['call', 'http://inventory/twice', '-v'])
    expect(verbose).toMatchObject({ code: 0 })
    expect(verbose.stderr).toMatch(/\* joined as 'developer' in \d+ ms\n/)
    expect(verbose.stderr).toMatch(/attempt 1: 127\.0\.0\.1:\d+ \(v1\) 503 overloaded in .* the next one in /)
    expect(verbose.stderr).toMatch(/attempt 2: 127\.0\.0\.1:\d+ \(v1\) 200 in /)
    expect(verbose.stderr).toMatch(/GET inventory\/twice: 200 in .* ms, 2 attempts\n$/)
    const { code, stdout } = await dev.command(['call', ITEM, '--json'])
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({
      ...{ service: 'inventory', method: 'GET', path: '/items/42', as: 'developer', status: 200, verdict: 'success' },
      ...{ headers: { 'content-type': 'application/json' }, body: { url: '/items/42' } },
      timing: { joinMs: expect.any(Number), headMs: expect.any(Number), totalMs: expect.any(Number) },
      attempts: [{ attempt: 1, status: 200, verdict: 'success', version: 'v1', durationMs: expect.any(Number) }],
    })
    const bytes = JSON.parse((await dev.command(['call', 'http://inventory/bytes', '--json'])).stdout)
    expect(bytes).toMatchObject({ body: 'AAH+/w==', bodyEncoding: 'base64' })
  })

  it('ends with 4 for an error status, and prints head and body', async () => {
    const found = await dev.command(['call', 'http://inventory/missing', '-i'])
    expect(found).toMatchObject({ code: 4, stderr: "error: 'inventory' answered 404 Not Found\n" })
    expect(found.stdout).toMatch(/^404 Not Found\n(?:[\w-]+: .*\n)+\nno such item$/)
  })

  it('ends with 5 if there is no answer, and names the nearest service', async () => {
    const lost = await dev.command(['call', 'http://inventory/lost', '-d', 'x', '--json'])
    expect(lost.code).toBe(5)
    expect(JSON.parse(lost.stdout)).toMatchObject({ error: { code: 'connection-lost' }, attempts: [{ attempt: 1 }] })
    const unknown = await dev.command(['call', 'http://inventroy/', '--timeout', '1s'])
    expect(unknown.code).toBe(5)
    expect(unknown.stderr).toContain("no instance of 'inventroy' is registered and ready; did you mean 'inventory'?")
  })

  it.each([
    [['call', 'ftp://inventory/'], "expected a URL such as 'http://inventory/items/42'"],
    [['call', 'http://inventory:8080/'], 'the host of a URL is a service, without port and user'],
    [['call', 'http://in_ventory/'], 'is no service name'],
    [['call', ITEM, '-d', '@/nonexistent'], '-d @/nonexistent: cannot be read'],
    [['call', ITEM, '--proto', 'a.proto'], '--proto and --import-path are for grpc:// URLs'],
    [['call', ITEM, '--timeout', 'soon'], 'expected a duration'],
    [['call', 'grpc://inventory/Get'], "expected 'grpc://<service>/<package.Service>/<Method>'"],
  ])('refuses what is wrong, with 2: %j', async (args, message) => {
    expect(await dev.command(args)).toEqual({ code: 2, stdout: '', stderr: expect.stringContaining(message) })
  })
})

describe('in a mesh that needs tokens', () => {
  it("joins by an operator's token, and says which intention is missing", async () => {
    const env = { INMESH_ADMIN_TOKEN: real.registry.adminToken }
    const denied = await real.command(['call', ITEM], { env })
    expect(denied.code).toBe(4)
    expect(denied.stderr).toContain(
      '`inmesh explain GET http://inventory/items/42 --from developer` says whether an intention allows it',
    )
    writeFileSync(join(folder, 'allow.yaml'), 'service: inventory\nallow: [{ from: checkout }]\n')
    expect((await real.command(['apply', '-f', join(folder, 'allow.yaml')], { env })).code).toBe(0)
    await expect.poll(() => real.command(['call', ITEM, '--as', 'checkout'], { env })).toMatchObject({ code: 0 })
  })

  it('joins by a join token as its service, and says what to give without one', async () => {
    const env = {
      INMESH_JOIN_TOKEN: await real.registry.createJoinToken({ service: 'checkout' }),
      INMESH_SERVICE: 'checkout',
    }
    expect(await real.command(['call', ITEM], { env })).toMatchObject({ code: 0 })
    const without = await real.command(['call', ITEM])
    expect(without.code).toBe(1)
    expect(without.stderr).toContain('INMESH_JOIN_TOKEN from `inmesh token create --service developer`')
  })
})

describe('by gRPC', () => {
  const call = (method: string, ...more: string[]) => ['call', `grpc://inventory/shop.Inventory/${method}`, ...more]
  const proto = ['--proto', SHOP_PROTO]

  it('makes all four kinds of call, with a message on each line', async () => {
    const unary = await dev.command(call('Get', '-d', '{"sku":"42"}', '-H', 'x-user: 7', ...proto))
    expect(unary).toEqual({ code: 0, stdout: '{"sku":"427","left":7,"filler":""}\n', stderr: '' })
    const watch = await dev.command(call('Watch', '-d', '{"sku":"a"}', ...proto))
    expect(
      watch.stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line).left),
    ).toEqual([3, 2, 1])
    const stdin = '{"sku":"a"}\n\n{"sku":"b"}\n'
    expect((await dev.command(call('Upload', '-d', '@-', ...proto), { stdin })).stdout).toContain('"left":2')
    const chat = await dev.command(call('Chat', '-d', '@-', '--json', ...proto), { stdin })
    expect(JSON.parse(chat.stdout)).toMatchObject({
      ...{ method: 'shop.Inventory/Chat', status: 'OK', messages: [{ sku: 'a' }, { sku: 'b' }], attempts: [{}] },
    })
  })

  it.each(['v1', 'v1alpha'])('asks reflection %s for what a message looks like', async (version) => {
    const url = `grpc://reflects-${version}/shop.Inventory/Get`
    expect(await dev.command(['call', url, '-d', '{"sku":"42"}'])).toMatchObject({
      ...{ code: 0, stdout: '{"sku":"42","left":7,"filler":""}\n' },
    })
    const unknown = await dev.command(['call', url.replace('Inventory', 'Prices')])
    expect(unknown).toMatchObject({ code: 4, stderr: expect.stringContaining("does not describe 'shop.Prices'") })
  })

  it('ends with 4 for a status of the service', async () => {
    const found = await dev.command(call('Get', '-d', '{"sku":"none"}', ...proto))
    expect(found).toEqual({
      code: 4,
      stdout: '',
      stderr: "error: 'inventory' answered NOT_FOUND: there is no such item\n",
    })
  })

  it.each([
    [call('Get', '-d', '{"sk":"42"}', ...proto), "-d: sk: unknown field; did you mean 'sku'?"],
    [call('Get', '-d', '{"sku":{"a":1}}', ...proto), '-d: sku: '],
    [call('Get', '-d', 'x', ...proto), '-d: expected a message as JSON'],
    [call('Upload', '-d', '{"sku":"a"}\n{"skew":"b"}', ...proto), '-d, line 2: skew: unknown field'],
    [call('Gett', ...proto), "'shop.Inventory' has no method 'Gett'; did you mean 'Get'?"],
    [call('Get', '--proto', '/nonexistent.proto'), '--proto /nonexistent.proto: '],
    [call('Get', '-i', ...proto), '-X, -i and --stream are for http:// URLs'],
  ])('refuses what is wrong, with 2: %j', async (args, message) => {
    expect(await dev.command(args)).toEqual({ code: 2, stdout: '', stderr: expect.stringContaining(message) })
  })

  it('says that a server has no reflection', async () => {
    const found = await dev.command(call('Get', '-d', '{}'))
    expect(found).toMatchObject({ code: 4, stderr: expect.stringContaining('give its .proto file with --proto') })
  })
})
