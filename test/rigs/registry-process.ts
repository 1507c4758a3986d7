/**
 * A registry in a separate process, for tests that kill it. Its argument is the data directory; its
 * first line of output is its address.
 */
import { startRegistry } from '../../src/registry/index.ts'

const [dataDir, port = '0', leaseMs = '15000'] = process.argv.slice(2)
const registry = await startRegistry({ dataDir: dataDir!, port: Number(port), lease: Number(leaseMs), log: false })
process.on('SIGTERM', () => void registry.close().then(() => process.exit(0)))
const { url, roots, rootFingerprint, epoch, revision, adminToken } = registry
console.log(
  JSON.stringify({ url, port: registry.port, roots, rootFingerprint, epoch, revision, adminToken, dev: false }),
)
