/** `inmesh simulate`, as users run it: in a process, and its flags one by one. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, describe, expect, it } from 'vitest'
import { elementsOf } from '../simulator/xml.ts'
import { run } from './run-command.ts'

const MAIN = join(import.meta.dirname, '../../src/cli/main.ts')
const FOLDER = mkdtempSync(join(tmpdir(), 'inmesh-simulate-'))
afterAll(() => rmSync(FOLDER, { recursive: true, force: true }))

const DOCUMENT = 'service: inventory\nretry: { attempts: 1 }\n'
/** A run of a few hundred calls. */
const SHORT = ['--servers', '10', '--rate', '100', '--duration', '3s']

function start(args: readonly string[], stdin: string): ChildProcess {
  const child = spawn(process.execPath, ['--no-warnings', MAIN, 'simulate', ...args], { cwd: FOLDER })
  child.stdin.end(stdin)
  return child
}

async function inProcess(args: readonly string[], stdin = DOCUMENT) {
  const child = start(args, stdin)
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout!), text(child.stderr!), once(child, 'close')])
  return { code, stdout, stderr }
}

function simulate(args: readonly string[], stdin = DOCUMENT) {
  return run(['simulate', '-f', '-', ...args], { stdin })
}

async function figures(args: readonly string[], stdin = DOCUMENT) {
  const { code, stdout, stderr } = await simulate([...SHORT, '--json', ...args], stdin)
  expect(stderr).toBe('')
  expect(code).toBe(0)
  return JSON.parse(stdout)
}

describe('a process', () => {
  it('prints rows, phases, traffic and events, and draws a picture', async () => {
    const args = ['-f', '-', ...SHORT, '--fault', 'fail=2@1s-2s', '--svg', 'fail.svg']
    const { code, stdout, stderr } = await inProcess(args)
    expect(stderr).toBe('')
    expect(code).toBe(0)
    expect(stdout).toMatch(/^inventory: 10 clients, 10 servers .*100 calls\/s .*fail=2@1s-2s; seed 1$/m)
    expect(stdout).toMatch(/^seconds +calls +failed +p50 ms +p99 ms +retries$/m)
    for (const row of ['0-1', '1-2', '2-3']) expect(stdout).toMatch(new RegExp(`^${row} +\\d+ +`, 'm'))
    expect(stdout).toMatch(/^1-2 +\d+ +\d+ \([\d.]+ %\).* fail=2@1s-2s$/m)
    expect(stdout).toMatch(/^inventory-1 and 1 more +fail=2@1s-2s +\d+/m)
    expect(stdout).toMatch(/^inventory-3 and 7 more +\d+/m)
    expect(stdout).toMatch(/^events: /m)
    const drawn = readFileSync(join(FOLDER, 'fail.svg'), 'utf8')
    expect(elementsOf(drawn)).toContain('path')
    expect(drawn).toContain('fail=2@1s-2s')
  })

  it('gives the same bytes for the same seed', async () => {
    const args = (picture: string) => ['-f', '-', ...SHORT, '--seed', '7', '--fault', 'slow=1', '--svg', picture]
    const [one, two] = await Promise.all([inProcess(args('one.svg')), inProcess(args('two.svg'))])
    expect(one.stdout).toBe(two.stdout)
    expect(readFileSync(join(FOLDER, 'one.svg'), 'utf8')).toBe(readFileSync(join(FOLDER, 'two.svg'), 'utf8'))
  })

  it('ends by Ctrl-C, and leaves no picture', async () => {
    const long = ['--servers', '100', '--clients', '100', '--rate', '800', '--duration', '10m', '--svg', 'long.svg']
    const child = start(['-f', '-', ...long], 'service: inventory\nidleTimeout: 5s\n')
    // The note comes right before the run.
    await once(child.stderr!, 'data')
    child.kill('SIGINT')
    expect((await once(child, 'exit'))[1]).toBe('SIGINT')
    expect(existsSync(join(FOLDER, 'long.svg'))).toBe(false)
  })
})

describe('documents', () => {
  it('are checked as the registry checks them', async () => {
    const file = join(FOLDER, 'wrong.yaml')
    writeFileSync(file, 'service: inventory\nretry:\n  atempts: 2\n')
    const { code, stderr } = await run(['simulate', '-f', file])
    expect(code).toBe(2)
    expect(stderr).toContain(`wrong.yaml:3:3 retry.atempts: unknown key; did you mean 'attempts'?`)
    const check = await run(['check', '-f', file])
    expect(check.stderr).toBe(stderr)
  })

  it('change the figures', async () => {
    const fault = ['--fault', 'fail=3@0s-']
    const saved = await figures(fault, 'service: inventory\nretry: { statuses: [500] }\nejection: false\n')
    const lost = await figures(fault, 'service: inventory\nretry: { attempts: 1 }\nejection: false\n')
    expect(saved.total.failed).toBeLessThan(lost.total.failed)
    expect(saved.total.retries).toBeGreaterThan(0)
  })

  it('with several services need the name of one', async () => {
    const two = 'service: a\n---\nservice: b\n---\nservice: mesh\ntimeout: 2s\n'
    expect((await simulate(SHORT, two)).stderr).toContain('the file has 2 services: name one with --service: a, b')
    const { stdout, stderr } = await simulate([...SHORT, '--service', 'b'], two)
    expect(stdout).toMatch(/^b: /)
    expect(stderr).toBe("not simulated: a: no call to 'b' leads there\n")
    // A service without a document has the defaults of the mesh.
    expect((await simulate([...SHORT, '--service', 'c'], two)).stdout).toMatch(/^c: /)
    expect((await simulate([...SHORT, '--service', 'c'])).stderr).toContain("'c' is not in the file; it has inventory")
    expect((await simulate(SHORT, 'service: mesh\n')).stderr).toContain('name the service with --service')
    expect((await simulate([...SHORT, '--service', 'mesh'], two)).stderr).toContain('is no service')
  })

  it('say what is not simulated', async () => {
    const document = 'service: inventory\nidleTimeout: 5s\nroutes:\n  - name: all\n    rewrite: { host: a.example }\n'
    const { code, stderr } = await simulate(SHORT, document)
    expect(code).toBe(0)
    expect(stderr).toBe(
      'not simulated: idleTimeout of inventory: requests and answers have no content\n' +
        'not simulated: routes[0].rewrite of inventory: requests and answers have no content\n',
    )
    const { notSimulated } = await figures([], document)
    expect(notSimulated.map(({ path }: { path: string }) => path)).toEqual(['idleTimeout', 'routes[0].rewrite'])
  })

  it('may be manifests', async () => {
    const manifest = `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: items }
spec:
  parentRefs: [{ group: "", kind: Service, name: inventory }]
  rules: [{ backendRefs: [{ name: inventory-eu, port: 80 }] }]
`
    const { traffic } = await figures([], manifest)
    const used = traffic.filter(({ attempts }: { attempts: number[] }) => attempts[0]! > 0)
    expect(new Set(used.map(({ service }: { service: string }) => service))).toEqual(new Set(['inventory-eu']))
  })
})

describe('flags', () => {
  it.each([
    [
      ['--fault', 'slow=2'],
      [{ slow: 10 }, [0, 1], 1_000, 2_000],
    ],
    [
      ['--fault', 'slow=1:2.5@0s-1s'],
      [{ slow: 2.5 }, [0], 0, 1_000],
    ],
    [
      ['--fault', 'fail=1:30%:503'],
      [{ fails: 0.3, status: 503 }, [0], 1_000, 2_000],
    ],
    [
      ['--fault', 'fail=1:429'],
      [{ fails: 1, status: 429 }, [0], 1_000, 2_000],
    ],
    [
      ['--fault', 'refuse=1@500ms-1.5s'],
      ['refuses', [0], 500, 1_500],
    ],
    [
      ['--fault', 'stall=1@2s-'],
      ['stopped', [0], 2_000, null],
    ],
    [
      ['--fault', 'outage'],
      ['refuses', [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 1_000, 2_000],
    ],
  ])('%j is a fault', async (args, expected) => {
    const [{ kind, servers, fromMs, untilMs }] = (await figures(args)).scenario.faults
    expect([kind, servers, fromMs, untilMs]).toEqual(expected)
  })

  it('several faults hit different servers', async () => {
    const { faults } = (await figures(['--fault', 'slow=2', '--fault', 'outage', '--fault', 'stall=1'])).scenario
    expect(faults.map(({ servers }: { servers: number[] }) => servers.length)).toEqual([2, 10, 1])
    expect(faults[2].servers).toEqual([2])
  })

  it('prints shares of failed calls in plain digits', async () => {
    const { stdout } = await simulate(['--fault', 'outage@1s-2s'])
    expect(stdout).toMatch(/^1-2 +(\d+) +\1 \(100 %\).* outage@1s-2s$/m)
  })

  it('--load is a share of capacity, and --rate is calls per second', async () => {
    expect((await figures([])).scenario.perSecond).toBe(100)
    const { stdout } = await simulate(['--load', '50', '--servers', '2', '--workers', '1', '--mean', '100ms', '--json'])
    expect(JSON.parse(stdout).scenario.perSecond).toBe(10)
  })

  it('--request and -H choose the route', async () => {
    const document = `service: inventory
subsets: { v1: { version: v1 }, v2: { version: v2 } }
routes:
  - { name: beta, match: [{ method: POST, path: '/items/{id}', headers: { x-beta: '1' } }], to: v2 }
  - { name: rest, to: v1 }
`
    const versions = async (...args: string[]): Promise<string[]> => {
      const { traffic } = await figures(args, document)
      const used = traffic.filter(({ attempts }: { attempts: number[] }) => attempts[0]! > 0)
      return [...new Set<string>(used.map(({ version }: { version: string }) => version))]
    }
    expect(await versions()).toEqual(['v1'])
    expect(await versions('--request', 'POST /items/42', '-H', 'X-Beta: 1')).toEqual(['v2'])
  })

  it.each([
    [['--servers', '0'], '--servers', 'from 1 to 1000'],
    [['--clients', 'many'], '--clients', 'from 1 to 1000'],
    [['--mean', '0'], '--mean', 'from 1ms to 1m'],
    [['--duration', '2h'], '--duration', 'from 1s to 1h'],
    [['--latency', 'flat'], '--latency', 'exponential, constant, normal, heavy-tail'],
    [['--load', '0'], '--load', 'from 1 to 1000'],
    [['--seed', '-1'], '--seed', 'from 0 to 4294967295'],
    [['--zones', '21'], '--zones', 'from 1 to 20'],
    [['--request', 'items'], '--request', "'GET /items/42'"],
    [['--load', '50', '--rate', '5'], '--rate', 'one of the two'],
    [['--rate', '1000', '--duration', '1h'], '--duration', '3600000 calls are more than 500000'],
    [['--clients', '200', '--servers', '100'], '--clients, --servers', 'more than 10000'],
    [['--svg', '/no/such/folder/a.svg'], '--svg', 'cannot write'],
    [['--fault', 'burn=1'], '--fault', 'slow=N, fail=N, refuse=N, stall=N or outage'],
    [['--fault', 'slow=0'], '--fault', 'at least 1 server'],
    [['--fault', 'slow=1:1'], '--fault', 'a factor above 1'],
    [['--fault', 'slow=1:2:3'], '--fault', 'a factor above 1'],
    [['--fault', 'fail=1:404'], '--fault', '429, 500 to 599'],
    [['--fault', 'fail=1:0%'], '--fault', "'30%'"],
    [['--fault', 'refuse=1:2'], '--fault', 'a number of servers only'],
    [['--fault', 'outage=2'], '--fault', 'or outage'],
    [['--fault', 'slow=1@6-x'], '--fault', "'6s-21s'"],
    [['--fault', 'slow=1@29s-31s'], '--fault', 'the simulation ends at 30s'],
    [['--fault', 'slow=1@8s-6s'], '--fault', 'at least 100ms after'],
    [['--fault', 'slow=15', '--fault', 'stall=6'], '--fault stall=6', 'need 21 servers and there are 20'],
  ])('%j is refused with its name and what is valid', async (args, flag, valid) => {
    const { code, stdout, stderr } = await simulate(args)
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toContain(flag)
    expect(stderr).toContain(valid)
  })

  it('--svg - draws to stdout, and nothing else goes there', async () => {
    const drawn = await simulate([...SHORT, '--svg', '-'])
    expect([drawn.code, drawn.stderr]).toEqual([0, ''])
    expect(drawn.stdout).toMatch(/^<svg .*<\/svg>\n$/s)
    expect(elementsOf(drawn.stdout)).toContain('svg')
    const both = await simulate([...SHORT, '--svg', '-', '--json'])
    expect([both.code, both.stdout]).toEqual([2, ''])
    expect(both.stderr).toContain('--svg - excludes --json')
  })

  it('--svg replaces a picture, and nothing else', async () => {
    const file = join(FOLDER, 'again.svg')
    await simulate([...SHORT, '--svg', file])
    const first = readFileSync(file, 'utf8')
    expect((await simulate([...SHORT, '--seed', '2', '--svg', file])).code).toBe(0)
    expect(readFileSync(file, 'utf8')).not.toBe(first)
    const mine = join(FOLDER, 'mine.yaml')
    writeFileSync(mine, DOCUMENT)
    const refused = await simulate([...SHORT, '--svg', mine])
    expect(refused.code).toBe(2)
    expect(refused.stderr).toContain('is there already and no SVG')
    expect(readFileSync(mine, 'utf8')).toBe(DOCUMENT)
    mkdirSync(join(FOLDER, 'folder.svg'))
    expect((await simulate([...SHORT, '--svg', join(FOLDER, 'folder.svg')])).code).toBe(2)
  })
})
