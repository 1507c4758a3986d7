/** A registry in a separate process, for tests that kill it or take an older version of it. */
import type * as Library from '../../../src/registry/index.ts'
import { freePort } from '../../rigs/free-ports.ts'
import { libraryFor, obey, options, report } from './parent.ts'

const { tokens = [], policies = [], library: _, ...registryOptions } = options
const { startRegistry }: typeof Library = await import(libraryFor('registry/index'))
// No other program takes it while this one is away.
const port = registryOptions.port || (await freePort())
const registry = await startRegistry({ log: false, joinsPerSecond: 1_000, ...registryOptions, port })
function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1_000
}

obey(async (order) => {
  if (order === 'counts') report({ ...registry.counts, cpuMs: cpuMs() })
  else if (order === 'close') {
    await registry.close()
    report({ closed: true })
    process.disconnect()
  } else {
    // The change itself is the next one; what is written about it in the audit log comes after it.
    const revision = registry.revision + 1
    await registry.applyPolicies(JSON.parse(order))
    report({ revision })
  }
})
if (policies.length > 0) await registry.applyPolicies(policies)
const made: Record<string, string> = {}
for (const service of tokens) made[service] = await registry.createJoinToken({ service, uses: 1_000, ttl: '3d' })
report({ url: registry.url, port: registry.port, tokens: made })
