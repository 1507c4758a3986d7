/**
 * Compares what batches less: calls spread over three endpoints, and answers that come at different
 * times. mTLS. `node bench/http-spread.ts [--quick] [--json] [--transport auto|http1]`, after `npm
 * run build`.
 */
import type { ClientJob } from './client-process.ts'
import {
  COMPILED_CALLS,
  type Figure,
  measure,
  type Options,
  type Plan,
  type Report,
  ratio,
  rowsOf,
  runQuestions,
  type Variant,
  variantOf,
  withSubjects,
} from './harness.ts'
import { startClient } from './http-client.ts'
import { credentialsFor, startRegistryProcess, startServer } from './testbed.ts'

const ONE = 'inventory'
const THREE = 'warehouse'
const BASE = 'undici.request'
const OURS = 'inmesh http()'

interface Case {
  readonly name: string
  readonly what: string
  readonly service: typeof ONE | typeof THREE
  readonly concurrency: number
  readonly apart: boolean
  readonly atMost?: number
}

const CASES: readonly Case[] = [
  { name: 'Three', what: 'three endpoints', service: THREE, concurrency: 16, apart: false, atMost: 0.6 },
  { name: 'Apart', what: 'answers 5 ms apart', service: ONE, concurrency: 16, apart: true, atMost: 0.6 },
  { name: 'Apart64', what: 'answers 5 ms apart', service: ONE, concurrency: 64, apart: true },
  { name: 'ThreeApart', what: 'both', service: THREE, concurrency: 16, apart: true, atMost: 0.6 },
]

export async function httpSpread({ quick }: Options): Promise<Report> {
  return withSubjects(async (keep) => {
    const registry = keep(await startRegistryProcess({ dev: true }))
    const { url } = registry.ready
    const servers = await Promise.all(
      [[ONE, THREE], [THREE], [THREE]].map(async (services) => {
        const doors = services.map((service) => ({ kind: 'mesh', service, mode: 'strict' }) as const)
        return keep(await startServer({ registry: url, doors }))
      }),
    )
    const credentials = await credentialsFor(registry.ready, 'checkout')
    const portsOf = { [ONE]: [servers[0]!.ready.ports[0]!], [THREE]: servers.map(({ ready }) => ready.ports.at(-1)!) }
    const variants = (service: keyof typeof portsOf): Promise<Variant[]> =>
      Promise.all(
        ([BASE, OURS] as const).map((way) => {
          const job: ClientJob = { way, ports: portsOf[service], credentials, registry: url, service }
          return variantOf(way, quick ? 2 : 3, async () => ({ subject: keep(await startClient(job)) }))
        }),
      )
    const called = { [ONE]: await variants(ONE), [THREE]: await variants(THREE) }
    const rows: Report['rows'][number][] = []
    const found = new Map<Case, Figure>()
    for (const one of CASES) {
      const { service, concurrency, apart, what } = one
      const plan: Plan = {
        calls: quick ? 2_000 : 3_000,
        rounds: quick ? 8 : 15,
        warmUp: COMPILED_CALLS,
        concurrency,
        apart,
      }
      const measured = await measure(called[service], plan)
      rows.push(...rowsOf(measured, BASE).map((row) => ({ 'at once': concurrency, what, ...row })))
      found.set(one, ratio(measured, OURS, BASE))
    }
    return {
      title: 'What a call costs its client where less is batched (mTLS)',
      rows,
      targets: [...found].flatMap(([{ what, concurrency, atMost }, figure]) =>
        atMost === undefined
          ? []
          : [
              {
                what: `http() over undici.request, ${what}, ${concurrency} at once`,
                found: figure,
                wanted: { atMost },
              },
            ],
      ),
      figures: {
        ratios: Object.fromEntries(
          [...found].map(([{ name }, { median }]) => [`httpOverUndiciRequestMtls${name}`, median]),
        ),
      },
    }
  })
}

if (import.meta.main) await runQuestions([httpSpread])
