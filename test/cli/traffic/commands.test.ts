/** `edges`, `stat`, `routes` and `graph` against a registry that has heard of calls. */
import { afterEach, describe, expect, it } from 'vitest'
import { instance } from '../../rigs/instance.ts'
import { latencies, TrafficMesh, withCalls } from './rig.ts'

let mesh: TrafficMesh | undefined
afterEach(async () => {
  await mesh?.close()
  mesh = undefined
})

const started = async (): Promise<TrafficMesh> => {
  mesh = await new TrafficMesh().start()
  return mesh
}
const records = (text: string): Record<string, unknown>[] =>
  text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))

describe('inmesh edges', () => {
  it('lists who calls whom, sorted by a column, with the worst first', async () => {
    await withCalls(await started())
    const { code, stdout, stderr } = await mesh!.command(['edges', '--sort', 'p99'])
    expect([code, stderr]).toEqual([0, ''])
    const [head, first, second] = stdout.split('\n')
    expect(head).toMatch(/^FROM +TO +CALLS\/S +SUCCESS % +ERRORS .*P99 MS +IN FLIGHT .*GAP % +TLS +STATE$/)
    expect(first).toMatch(/^cart +inventory +0\.17 +100 +0 .* - +circuit open$/)
    expect(second).toMatch(/^checkout +inventory +1\.67 +95\.0 +5 .* 3 +2 +0 +mTLS +ok$/)
    const bySuccess = await mesh!.command(['edges', '--sort', 'success'])
    expect(bySuccess.stdout.split('\n')[1]).toMatch(/^checkout/)
  })

  it('prints a record a line with --json, the window with its coverage first', async () => {
    await withCalls(await started())
    const { stdout } = await mesh!.command(['edges', '--json', '--window', '30s'])
    const [window, ...edges] = records(stdout)
    expect(window).toMatchObject({ type: 'window', windowMs: 30_000, coverage: { processes: 2, heard: 2 } })
    expect(edges).toMatchObject([
      { type: 'edge', from: 'cart', to: 'inventory', circuit: 'open', calls: 10 },
      { type: 'edge', from: 'checkout', to: 'inventory', calls: 100, codes: { timeout: 5 } },
    ])
  })

  it('names the processes of which something is missing, and shows what is unknown as -', async () => {
    await started()
    await mesh!.open('checkout', 'old', false)
    await mesh!.open('cart', 'p1')
    mesh!.report('cart p1', [{ to: 'checkout', protocol: 'http', method: 'GET', calls: 1, codes: { cancelled: 1 } }])
    await mesh!.settle()
    const { stdout, stderr } = await mesh!.command(['edges'])
    expect(stdout).toMatch(/^cart +checkout +0\.02 +- +0 +- +- +- /m)
    expect(stderr).toContain('gaps in the reports of 1 of 2 processes: checkout old')
    expect(stderr).toContain('1 of them never report')
    const [, edge] = records((await mesh!.command(['edges', '--json'])).stdout)
    expect(edge).toMatchObject({ success: null, p99: null })
  })

  it('says that there are no calls, and that the window is longer than the registry knows', async () => {
    await started()
    const { code, stdout, stderr } = await mesh!.command(['edges', '--window', '30m'])
    expect([code, stdout]).toEqual([0, 'no calls\n'])
    expect(stderr).toMatch(/^only \d+ s of 30 min are known\n$/)
  })
})

describe('inmesh stat', () => {
  it('adds up all callers of a service, with percentiles of their merged histograms', async () => {
    await withCalls(await started())
    const { stdout } = await mesh!.command(['stat', '--json'])
    const inventory = records(stdout).find(({ service }) => service === 'inventory')!
    expect(inventory).toMatchObject({ calls: 110, callers: ['cart', 'checkout'], inFlight: 3, gap: 0 })
    expect(inventory.success).toBeCloseTo(105 / 110, 5)
    // Of 110 calls 100 took 10 ms: a mean of two medians would be 55 ms.
    expect(inventory.p50).toBeGreaterThan(8)
    expect(inventory.p50).toBeLessThan(12)
    expect(inventory.p99).toBeGreaterThan(80)
    expect((await mesh!.command(['stat'])).stdout).toMatch(/^inventory +0 of 0 +2 +1\.83 +95\.5 +5 /m)
  })

  it('shows the callers, the called and the failures of one service', async () => {
    await withCalls(await started())
    const { stdout } = await mesh!.command(['stat', 'inventory'])
    expect(stdout).toMatch(/\ncalled by\n {2}FROM .*\n {2}cart .*\n {2}checkout /)
    expect(stdout).toMatch(/\nfailed calls\n {2}timeout {2}5\n$/)
    expect((await mesh!.command(['stat', 'cart'])).stdout).toMatch(/\ncalls\n {2}FROM .*\n {2}cart +inventory /)
  })

  it('shows the load of each instance of one service, and what is unknown as -', async () => {
    await started()
    for (const [id, port] of [
      ['a', 1001],
      ['b', 1002],
      ['c', 1003],
    ] as const) {
      const session = await mesh!.open('inventory', id, id !== 'c')
      await session.ask({ type: 'register', instance: instance('inventory', id, { port, version: 'v1' }) })
    }
    await mesh!.settle()
    const series = { to: 'stock', protocol: 'http', method: 'GET' }
    mesh!.report(
      'inventory a',
      [series],
      [],
      [{ id: 'a', ended: 300, failed: 30, ms: latencies(10, 300), inFlight: 2 }],
    )
    mesh!.report('inventory b', [series], [], [{ id: 'b', ended: 100, ms: latencies(20, 100) }])
    await mesh!.settle()
    const { stdout } = await mesh!.command(['stat', 'inventory'])
    expect(stdout).toMatch(/\ninstances, over the last minute\n {2}INSTANCE .* SERVED\/S +SHARE % +SUCCESS % /)
    expect(stdout).toMatch(/:1001 +v1 +- +ready +[\d.]+ +7[45]\.\d +90\.0 +(9|10|11)(\.\d+)? +[\d.]+ +2\n/)
    expect(stdout).toMatch(/:1002 +v1 +- +ready +[\d.]+ +2[56]\.\d +100 +(1[89]|2[0-2])(\.\d+)? +[\d.]+ +0\n/)
    expect(stdout).toMatch(/:1003 +v1 +- +ready +- +- +- +- +- +-\n/)
    const found = records((await mesh!.command(['stat', 'inventory', '--json'])).stdout)
    expect(found.filter(({ type }) => type === 'instance')).toMatchObject([
      { id: 'a', served: { share: expect.closeTo(0.75, 1), success: 0.9, inFlight: 2 } },
      { id: 'b', served: { share: expect.closeTo(0.25, 1), success: 1, inFlight: 0 } },
      { id: 'c', served: null },
    ])
  })

  it('suggests the name of a service that was mistyped', async () => {
    await withCalls(await started())
    expect(await mesh!.command(['stat', 'inventroy'])).toMatchObject({
      code: 1,
      stdout: '',
      stderr: "error: there is no service 'inventroy'; did you mean 'inventory'?\n",
    })
  })
})

describe('inmesh routes', () => {
  it('lists calls by route, with the weights that the document wants and the versions that answered', async () => {
    await started()
    const stock = await mesh!.open('inventory')
    await stock.ask({ type: 'register', instance: instance('inventory', 'a', { port: 1, version: 'v1' }) })
    const document =
      'service: inventory\nsubsets: { blue: { version: v1 }, green: { version: v2 } }\n' +
      'routes:\n  - name: items\n    split: [{ to: blue, weight: 3 }, { to: green, weight: 1 }]\n'
    expect(await mesh!.command(['apply', '-f', '-'], { stdin: document })).toMatchObject({ code: 0 })
    await withCalls(mesh!)
    const { stdout } = await mesh!.command(['routes', 'inventory'])
    expect(stdout).toMatch(/^inventory +items +http +GET .*blue 75\.0 %, green 25\.0 % +v1 100 % +checkout$/m)
    expect(stdout).toMatch(/^inventory +\(none\) +http +POST .* - +v2 100 % +cart$/m)
    const all = records((await mesh!.command(['routes', '--json'])).stdout)
    expect(all.map(({ type, route }) => [type, route])).toEqual([
      ['window', undefined],
      ['route', 'items'],
      ['route', ''],
    ])
  })
})

describe('inmesh graph', () => {
  it('refuses --json beside another format', async () => {
    await started()
    expect(await mesh!.command(['graph', '--json', '--format', 'dot'])).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringContaining('--json excludes --format dot; give one of the two'),
    })
    expect(await mesh!.command(['graph', '--json', '--format', 'json'])).toMatchObject({ code: 0 })
  })

  it('draws the graph in Mermaid and Graphviz, and prints it as JSON', async () => {
    await withCalls(await started())
    const mermaid = (await mesh!.command(['graph'])).stdout
    expect(mermaid).toMatch(/^flowchart LR\n {2}n0\["cart<br\/>ready: 0 of 0"\]\n/)
    expect(mermaid).toMatch(/\n {2}n1 -->\|"1\.67\/s, 95\.0 %, p99 \S+ ms"\| n2\n/)
    expect(mermaid).toContain('linkStyle 0 stroke:#c62828\n')
    const dot = (await mesh!.command(['graph', '--format', 'dot'])).stdout
    expect(dot).toMatch(/^digraph mesh \{\n[\s\S]*n1 -> n2 \[label="1\.67\/s, [^"]*"\]\n\}\n$/)
    for (const flag of [['--format', 'json'], ['--json']]) {
      const { stdout } = await mesh!.command(['graph', ...flag])
      expect(JSON.parse(stdout)).toMatchObject({ edges: [{ from: 'cart' }, { from: 'checkout' }] })
    }
  })
})
