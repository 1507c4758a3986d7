/**
 * A registry that is newer than a process has documents with keys that the process does not know.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { joinMesh, type Mesh } from '../../src/index.ts'
import { type Registry, startRegistry } from '../../src/registry/index.ts'
import { freePort } from '../rigs/free-ports.ts'

let home: string
let registry: Registry
const meshes: Mesh[] = []

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'inmesh-newer-'))
})

afterEach(async () => {
  for (const mesh of meshes.splice(0)) await mesh.close()
  await registry.close()
  rmSync(home, { recursive: true, force: true })
})

const start = async (port?: number): Promise<Registry> => {
  port ??= await freePort()
  registry = await startRegistry({ dataDir: join(home, 'registry'), dev: true, port, log: false, joinsPerSecond: 100 })
  return registry
}

async function member(service: string, joinTimeout: '5s' | '30s' = '30s'): Promise<Mesh> {
  const mesh = await joinMesh({
    service,
    registry: registry.url,
    stateDir: join(home, service),
    handleSignals: false,
    drainNotice: 0,
    drainTimeout: 0,
    joinTimeout,
  })
  meshes.push(mesh)
  return mesh
}

/** As a newer registry would have left it. */
async function addKey(): Promise<void> {
  const { port } = registry
  await registry.close()
  const database = new DatabaseSync(join(home, 'registry', 'registry.db'))
  const row = database.prepare("SELECT value FROM items WHERE key = 'policy/stock'").get()
  const record = JSON.parse(row!.value as string)
  record.document.mirror = { to: 'stock-shadow' }
  database.prepare("UPDATE items SET value = ? WHERE key = 'policy/stock'").run(JSON.stringify(record))
  database.close()
  await start(port)
}

const rejections = (mesh: Mesh): string[] =>
  mesh
    .events()
    .filter(({ name, payload }) => name === 'snapshot:rejected' && payload.subject === 'stock')
    .map(({ payload }) => String(payload.reason))

it('does not keep the service from starting nor its callers from finding it, and what is left out is told', async () => {
  await start()
  await registry.applyPolicies([{ service: 'stock', allow: [{ from: 'caller' }] }])
  await addKey()
  const stock = await member('stock')
  await stock.serve((_request, response) => response.end('ok'), { host: '127.0.0.1', port: 0 })
  const [caller, stranger] = [await member('caller'), await member('stranger')]
  expect((await caller.fetch('http://stock/')).status).toBe(200)
  // What can be read of the document is in force.
  expect((await stranger.fetch('http://stock/')).status).toBe(403)
  for (const mesh of [stock, caller]) expect(rejections(mesh)[0]).toMatch(/what can be read of it is in force.*mirror/)
})

it('does not make a snapshot on the disk useless', async () => {
  await start()
  await registry.applyPolicies([{ service: 'stock', timeout: '3s' }])
  const stock = await member('stock')
  await stock.serve((_request, response) => response.end('ok'), { host: '127.0.0.1', port: 0 })
  const first = await member('caller')
  expect((await first.fetch('http://stock/')).status).toBe(200)
  await first.close()
  const file = join(home, 'caller', 'snapshot.json')
  const stored = JSON.parse(readFileSync(file, 'utf8'))
  const view = stored.views.find(({ service }: { service: string }) => service === 'stock')
  view.policy = { ...view.policy, mirror: { to: 'stock-shadow' } }
  stored.views.push({ service: 'broken', instances: 'none' })
  writeFileSync(file, JSON.stringify(stored), { mode: 0o600 })
  await registry.close()
  const again = await member('caller', '5s')
  expect(again.stale).toBe(true)
  expect((await again.fetch('http://stock/')).status).toBe(200)
})
