/**
 * Compares a server's cost of a request in the mesh with the same handler behind bare
 * `node:http(s)`. The load comes from other processes. `node bench/http-server.ts [--quick]
 * [--json]`, after `npm run build`.
 */

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
  type Target,
  type Variant,
  variantOf,
  withSubjects,
} from './harness.ts'
import { startClient } from './http-client.ts'
import type { Door } from './server-process.ts'
import { credentialsFor, startRegistryProcess, startServer } from './testbed.ts'

const BARE = 'bare node:http'
const BARE_TLS = 'bare node:https, client certificates'

export async function httpServer({ quick }: Options): Promise<Report> {
  return withSubjects(async (keep) => {
    const registry = keep(await startRegistryProcess({ dev: true }))
    const own = await credentialsFor(registry.ready, 'inventory')
    const caller = await credentialsFor(registry.ready, 'checkout')
    const variant = (name: string, door: Door, secure: boolean): Promise<Variant> =>
      variantOf(name, quick ? 2 : 3, async () => {
        const subject = keep(await startServer({ registry: registry.ready.url, doors: [door] }))
        const driver = await startClient({
          way: 'undici dispatch',
          ports: subject.ready.ports,
          ...(secure && { credentials: caller }),
        })
        return { subject, driver: keep(driver) }
      })
    const mesh = (mode: 'plaintext' | 'strict'): Door => ({ kind: 'mesh', service: 'inventory', mode })
    const plain = [
      await variant(BARE, { kind: 'bare' }, false),
      await variant('mesh.serve, plaintext', mesh('plaintext'), false),
    ]
    const secure = [
      await variant(BARE_TLS, { kind: 'bare', credentials: own }, true),
      await variant('mesh.serve, mTLS', mesh('strict'), true),
    ]

    const rows: Report['rows'][number][] = []
    let decisive: readonly [Measured, Measured] | undefined
    for (const concurrency of quick ? [16] : [1, 64, 16]) {
      const plan: Plan = quick
        ? { calls: 4_000, rounds: 10, warmUp: COMPILED_CALLS, concurrency }
        : { calls: concurrency === 1 ? 1_500 : 5_000, rounds: 21, warmUp: COMPILED_CALLS, concurrency }
      const measured = [await measure(plain, plan), await measure(secure, plan)] as const
      for (const [i, base] of [BARE, BARE_TLS].entries()) {
        rows.push(
          ...rowsOf(measured[i]!, base).map(({ [`over ${base}`]: over, ...row }) => ({
            'at once': concurrency,
            ...row,
            'over bare': over!,
          })),
        )
      }
      if (concurrency === 16) decisive = measured
    }
    const [open, closed] = decisive!
    const over = ratio(open, 'mesh.serve, plaintext', BARE)
    const overMtls = ratio(closed, 'mesh.serve, mTLS', BARE_TLS)
    const targets: Target[] = [
      { what: 'mesh.serve over bare node:http', found: over, wanted: { atMost: 1.15 } },
      { what: 'mesh.serve over bare node:https, mTLS', found: overMtls, wanted: { atMost: 1.15 } },
    ]
    return {
      title: 'What a request costs its server (16 at once decide)',
      rows,
      targets,
      figures: { ratios: { serverOverBare: over.median, serverOverBareMtls: overMtls.median } },
    }
  })
}

if (import.meta.main) await runQuestions([httpServer])
