/**
 * A registry over etcd in a separate process, for tests that kill or stop it. Its arguments are the
 * store's URL and the lease in ms; its first line of output tells how to reach it.
 */
import { startRegistry } from '../../src/registry/index.ts'

const [store, leaseMs] = process.argv.slice(2)
const registry = await startRegistry({ store: store!, port: 0, lease: Number(leaseMs), log: false })
process.on('SIGTERM', () => void registry.close().then(() => process.exit(0)))
const { id, url, port, roots, adminToken } = registry
console.log(JSON.stringify({ id, url, port, roots, adminToken, dev: false }))
