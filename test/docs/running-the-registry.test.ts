/** docs/running-the-registry.md: its commands run, its files are valid, its metrics exist. */
import { execFileSync, spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startRegistry } from '../../src/registry/index.ts'
import { WITHOUT_ETCD, withEtcd } from '../rigs/etcd.ts'
import { freePort, freePorts } from '../rigs/free-ports.ts'
import { request } from '../rigs/registry-session.ts'
import { Machine, type Outcome } from './machine.ts'
import { type Block, Page } from './page.ts'

const page = new Page('running-the-registry.md')
const LONG_MS = 480_000

/** What the addresses of the page are here; longer ones first. */
async function addresses(): Promise<Record<string, string>> {
  const nodes = ['10.0.0.11', '10.0.0.12', '10.0.0.13'].flatMap((host) => [`${host}:2379`, `${host}:2380`])
  const [port, ...free] = (await freePorts(nodes.length + 1)).map(String)
  const here = nodes.map((node, i) => [node, `127.0.0.1:${free[i]}`] as const)
  return {
    ...Object.fromEntries(here),
    '10.0.0.1[123]': '127.0.0.1',
    '--address 10.0.0.5': `--address 127.0.0.1 --port ${port}`,
    '10.0.0.5': '127.0.0.1',
    '7400': port!,
  }
}

describe('the page about running the registry', () => {
  let machine: Machine
  let blocks: readonly Block[]
  let outcome: Outcome
  beforeAll(async () => {
    blocks = page.commands(WITHOUT_ETCD === undefined ? ['', 'etcd'] : [''])
    machine = await Machine.start(await addresses())
    machine.write(page.files)
    outcome = await machine.run(blocks)
  }, LONG_MS)
  afterAll(() => machine.close())

  test(withEtcd('has commands that all run, in their order'), () => {
    expect(blocks.length).toBeGreaterThanOrEqual(WITHOUT_ETCD === undefined ? 20 : 13)
    expect(outcome.output, outcome.output).toContain(`== line ${blocks.at(-1)!.line}`)
    expect(outcome.code, outcome.output).toBe(0)
  })

  test('backs up, restores and keeps the former store', () => {
    expect(readdirSync(machine.path('/var/backups/inmesh'))).toHaveLength(1)
    expect(outcome.output).toContain('restored into')
    expect(outcome.output).toContain('before-restore-')
  })

  test.skipIf(WITHOUT_ETCD)('moves the state to etcd', () => {
    expect(outcome.output).toMatch(/restored into etcd at 127\.0\.0\.1:\d+, 127/)
  })
})

test(
  'its commands for an offline root run on a new registry',
  async () => {
    const machine = await Machine.start(await addresses())
    try {
      machine.write(page.files)
      const ready = page.text.split('\n').indexOf('### In a container')
      const setUp = page.commands(['']).filter(({ line }) => line < ready)
      const { code, output } = await machine.run([...setUp, ...page.commands(['offline'])])
      expect(code, output).toBe(0)
      expect(output).toContain('certificates: the next one signs')
    } finally {
      machine.close()
    }
  },
  LONG_MS,
)

const hasVerify = spawnSync('systemd-analyze', ['--version']).status === 0
test.skipIf(!hasVerify)('its units are valid, and the registry is confined', async () => {
  const machine = await Machine.start({})
  try {
    machine.write(page.files)
    const units = [...page.files.keys()].filter((path) => path.startsWith('/etc/systemd/'))
    expect(units).toHaveLength(4)
    for (const unit of units) {
      const { stderr, status } = spawnSync('systemd-analyze', ['verify', machine.path(unit)], { encoding: 'utf8' })
      // Remarks about units of this machine are none about ours.
      const remarks = stderr.split('\n').filter((line) => line.includes('inmesh'))
      expect(remarks, unit).toEqual([])
      expect(status, stderr).toBe(0)
    }
    const registry = machine.path('/etc/systemd/system/inmesh-registry.service')
    const report = execFileSync('systemd-analyze', ['security', '--offline=true', registry], { encoding: 'utf8' })
    const exposure = Number(/exposure level[^\d]*([\d.]+)/.exec(report)![1])
    expect(exposure).toBeLessThan(2.5)
  } finally {
    machine.close()
  }
})

test(
  'its container file runs a registry that its health check finds ready',
  async () => {
    const port = await freePort()
    const machine = await Machine.start({})
    try {
      const file = page.files.get('Containerfile')!
      const instructions = file
        .replaceAll('\\\n', ' ')
        .split('\n')
        .filter((line) => !/^(#|$)/.test(line))
      const known = /^(FROM|RUN|USER|VOLUME|EXPOSE|STOPSIGNAL|HEALTHCHECK|ENTRYPOINT) /
      for (const line of instructions) expect(line).toMatch(known)
      expect(instructions[0]).toBe('FROM node:24-slim')
      const commandOf = (instruction: string): string =>
        (JSON.parse(/\[.*\]$/.exec(instructions.find((line) => line.startsWith(instruction))!)![0]) as string[]).join(
          ' ',
        )
      const [entrypoint, health] = [commandOf('ENTRYPOINT'), commandOf('HEALTHCHECK')]
      const text = `${entrypoint} --port ${port} --log-level silent > ready & pid=$!
for i in $(seq 1200); do grep -q ready ready && break; sleep 0.1; done
${health} --registry https://127.0.0.1:${port}
kill $pid; wait $pid
`
      const { code, output } = await machine.run([{ language: 'sh', tag: '', line: 1, text, marks: new Map() }])
      expect(code, output).toBe(0)
      expect(output).toContain('ready')
    } finally {
      machine.close()
    }
  },
  LONG_MS,
)

test('its tables name metrics that exist', async () => {
  const registry = await startRegistry({ memory: true, dev: true, port: 0, log: false })
  const { text } = await request(registry, 'GET', '/metrics').finally(() => registry.close())
  const metrics = [...page.text.matchAll(/`(inmesh_registry_[a-z_]+)`/g)].map(([, name]) => name!)
  expect(metrics.length).toBeGreaterThan(7)
  // Gauges of a service's process.
  const others = ['inmesh_registry_connected']
  for (const name of metrics) if (!others.includes(name)) expect(text).toContain(`\n${name} `)
})
