/** Operators move traffic by command, against a registry over TLS. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Registry, startRegistry } from '../../src/registry/index.ts'
import { instance } from '../rigs/instance.ts'
import { TestSession } from '../rigs/registry-session.ts'
import { type Run, run } from './run-command.ts'

const INVENTORY = `service: inventory
subsets:
  blue: { version: v1 }
  green: { version: v2 }
routes:
  - name: beta
    match: [{ headers: { x-beta: '1' } }]
    to: green
  - name: item-pages
    match: [{ path: '/items/{id}' }]
    split: [{ to: blue, weight: 90 }, { to: green, weight: 10 }]
  - name: rest
    split: [{ to: blue, weight: 1 }, { to: green, weight: 0 }]
`

let registry: Registry
let session: TestSession

beforeEach(async () => {
  registry = await startRegistry({ port: 0, memory: true, log: false })
  session = await TestSession.open(registry, 'inventory')
  for (const [id, version] of [
    ['a', 'v1'],
    ['b', 'v2'],
  ] as const) {
    const port = version === 'v1' ? 1001 : 1002
    await session.ask({ type: 'register', instance: instance('inventory', id, { port, version }) })
  }
})

afterEach(async () => {
  session.close()
  await registry.close()
})

function command(args: readonly string[], stdin?: string): Promise<Run> {
  const env = { INMESH_REGISTRY: registry.url, INMESH_ADMIN_TOKEN: registry.adminToken, HOME: '/nonexistent' }
  return run(args, { env, ...(stdin !== undefined && { stdin }) })
}

const apply = (text: string) => command(['apply', '-f', '-'], text)

async function weights(): Promise<number[][]> {
  const { stdout } = await command(['get', 'inventory', '--json'])
  const { routes } = JSON.parse(stdout).document as { routes: { split?: { weight: number }[] }[] }
  return routes.flatMap(({ split }) => (split === undefined ? [] : [split.map(({ weight }) => weight)]))
}

describe('inmesh split', () => {
  beforeEach(async () => {
    expect((await apply(INVENTORY)).code).toBe(0)
  })

  it('gives a target its share as a new version, which rollback undoes', async () => {
    const { code, stdout, stderr } = await command(['split', 'inventory', 'item-pages', 'green=25'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toBe(
      'inventory: version 2\n  item-pages\n    TARGET  BEFORE  AFTER\n    blue    90%     75%\n    green   10%     25%\n',
    )
    expect(await weights()).toEqual([
      [75, 25],
      [1, 0],
    ])
    expect((await command(['history', 'inventory'])).stdout).toContain('~ routes[1].split[0].weight: 90 -> 75')
    expect((await command(['audit'])).stdout).toMatch(
      /admin .*policy-split .*item-pages: blue 90 -> 75, green 10 -> 25/,
    )
    await command(['rollback', 'inventory', '--to', '1'])
    expect((await weights())[0]).toEqual([90, 10])
  })

  it('says what it would change with --dry-run, what it changed with --json, and what is so already', async () => {
    const dry = await command(['split', 'inventory', 'item-pages', 'green=25%', '--dry-run'])
    expect(dry.stdout).toMatch(/^inventory: version 2 \(dry run\)\n/)
    expect((await weights())[0]).toEqual([90, 10])
    const json = await command(['split', 'inventory', 'item-pages', 'green=2.5', 'blue=97.5', '--json'])
    expect(JSON.parse(json.stdout)).toMatchObject({
      service: 'inventory',
      change: 'updated',
      version: 2,
      dryRun: false,
      routes: [{ route: 'item-pages', before: { blue: 90, green: 10 }, after: { blue: 975, green: 25 } }],
      warnings: [],
    })
    const again = await command(['split', 'inventory', 'item-pages', 'green=2.5'])
    expect(again.stdout).toMatch(/^inventory: unchanged\n/)
  })

  it('loses no change of another operator', async () => {
    const runs = await Promise.all([
      command(['split', 'inventory', 'item-pages', 'green=40']),
      command(['split', 'inventory', 'rest', 'green=60']),
    ])
    expect(runs.map(({ code }) => code)).toEqual([0, 0])
    expect(await weights()).toEqual([
      [60, 40],
      [40, 60],
    ])
    const late = await command(['split', 'inventory', 'rest', 'green=70', '--if-version', '1', '--json'])
    expect([late.code, JSON.parse(late.stderr).error.code]).toEqual([1, 'conflict'])
    expect((await weights())[1]).toEqual([40, 60])
  })

  it.each([
    [['inventory', 'itempages', 'green=1'], 2, "there is no route 'itempages'; did you mean 'item-pages'?"],
    [['inventory', 'beta', 'green=1'], 2, "'beta' has no split"],
    [['inventory', 'item-pages', 'gren=1'], 2, "no target of route 'item-pages'; did you mean 'green'?"],
    [['inventory', 'item-pages', 'green=101'], 2, 'share from 0 to 100 percent, with at most'],
    [['inventory', 'item-pages', 'green=33.333'], 2, 'with at most two decimals'],
    [['inventory', 'item-pages', 'green'], 2, 'Expected a target and its share'],
    [['inventory', 'item-pages', 'green=1', 'green=2'], 2, "'green' is given twice"],
    [['inventory', 'item-pages', 'green=60', 'blue=60'], 2, 'the shares are 120% together'],
    [['inventory', 'item-pages'], 2, 'missing required argument'],
    [['inventory', 'shop/items', 'green=1'], 2, 'comes from a Gateway manifest'],
    [['stock', 'item-pages', 'green=1'], 1, "service 'stock' has no policy"],
  ])('refuses %j and changes nothing', async (args, code, hint) => {
    const answer = await command(['split', ...args])
    expect([answer.code, answer.stderr]).toEqual([code, expect.stringContaining(hint)])
    expect(JSON.parse((await command(['get', 'inventory', '--json'])).stdout).version).toBe(1)
  })
})

describe('inmesh switch', () => {
  beforeEach(async () => {
    expect((await apply(INVENTORY)).code).toBe(0)
  })

  it('gives all to one target in each split that has it, or in one route, and back', async () => {
    const { stdout } = await command(['switch', 'inventory', 'green'])
    expect(stdout).toContain(
      '  item-pages\n    TARGET  BEFORE  AFTER\n    blue    90%     0%\n    green   10%     100%\n',
    )
    expect(await weights()).toEqual([
      [0, 100],
      [0, 100],
    ])
    await command(['switch', 'inventory', 'blue', '--route', 'rest'])
    expect(await weights()).toEqual([
      [0, 100],
      [100, 0],
    ])
    await command(['rollback', 'inventory', '--to', '1'])
    expect(await weights()).toEqual([
      [90, 10],
      [1, 0],
    ])
    expect((await command(['audit'])).stdout).toMatch(/policy-switch .*item-pages: blue 90 -> 0, green 10 -> 100/)
  })

  it('warns of a target without instances', async () => {
    await session.ask({ type: 'deregister', id: 'b' })
    const { code, stderr } = await command(['switch', 'inventory', 'green', '--dry-run'])
    const warning = "warning: subsets.green: no instance of 'inventory' is in this subset now\n"
    expect([code, stderr]).toEqual([0, warning])
    expect((await command(['rollback', 'inventory', '--to', '1'])).stderr).toBe(warning)
  })

  it.each([
    [['inventory', 'gren'], "'gren' is in no split of this service; did you mean 'green'?"],
    [['inventory', 'green', '--route', 'beta'], "'beta' has no split"],
    [['inventory', 'green', '--route', 'bta'], "there is no route 'bta'"],
  ])('refuses %j with a hint', async (args, hint) => {
    const answer = await command(['switch', ...args])
    expect([answer.code, answer.stderr]).toEqual([2, expect.stringContaining(hint)])
    expect((await weights())[0]).toEqual([90, 10])
  })
})

describe('documents that are right alone', () => {
  it('are warned of where no instance is, by apply and diff, with line and exit code 0', async () => {
    await session.ask({ type: 'deregister', id: 'b' })
    const text = `${INVENTORY}failover:\n  - { service: inventory-eu }\n`
    const warnings = [
      "warning: <stdin>:4:3 subsets.green: no instance of 'inventory' is in this subset now",
      "warning: <stdin>:15:5 failover[0]: no service 'inventory-eu' is known",
    ]
    const diff = await command(['diff', '-f', '-'], text)
    expect([diff.code, diff.stderr]).toEqual([0, `${warnings.join('\n')}\n`])
    const applied = await apply(text)
    expect([applied.code, applied.stderr]).toEqual([0, `${warnings.join('\n')}\n`])
    const json = JSON.parse((await command(['apply', '-f', '-', '--json', '--dry-run'], text)).stdout)
    expect(json.warnings).toMatchObject([{ line: 4, path: 'subsets.green' }, { path: 'failover[0]' }])
  })

  it('are refused where they contradict those in force', async () => {
    await apply('service: eu\nsubsets: { blue: { version: v1 } }\nroutes:\n  - { name: back, to: { service: us } }\n')
    const wrong = 'service: us\nroutes:\n  - name: all\n    to: { service: eu, subset: bleu }\n'
    const { code, stderr } = await apply(wrong)
    expect(code).toBe(2)
    expect(stderr).toContain("<stdin>:4:5 routes[0].to: there is no subset 'bleu' of 'eu'; did you mean 'blue'?")
    expect(stderr).toContain(
      "<stdin>:4:5 routes[0].to: leads back to 'us': us (routes[0].to) -> eu (routes[0].to) -> us",
    )
    expect(JSON.parse((await command(['get', '--json'])).stdout).policies).toHaveLength(1)
  })

  it('are not taken away, by deletion or rollback, while another names what they define', async () => {
    await apply('service: eu\n')
    await apply('service: eu\nsubsets: { blue: { version: v1 } }\n')
    await apply('service: us\nroutes:\n  - { name: all, to: { service: eu, subset: blue } }\n')
    const deleted = await command(['delete', 'eu'])
    expect([deleted.code, deleted.stderr]).toEqual([
      1,
      "error: 'eu' cannot be deleted: us (routes[0].to) in force sends to its subset 'blue'\n",
    ])
    const back = await command(['rollback', 'eu', '--to', '1'])
    expect([back.code, back.stderr]).toEqual([
      2,
      "error: eu: subsets: does not define 'blue', but us (routes[0].to) in force sends to its subset 'blue'\n",
    ])
    await command(['delete', 'us'])
    expect((await command(['delete', 'eu'])).code).toBe(0)
  })

  it('are compared by `check` as far as the file has them', async () => {
    const pair =
      'service: us\nroutes:\n  - { name: x, to: { service: eu } }\n---\nservice: eu\nroutes:\n  - { name: x, to: { service: us } }\n'
    const { code, stderr } = await command(['check', '-f', '-'], pair)
    expect([code, stderr]).toEqual([2, expect.stringMatching(/^<stdin>:3:16 routes\[0\]\.to: leads back to 'us'/)])
    expect((await command(['check', '-f', '-'], pair.split('---')[0]!)).code).toBe(0)
  })
})
