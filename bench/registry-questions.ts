/**
 * All questions about registries: `npm run bench:registry -- [--quick] [--json] [--etcd]`. With
 * `--etcd`, those about several registries over etcd instead.
 */
import { WITHOUT_ETCD } from '../test/rigs/etcd.ts'
import { runQuestions } from './harness.ts'
import { herd } from './herd.ts'
import { largeRegistry } from './large-registry.ts'
import { killedLeader, killedRegistry, propagation } from './registries.ts'
import { registry } from './registry.ts'

const etcd = process.argv.includes('--etcd')
if (etcd && WITHOUT_ETCD !== undefined) {
  console.error(`--etcd: ${WITHOUT_ETCD}`)
  process.exit(2)
}
await runQuestions(etcd ? [propagation, killedRegistry, killedLeader, largeRegistry] : [registry, herd])
