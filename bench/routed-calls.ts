/**
 * Compares what a call costs its client with 20 routes in the service's document and with none.
 * `node bench/routed-calls.ts [--quick] [--json]`, after `npm run build`.
 */
import type { PolicyDocument } from '../src/discovery/policy-document.ts'
import { measure, type Options, type Report, ratio, rowsOf, runQuestions, variantOf, withSubjects } from './harness.ts'
import { startClient } from './http-client.ts'
import { applyPolicy, startRegistryProcess, startServer } from './testbed.ts'

const NONE = 'no routes'
const ROUTED = '20 routes'
const SERVICES = { [NONE]: 'inventory', [ROUTED]: 'inventory-routed' } as const
const DOORS = Object.values(SERVICES).map((service) => ({ kind: 'mesh', service, mode: 'plaintext' }) as const)

/** The call of the bench, GET /items/42, takes the eleventh. */
const DOCUMENT: PolicyDocument = {
  service: SERVICES[ROUTED],
  routes: [
    { name: 'beta', match: [{ headers: { 'x-beta': '1' } }, { query: { beta: '*' } }] },
    ...Array.from({ length: 9 }, (_, i) => ({
      name: `resource-${i}`,
      match: [{ method: ['GET', 'HEAD'] as const, path: `/resource-${i}/{id}` }],
    })),
    { name: 'items', match: [{ method: ['GET', 'HEAD'], path: '/items/{id}' }] },
    ...Array.from({ length: 9 }, (_, i) => ({ name: `tenant-${i}`, match: [{ headers: { 'x-tenant': `${i}` } }] })),
  ],
}

export async function routedCalls({ quick }: Options): Promise<Report> {
  return withSubjects(async (keep) => {
    const { ready } = keep(await startRegistryProcess({ dev: true }))
    await applyPolicy(ready, DOCUMENT)
    const servers = await Promise.all(
      [1, 2, 3].map(async () => keep(await startServer({ registry: ready.url, doors: DOORS }))),
    )
    const variants = ([NONE, ROUTED] as const).map((name, door) =>
      variantOf(name, quick ? 2 : 3, async () => {
        const ports = servers.map((server) => server.ready.ports[door]!)
        const job = { way: 'inmesh http()', ports, registry: ready.url, service: SERVICES[name] } as const
        return { subject: keep(await startClient(job)) }
      }),
    )
    const plan = quick
      ? { calls: 2_500, rounds: 10, warmUp: 6_000, concurrency: 16 }
      : { calls: 4_000, rounds: 18, warmUp: 12_000, concurrency: 16 }
    const measured = await measure(await Promise.all(variants), plan)
    const found = ratio(measured, ROUTED, NONE)
    return {
      title: 'What routes cost a client',
      rows: rowsOf(measured, NONE),
      targets: [{ what: 'http() with 20 routes over http() with none', found, wanted: { atMost: 1.03 } }],
      figures: { ratios: { httpWith20RoutesOverNone: found.median } },
    }
  })
}

if (import.meta.main) await runQuestions([routedCalls])
