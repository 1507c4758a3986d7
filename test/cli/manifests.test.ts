/** Commands on Gateway API manifests. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { parse, parseAllDocuments, stringify } from 'yaml'
import { type Registry, startRegistry } from '../../src/registry/index.ts'
import { httpRoute, to } from '../gateway-api/manifests.ts'
import { run } from './run-command.ts'

const rule = (value: string) => ({ matches: [{ path: { value } }], backendRefs: [to('echo-v1')] })
const yaml = (...documents: object[]) => documents.map((one) => stringify(one)).join('---\n')

describe('against a registry', () => {
  let registry: Registry
  beforeEach(async () => {
    registry = await startRegistry({ port: 0, memory: true, dev: true, log: false })
  })
  afterEach(() => registry.close())

  async function command(args: readonly string[], stdin = '') {
    return await run(args, { stdin, env: { INMESH_REGISTRY: registry.url, HOME: '/nowhere' } })
  }

  test('a file holds documents and manifests; get, history, rollback and delete know both', async () => {
    const file = yaml({ service: 'echo-v1', timeout: '1s' }, httpRoute('items', [rule('/a')], { namespace: 'shop' }))
    const applied = await command(['apply', '-f', '-'], file)
    expect(applied).toMatchObject({ code: 0, stdout: 'echo-v1: created\nHTTPRoute/shop/items: created\n' })
    const [policy, manifest] = parseAllDocuments((await command(['get'])).stdout).map((one) => one.toJS())
    expect(policy).toEqual({ service: 'echo-v1', timeout: '1s' })
    expect(manifest).toEqual(httpRoute('items', [rule('/a')], { namespace: 'shop' }))
    const ofKind = (await command(['get', 'httproutes', '-n', 'shop'])).stdout
    expect(parse(ofKind)).toEqual(manifest)
    expect((await command(['get', 'httproute', '-n', 'other'])).stderr).toContain('no manifests')
    expect((await command(['get', 'HTTPRoute', 'items', '-n', 'shop'])).stdout).toBe(ofKind)

    const changed = yaml(httpRoute('items', [rule('/b')], { namespace: 'shop' }))
    const diff = await command(['diff', '-f', '-'], changed)
    expect(diff.stdout).toContain('~ spec.rules[0].matches[0].path.value: "/a" -> "/b"')
    await command(['apply', '-f', '-', '--if-version', 'HTTPRoute/shop/items=1'], changed)
    expect((await command(['history', 'httproute', 'items', '-n', 'shop'])).stdout).toMatch(/2 .*path\.value/)
    const rolled = await command(['rollback', 'httproute', 'items', '-n', 'shop', '--to', '1'])
    expect(rolled.stdout).toMatch(/^HTTPRoute shop\/items: now as in version 1\n/)
    const deleted = await command(['delete', 'httproute', 'items', '-n', 'shop'])
    expect(deleted).toMatchObject({ code: 0, stdout: 'HTTPRoute shop/items: deleted\n' })
    expect((await command(['get', 'httproute', 'items', '-n', 'shop'])).code).toBe(1)
  })

  test('a backend that the registry does not know is warned of, at its line', async () => {
    const { code, stderr } = await command(['apply', '-f', '-'], yaml(httpRoute('items', [rule('/a')])))
    expect(code).toBe(0)
    expect(stderr).toMatch(/<stdin>:\d+:\d+ spec\.rules\[0\]\.backendRefs\[0\]: 'echo-v1' is no service that/)
  })
})

describe('a manifest beside a document with routes', () => {
  const own = (prefix: string) => {
    const match = [{ path: { prefix } }]
    return { service: 'echo', routes: [{ name: 'own', match, respond: { status: 404 } }] }
  }
  const covered = /spec\.rules: no request to 'echo' reaches them: the routes of its document come first/
  let registry: Registry
  beforeEach(async () => {
    registry = await startRegistry({ port: 0, memory: true, dev: true, log: false })
  })
  afterEach(() => registry.close())

  async function apply(...documents: readonly object[]) {
    return await run(['apply', '-f', '-'], {
      stdin: yaml(...documents),
      env: { INMESH_REGISTRY: registry.url, HOME: '/nowhere' },
    })
  }

  test('is warned of if these cover all its rules, in the same file or before', async () => {
    const manifest = httpRoute('items', [rule('/a'), rule('/b')], { namespace: 'shop' })
    expect((await apply(own('/'), manifest)).stderr).toMatch(covered)
    expect(await apply(manifest)).toMatchObject({ code: 0, stderr: expect.stringMatching(covered) })
  })

  test('is not warned of while one rule is reached', async () => {
    const manifest = httpRoute('items', [rule('/a'), rule('/b')], { namespace: 'shop' })
    const { code, stderr } = await apply(own('/a'), manifest)
    expect(code).toBe(0)
    expect(stderr).not.toMatch(covered)
  })
})

describe('a service with a manifest', () => {
  let registry: Registry
  beforeEach(async () => {
    registry = await startRegistry({ port: 0, memory: true, dev: true, log: false })
    const manifest = httpRoute('items', [rule('/a')], { namespace: 'shop' })
    expect((await command(['apply', '-f', '-'], yaml(manifest, { service: 'echo-v1' }))).code).toBe(0)
  })
  afterEach(() => registry.close())

  async function command(args: readonly string[], stdin = '') {
    return await run(args, { stdin, env: { INMESH_REGISTRY: registry.url, HOME: '/nowhere' } })
  }

  test('is explained by the route of the manifest', async () => {
    const { stdout } = await command(['explain', 'GET', 'http://echo/a'])
    expect(stdout).toMatch(/\n {2}shop\/items\/0 +yes {2}match\[0\] holds\n/)
    expect(stdout).toContain('\ntarget\n  service:echo-v1\n')
    expect(stdout).toContain("\nwarnings\n  shop/items/0.to: no instance of 'echo-v1' runs now\n")
    const other = await command(['explain', 'GET', 'http://echo/b', '--json'])
    expect(JSON.parse(other.stdout)).toMatchObject({ action: 'respond', answer: { status: 404 }, targets: [] })
  })

  test('has no weights that commands change, and they say where to change them', async () => {
    const split = await command(['split', 'echo', 'shop/items', 'service:echo-v1=50'])
    expect([split.code, split.stderr]).toEqual([
      2,
      expect.stringContaining("'shop/items' comes from a Gateway manifest"),
    ])
    const switched = await command(['switch', 'echo', 'service:echo-v1'])
    expect([switched.code, switched.stderr]).toEqual([
      2,
      expect.stringContaining(
        "no route of 'echo' has a split: give one `split` instead of `to`, and change Gateway manifests",
      ),
    ])
  })
})

describe('without a registry', () => {
  test('a list as kubectl prints it is checked entry by entry, with lines', async () => {
    const items = [httpRoute('one', [rule('/a')]), httpRoute('two', [rule('/a//b')])]
    const list = stringify({ apiVersion: 'v1', kind: 'List', items })
    const line = list.split('\n').findIndex((text) => text.includes('/a//b')) + 1
    const { code, stderr } = await run(['check', '-f', '-'], { stdin: list })
    expect(code).toBe(2)
    expect(stderr).toContain(`<stdin>:${line}:`)
    expect(stderr).toContain("spec.rules[0].matches[0].path.value: must not contain '//'")
  })

  test('the same manifest twice is refused, with the line of the first', async () => {
    const one = httpRoute('one', [rule('/a')])
    const { stderr } = await run(['check', '-f', '-'], { stdin: yaml(one, one) })
    expect(stderr).toContain('metadata.name: HTTPRoute default/one has a document in line 4 already')
  })

  test('aliases stay bounded', async () => {
    const bomb = `kind: HTTPRoute\napiVersion: gateway.networking.k8s.io/v1\nmetadata:\n  name: a\n  annotations:\n    a: &a [1,1,1,1,1,1,1,1,1,1]\n    b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n    c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n    d: [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\nspec: {}\n`
    expect((await run(['check', '-f', '-'], { stdin: bomb })).code).toBe(2)
  })

  test('convert prints documents that check takes', async () => {
    const files = yaml(
      httpRoute('one', [rule('/a')]),
      httpRoute('edge', [rule('/')], { spec: { parentRefs: [{ name: 'edge' }] } }),
    )
    const { code, stdout, stderr } = await run(['convert', '-f', '-'], { stdin: files })
    expect(code).toBe(0)
    expect(stderr).toContain('HTTPRoute default/edge is for Gateways')
    expect(parse(stdout)).toEqual({
      service: 'echo',
      routes: [
        { name: 'default-one-0', match: [{ path: { prefix: '/a' } }], to: { service: 'echo-v1' } },
        { name: 'no-match-http', match: [{ path: { prefix: '/' } }], respond: { status: 404 } },
      ],
    })
    expect((await run(['check', '-f', '-'], { stdin: stdout })).code).toBe(0)
  })

  test('convert gives each route another name, of at most 63 characters', async () => {
    const long = (end: string) => httpRoute(`${'a'.repeat(100)}.${end}`, [rule(`/${end}`)])
    const files = yaml(
      { service: 'echo', routes: [{ name: 'default-one-0', match: [{ path: '/x' }] }] },
      httpRoute('one', [rule('/a')]),
      long('b'),
      long('c'),
    )
    const { code, stdout } = await run(['convert', '-f', '-'], { stdin: files })
    expect(code).toBe(0)
    const names: string[] = parse(stdout).routes.map(({ name }: { name: string }) => name)
    expect(names).toContain('default-one-0-2')
    expect(new Set(names).size).toBe(5)
    expect((await run(['check', '-f', '-'], { stdin: stdout })).code).toBe(0)
  })

  test.each([
    [['get', 'inventory', 'x'], 'too many arguments'],
    [['delete', 'httproute'], 'missing the name of the HTTPRoute'],
    [['delete', 'httproute', 'Items'], "invalid for argument 'name'"],
    [['delete', 'inventory', '-n', 'shop'], "invalid for argument 'namespace'"],
    [['delete', 'INVENTORY'], "invalid for argument 'service'"],
  ])('inmesh %j says what is wrong', async (args, message) => {
    const { code, stderr } = await run(args, { env: { INMESH_REGISTRY: 'https://127.0.0.1:1', HOME: '/nowhere' } })
    expect(code).toBe(2)
    expect(stderr).toContain(message)
  })
})
