/** A registry for the bundles; it prints its address. */
import { startRegistry } from 'inmesh/registry'

const registry = await startRegistry({ port: 0, dev: true, memory: true, log: false })
const document = {
  service: 'inventory',
  routes: [{ name: 'gone', match: [{ path: { regex: '/gone/[0-9]+' } }], respond: { status: 410 } }],
}
await registry.applyPolicies([document])
console.log(registry.url)
process.on('SIGTERM', () => registry.close().then(() => process.exit(0)))
