/**
 * Compares the client's cost of a call through the mesh with that of other libraries. `node
 * bench/http-client.ts [--quick] [--json] [--transport auto|http1]`, after `npm run build`.
 */
import type { ClientJob } from './client-process.ts'
import {
  COMPILED_CALLS,
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
/** Targets by how many calls are made at once. */
const AT_MOST_MTLS = { 1: 0.8, 16: 0.45, 64: 0.35 } as const

const at = (name: string, secure: boolean): string => (secure ? `${name}, mTLS` : name)

export function startClient(job: ClientJob): Promise<Subject> {
  return Subject.start(new URL('./client-process.ts', import.meta.url), job)
}

export async function httpClient({ quick }: Options): Promise<Report> {
  return withSubjects(async (keep) => {
    const registry = keep(await startRegistryProcess({ dev: true }))
    const server = keep(await startServer({ registry: registry.ready.url, doors: DOORS }))
    const credentials = await credentialsFor(registry.ready, 'checkout')
    const variant = (way: ClientJob['way'], secure: boolean): Promise<Variant> => {
      const job: ClientJob = {
        way,
        ports: [server.ready.ports[secure ? 1 : 0]!],
        ...(secure && { credentials }),
        registry: registry.ready.url,
        service: secure ? SECURE : PLAINTEXT,
      }
      return variantOf(at(way, secure), quick ? 2 : 3, async () => ({ subject: keep(await startClient(job)) }))
    }
    const plain = await Promise.all((quick ? ALWAYS : [...ALWAYS, ...BESIDES]).map((way) => variant(way, false)))
    const secure = await Promise.all((quick ? MTLS.slice(0, 2) : MTLS).map((way) => variant(way, true)))

    const rows: Report['rows'][number][] = []
    let open: Measured | undefined
    const closed = new Map<number, Measured>()
    for (const concurrency of [1, 64, 16]) {
      const plan: Plan = quick
        ? { calls: concurrency === 1 ? 1_000 : 2_500, rounds: 10, warmUp: COMPILED_CALLS, concurrency }
        : { calls: concurrency === 1 ? 1_000 : 3_000, rounds: 15, warmUp: COMPILED_CALLS, concurrency }
      if (!quick || concurrency === 16) {
        open = await measure(plain, plan)
        rows.push(...rowsOf(open, BASE).map((row) => ({ 'at once': concurrency, ...row })))
      }
      const measured = await measure(secure, plan)
      closed.set(concurrency, measured)
      rows.push(
        ...rowsOf(measured, at(BASE, true)).map(({ [`over ${at(BASE, true)}`]: over, ...row }) => ({
          'at once': concurrency,
          ...row,
          [`over ${BASE}`]: over!,
        })),
      )
    }
    const http = ratio(open!, 'inmesh http()', BASE)
    const httpMtls = ([1, 16, 64] as const).map((concurrency) => ({
      concurrency,
      found: ratio(closed.get(concurrency)!, at('inmesh http()', true), at(BASE, true)),
    }))
    const fetched = ratio(open!, 'inmesh fetch()', 'built-in fetch')
    const assembled = ratio(open!, 'hand-assembled', 'inmesh http()')
    const targets: Target[] = [
      { what: 'http() over undici.request + body', found: http, wanted: { atMost: 1 } },
      ...httpMtls.map(({ concurrency, found }) => ({
        what: `http() over undici.request + body, mTLS, ${concurrency} at once`,
        found,
        wanted: { atMost: AT_MOST_MTLS[concurrency] },
      })),
      { what: 'fetch() over built-in fetch', found: fetched, wanted: { atMost: 0.25 } },
      { what: 'hand-assembled over http()', found: assembled, wanted: { atLeast: 2.2 } },
    ]
    return {
      title: 'What a call costs its client, to one endpoint (16 at once where nothing else is said)',
      rows,
      targets,
      figures: {
        ratios: {
          httpOverUndiciRequest: http.median,
          ...Object.fromEntries(
            httpMtls.map(({ concurrency, found }) => [
              `httpOverUndiciRequestMtls${concurrency === 16 ? '' : concurrency}`,
              found.median,
            ]),
          ),
          fetchOverBuiltInFetch: fetched.median,
          handAssembledOverHttp: assembled.median,
        },
      },
    }
  })
}

if (import.meta.main) await runQuestions([httpClient])
