/**
 * Runs files one after the other beside a mesh with the service `inventory`, and prints a line of
 * JSON for each that fails. `node run-blocks.ts FILE…`
 */
import { createServer } from 'node:http'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { ROOT } from './pages.ts'

type Inmesh = typeof import('../../src/index.ts')
type Registries = typeof import('../../src/registry/index.ts')
const LONGEST_MS = 60_000

/** What a block gets: the package as it is built. */
async function built<T>(path: string): Promise<T> {
  return (await import(pathToFileURL(join(ROOT, 'dist', path)).href)) as T
}

const { startRegistry } = await built<Registries>('registry/index.js')
const registry = await startRegistry({ port: 0, dev: true, memory: true, log: false })
process.env.INMESH_REGISTRY = registry.url
process.env.INMESH_STATE_DIR = 'memory'
// A busy machine takes longer than a service would wait.
process.env.INMESH_JOIN_TIMEOUT = '30s'
const { joinMesh } = await built<Inmesh>('index.js')

const inventory = await joinMesh({ service: 'inventory' })
const shop = createServer((request, response) => {
  const [, kind, sku] = request.url!.split(/[/?]/)
  request.resume()
  response.setHeader('content-type', 'application/json')
  if (kind !== 'items') response.statusCode = 201
  response.end(JSON.stringify({ sku: sku ?? '42', left: 7 }))
})
await inventory.serve(shop, { port: 0 })
const mesh = await joinMesh({ service: 'checkout' })
const log = { error() {}, warn() {}, info() {}, debug() {} }
Object.assign(globalThis, { mesh, log })

// A block may leave work behind that fails later; it is the block's failure.
let running = ''
const failed = (file: string, error: unknown): void => {
  process.stdout.write(`${JSON.stringify({ file, message: error instanceof Error ? error.stack : String(error) })}\n`)
}
process.on('uncaughtException', (error) => failed(running, error))

console.log = () => {}
for (const file of process.argv.slice(2)) {
  running = file
  let timer: NodeJS.Timeout | undefined
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`it runs for more than ${LONGEST_MS / 1000} s`)), LONGEST_MS)
  })
  try {
    await Promise.race([import(pathToFileURL(file).href), late])
  } catch (error) {
    failed(file, error)
  } finally {
    clearTimeout(timer)
  }
}
process.stdout.write(`${JSON.stringify({ ran: process.argv.length - 2 })}\n`)
process.exit()
