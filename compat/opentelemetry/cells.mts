/** inmesh beside the OpenTelemetry packages of today: npm installs them together, and no call has two spans. */
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Part, Project } from '../rig.ts'

const BESIDE = [
  ['@opentelemetry/api'],
  ['@opentelemetry/sdk-node'],
  ['@opentelemetry/auto-instrumentations-node'],
  ['@opentelemetry/sdk-trace', '@opentelemetry/context-async-hooks', '@opentelemetry/api'],
  ['@opentelemetry/sdk-trace-node', '@opentelemetry/api@1.9'],
  ['@opentelemetry/sdk-node@0.220', '@opentelemetry/api@1.9'],
]

const ONE_CALL = { traces: 1, client: 2, server: 1, service: 'compat' }

export default function cellsOf(project: Project, tarball: string): Part {
  const installs = BESIDE.map((packages) => ({
    name: `npm install inmesh ${packages.map((name) => name.replace('@opentelemetry/', '')).join(' ')}`,
    run: () => resolveBeside(tarball, packages),
  }))
  return {
    cells: [
      ...installs,
      {
        name: 'SDK 3.x by inmesh/tracing, with four instrumentations',
        async run() {
          const printed = await project.node(['spans.mjs'])
          const found: unknown = JSON.parse(printed.trim().split('\n').at(-1)!)
          assert.deepEqual(found, { http: ONE_CALL, fetch: ONE_CALL, grpc: ONE_CALL })
        },
      },
    ],
  }
}

async function resolveBeside(tarball: string, packages: readonly string[]): Promise<void> {
  const path = mkdtempSync(join(tmpdir(), 'inmesh-install-'))
  try {
    writeFileSync(join(path, 'package.json'), '{"private":true}')
    const args = ['install', '--dry-run', '--ignore-scripts', '--no-audit', '--no-fund', tarball, ...packages]
    await new Project(path).run('npm', args)
    assert.deepEqual(readdirSync(path), ['package.json'])
  } finally {
    rmSync(path, { recursive: true, force: true })
  }
}
