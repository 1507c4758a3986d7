/**
 * A registry in a process of its own, for tests that kill it: the data directory is its argument,
 * its first line tells where it is.
 */
import { startRegistry } from '../../src/registry/index.ts'

const [dataDir, port = '0', leaseMs = '15000'] = process.argv.slice(2)
const registry = await startRegistry({ dataDir: dataDir!, port: Number(port), lease: Number(leaseMs), log: false })
process.on('SIGTERM', () => void registry.close().then(() => process.exit(0)))
const { url, roots, rootFingerprint, epoch, revision, adminToken } = registry
console.log(
  JSON.stringify({ url, port: registry.port, roots, rootFingerprint, epoch, revision, adminToken, dev: false }),
)
