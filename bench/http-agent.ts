/**
 * Compares a request of node:http through `mesh.agent()` with one by Node's own agent and with
 * `mesh.fetch`. `node bench/http-agent.ts [--quick] [--json]`, after `npm run build`.
 */
import type { ClientJob } from './client-process.ts'
import {
  COMPILED_CALLS,
  measure,
  type Options,
  type Report,
  ratio,
  rowsOf,
  runQuestions,
  variantOf,
  withSubjects,
} from './harness.ts'
import { startClient } from './http-client.ts'
import { credentialsFor, startRegistryProcess, startServer } from './testbed.ts'

const WAYS: readonly ClientJob['way'][] = ['node:http', 'inmesh agent()', 'inmesh fetch()']
const [BASE, AGENT, FETCH] = WAYS as readonly [string, string, string]
/** Both are paid: the request of node:http, and the call of the mesh. */
const AT_MOST = 2.5

export async function httpAgent({ quick }: Options): Promise<Report> {
  return withSubjects(async (keep) => {
    const registry = keep(await startRegistryProcess({ dev: true }))
    const service = 'inventory'
    const doors = [{ kind: 'mesh', service, mode: 'strict' }] as const
    const server = keep(await startServer({ registry: registry.ready.url, doors }))
    const credentials = await credentialsFor(registry.ready, 'checkout')
    const ports = [server.ready.ports[0]!]
    const variants = await Promise.all(
      WAYS.map((way) => {
        const job: ClientJob = { way, ports, credentials, registry: registry.ready.url, service }
        return variantOf(way, quick ? 1 : 3, async () => ({ subject: keep(await startClient(job)) }))
      }),
    )
    const warmUp = COMPILED_CALLS
    const plan = { calls: quick ? 1_000 : 3_000, rounds: quick ? 10 : 15, warmUp, concurrency: 16 }
    const measured = await measure(variants, plan)
    const found = ratio(measured, AGENT, BASE)
    return {
      title: 'What a request of node:http costs its client under mTLS, 16 at once',
      rows: rowsOf(measured, BASE),
      targets: [{ what: 'agent() over node:http', found, wanted: { atMost: AT_MOST } }],
      figures: { ratios: { agentOverNodeHttp: found.median, fetchOverNodeHttp: ratio(measured, FETCH, BASE).median } },
    }
  })
}

if (import.meta.main) await runQuestions([httpAgent])
