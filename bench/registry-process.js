/**
 * The registry's process of registry.ts: tells where it is, and its memory when asked. JavaScript, because running TypeScript
 * costs a process 40 MB, which are none of the registry's. Arguments: the module to start it from, its data directory.
 */
import { existsSync, readFileSync } from 'node:fs'

const [module, dataDir] = process.argv.slice(2)
const { startRegistry } = await import(module)
const limits = { joinsPerSecond: 1_000, signingsPerSecond: 1_000 }
const { url, roots, revision } = await startRegistry({ dataDir, port: 0, log: false, leaseMs: '10m', ...limits })
process.on('message', () => process.send({ rss: residentMb() }))
process.on('disconnect', () => process.exit())
process.send({ url, roots, revision })

/** As the kernel sees it; elsewhere as Node does. */
function residentMb() {
  const path = '/proc/self/status'
  const found = existsSync(path) ? /VmRSS:\s+(\d+) kB/.exec(readFileSync(path, 'utf8')) : null
  return (found === null ? process.memoryUsage.rss() / 1024 : Number(found[1])) / 1024
}
