/**
 * Compares the client's cost of a call through the mesh with that of other libraries. `node
 * bench/http-client.ts [--quick] [--json]`, after `npm run build`.
 */
import type { ClientJob } from './client-process.ts'
import {
  type Measured,
  measure,
  type Options,
  type Plan,
  type Report,
  ratio,
  rowsOf,
  runQuestions,
  Subject,
  type Target,
  type Variant,
  variantOf,
  withSubjects,
} from './harness.ts'
import type { Door } from './server-process.ts'
import { credentialsFor, startRegistryProcess, startServer } from './testbed.ts'

const PLAINTEXT = 'inventory'
const SECURE = 'inventory-mtls'
const DOORS: readonly Door[] = [
  { kind: 'mesh', service: PLAINTEXT, mode: 'plaintext' },
  { kind: 'mesh', service: SECURE, mode: 'strict' },
]
/** Variants whose ratio has a target are neighbours, so that little time passes between them. */
const ALWAYS: readonly ClientJob['way'][] = [
  'undici.request',
  'inmesh http()',
  'hand-assembled',
  'built-in fetch',
  'inmesh fetch()',
]
const BESIDES: readonly ClientJob['way'][] = ['undici dispatch', 'undici fetch', 'cockatiel', 'got', 'axios']
const MTLS: readonly ClientJob['way'][] = ['undici.request', 'inmesh http()', 'inmesh fetch()']
const BASE = 'undici.request'

const at = (name: string, secure: boolean): string => (secure ? `${name}, mTLS` : name)

export function startClient(job: ClientJob): Promise<Subject> {
  return Subject.start(new URL('./client-process.ts', import.meta.url), job)
}

export async function httpClient({ quick }: Options): Promise<Report> {
  return withSubjects(async (keep) => {
    const registry = keep(await startRegistryProcess({ dev: true }))
    const servers = await Promise.all(
      [1, 2, 3].map(async () => keep(await startServer({ registry: registry.ready.url, doors: DOORS }))),
    )
    const credentials = await credentialsFor(registry.ready, 'checkout')
    const variant = (way: ClientJob['way'], secure: boolean): Promise<Variant> => {
      const job: ClientJob = {
        way,
        ports: servers.map(({ ready }) => ready.ports[secure ? 1 : 0]!),
        ...(secure && { credentials }),
        registry: registry.ready.url,
        service: secure ? SECURE : PLAINTEXT,
      }
      return variantOf(at(way, secure), quick ? 2 : 3, async () => ({ subject: keep(await startClient(job)) }))
    }
    const plain = await Promise.all((quick ? ALWAYS : [...ALWAYS, ...BESIDES]).map((way) => variant(way, false)))
    const secure = await Promise.all((quick ? MTLS.slice(0, 2) : MTLS).map((way) => variant(way, true)))

    const rows: Report['rows'][number][] = []
    let decisive: readonly [Measured, Measured] | undefined
    for (const concurrency of quick ? [16] : [1, 64, 16]) {
      const plan: Plan = quick
        ? { calls: 2_500, rounds: 10, warmUp: 6_000, concurrency }
        : { calls: concurrency === 1 ? 1_000 : 3_000, rounds: 15, warmUp: 6_000, concurrency }
      const measured = [await measure(plain, plan), await measure(secure, plan)] as const
      rows.push(...rowsOf(measured[0], BASE).map((row) => ({ 'at once': concurrency, ...row })))
      rows.push(
        ...rowsOf(measured[1], at(BASE, true)).map(({ [`over ${at(BASE, true)}`]: over, ...row }) => ({
          'at once': concurrency,
          ...row,
          [`over ${BASE}`]: over!,
        })),
      )
      if (concurrency === 16) decisive = measured
    }
    const [open, closed] = decisive!
    const http = ratio(open, 'inmesh http()', BASE)
    const httpMtls = ratio(closed, at('inmesh http()', true), at(BASE, true))
    const fetched = ratio(open, 'inmesh fetch()', 'built-in fetch')
    const assembled = ratio(open, 'hand-assembled', 'inmesh http()')
    const targets: Target[] = [
      { what: 'http() over undici.request + body', found: http, wanted: { atMost: 1 } },
      { what: 'http() over undici.request + body, mTLS', found: httpMtls, wanted: { atMost: 1 } },
      { what: 'fetch() over built-in fetch', found: fetched, wanted: { atMost: 0.35 } },
      { what: 'hand-assembled over http()', found: assembled, wanted: { atLeast: 1.5 } },
    ]
    return {
      title: 'What a call costs its client (16 at once decide)',
      rows,
      targets,
      figures: {
        ratios: {
          httpOverUndiciRequest: http.median,
          httpOverUndiciRequestMtls: httpMtls.median,
          fetchOverBuiltInFetch: fetched.median,
          handAssembledOverHttp: assembled.median,
        },
      },
    }
  })
}

if (import.meta.main) await runQuestions([httpClient])
