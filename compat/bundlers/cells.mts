/** Each bundle runs in an empty folder: it joins a mesh, serves, and calls by HTTP and gRPC. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Cell, Part, Project } from '../rig.ts'

const ANSWERS = { fetch: 'checkout', http: 'checkout', regex: 410, grpc: 'HELLO' }
/** A client bundled by esbuild, minified, with all it may load: undici is the larger half. */
const LARGEST_CLIENT_BYTES = 1_700_000

export default function cellsOf(project: Project): Part {
  const cells: Cell[] = ['esbuild', 'rollup', 'webpack'].flatMap((bundler) =>
    ['esm', 'cjs'].map((format) => ({
      name: `${bundler}, ${format}`,
      run: () => bundleAndRun(project, bundler, format),
    })),
  )
  cells.push({ name: "size of a client's bundle", run: () => clientSize(project) })
  return { cells }
}

async function bundleAndRun(project: Project, bundler: string, format: string): Promise<void> {
  const empty = mkdtempSync(join(tmpdir(), 'inmesh-bundle-'))
  const registry = spawn(process.execPath, ['registry.js'], { cwd: project.path, stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = once(registry, 'exit')
  try {
    const out = join(empty, format === 'esm' ? 'program.mjs' : 'program.cjs')
    await project.node(['bundle.js', bundler, format, 'program.js', out])
    const [url] = (await once(createInterface(registry.stdout), 'line')) as [string]
    const printed = await project.node([out], { INMESH_REGISTRY: url })
    assert.deepEqual(JSON.parse(printed.trim().split('\n').at(-1)!), ANSWERS)
  } finally {
    registry.kill()
    await ended
    rmSync(empty, { recursive: true, force: true })
  }
}

async function clientSize(project: Project): Promise<void> {
  const options = ['--bundle', '--platform=node', '--format=esm', '--minify', '--external:@opentelemetry/api']
  await project.run('node_modules/.bin/esbuild', ['client.js', '--outfile=client.min.mjs', ...options])
  const { size } = statSync(join(project.path, 'client.min.mjs'))
  console.log(`        a client's bundle, minified: ${Math.round(size / 1_000)} kB`)
  assert.ok(size < LARGEST_CLIENT_BYTES, `${size} bytes, at most ${LARGEST_CLIENT_BYTES}`)
}
