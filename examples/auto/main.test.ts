import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { startRegistry } from '../../src/registry/index.ts'
import { freePort } from '../../test/rigs/free-ports.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

interface Running {
  readonly child: ChildProcess
  readonly ended: Promise<[code: number | null, signal: string | null]>
  said(pattern: RegExp): Promise<void>
  readonly told: { out: string; err: string }
}

function inmeshRun(service: string, args: readonly string[], environment: Readonly<Record<string, string>>): Running {
  const own = Object.entries(process.env).filter(([name]) => !/^(?:INMESH_|NODE_OPTIONS)/.test(name))
  const command = ['dist/cli/main.js', 'run', '--service', service, '--', process.execPath, ...args]
  const child = spawn(process.execPath, command, {
    cwd: ROOT,
    env: { ...Object.fromEntries(own), INMESH_STATE_DIR: 'memory', ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const told = { out: '', err: '' }
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    told.out += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    told.err += text
  })
  const ended = once(child, 'close') as Promise<[number | null, string | null]>
  const said = async (pattern: RegExp): Promise<void> => {
    await expect.poll(() => told.out + told.err, { timeout: 40_000 }).toMatch(pattern)
  }
  return { child, ended, said, told }
}

test('inmesh run meshes two unchanged programs, tells what it meshed, and ends as they end', async () => {
  const registry = await startRegistry({ port: 0, memory: true, dev: true, log: false })
  const environment = { INMESH_REGISTRY: registry.url }
  const port = await freePort()
  const inventory = inmeshRun('inventory', ['examples/auto/inventory.cjs'], { ...environment, PORT: String(port) })
  try {
    await inventory.said(/serves HTTP on .*permissive/)
    const checkout = inmeshRun('checkout', ['examples/auto/checkout.mjs'], environment)
    expect(await checkout.ended, checkout.told.err).toEqual([0, null])
    expect(JSON.parse(checkout.told.out)).toEqual({ sku: '42', stock: 7, encrypted: true })
    expect(checkout.told.err).toContain('called through the mesh: inventory (fetch 1)')
    const plain = await fetch(`http://127.0.0.1:${port}/items/7`)
    expect(await plain.json()).toEqual({ sku: '7', stock: 7, encrypted: false })
    const failing = inmeshRun('failing', ['-e', 'process.exit(9)'], environment)
    expect(await failing.ended).toEqual([9, null])
    inventory.child.kill('SIGTERM')
    expect(await inventory.ended).toEqual([null, 'SIGTERM'])
  } finally {
    inventory.child.kill('SIGKILL')
    await registry.close()
  }
})
