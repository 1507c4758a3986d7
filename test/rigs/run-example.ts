/**
 * Runs a documented example as a reader would: in a separate process, with the built package,
 * against a development registry.
 */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { startRegistry } from '../../src/registry/index.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const ENDS_WITHIN_MS = 50_000
/** Of a compiler. */
const COMPILES_WITHIN_MS = 150_000
/** Of a test that compiles an example and runs it. */
export const COMPILED_TEST_MS = COMPILES_WITHIN_MS + 2 * ENDS_WITHIN_MS

const COMPILER = fileURLToPath(new URL('../../node_modules/typescript/bin/tsc', import.meta.url))

export interface Ran {
  /** `null`: it had to be killed. */
  readonly code: number | null
  readonly lines: readonly string[]
  readonly complaints: string
}

/** Runs `node <program>` with a registry to join. */
export async function runExample(program: string, endsWithinMs = ENDS_WITHIN_MS): Promise<Ran> {
  const registry = await startRegistry({ port: 0, memory: true, dev: true, log: false })
  try {
    // A busy machine takes longer than a service would wait.
    const joining = { INMESH_REGISTRY: registry.url, INMESH_STATE_DIR: 'memory', INMESH_JOIN_TIMEOUT: '30s' }
    return await run([program], joining, endsWithinMs)
  } finally {
    await registry.close()
  }
}

/** Runs `tsc -p <project> <...options>`. */
export function compile(project: string, ...options: string[]): Promise<Ran> {
  return run([COMPILER, '-p', project, ...options], {}, COMPILES_WITHIN_MS)
}

/** Runs `node <...args>` in the repository's root; kills it if it does not end by itself. */
export function run(
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
  endsWithinMs = ENDS_WITHIN_MS,
): Promise<Ran> {
  if (!existsSync(`${ROOT}/dist/index.js`)) {
    throw new Error("the examples import the built package, and dist is missing: run 'npm run build' first")
  }
  // What this machine's environment says about a mesh is not for the example.
  const own = Object.entries(process.env).filter(([name]) => !name.startsWith('INMESH_'))
  const child = spawn(process.execPath, args, {
    cwd: ROOT,
    env: { ...Object.fromEntries(own), ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: endsWithinMs,
    killSignal: 'SIGKILL',
  })
  let output = ''
  let complaints = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaints += text
  })
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => resolve({ code, lines: output.split('\n').filter(Boolean), complaints }))
  })
}
