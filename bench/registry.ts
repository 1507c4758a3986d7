/**
 * Measures a registry: registrations per second, propagation to 1,000 watchers, memory with 10,000
 * instances, recovery after kill -9. Clients run in this process, so on a small machine their work
 * is part of the times. `node bench/registry.ts [--quick] [--json]`, after `npm run build`.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join as joinPath } from 'node:path'
import type { Instance } from '../src/discovery/instance.ts'
import type { Registry } from '../src/registry/index.ts'
import { instance } from '../test/rigs/instance.ts'
import { type Credentials, join, request } from '../test/rigs/registry-session.ts'
import {
  type Options,
  quantile,
  type Report,
  round,
  runQuestions,
  single,
  type Target,
  withSubjects,
} from './harness.ts'
import { openSessions, type Session } from './registry-session.ts'
import { type RegistryReady, startRegistryProcess } from './testbed.ts'

export const INSTANCES = 10_000
export const WATCHERS = 1_000
const PER_SESSION = 100
export const SERVICES = 20
/** Between two changes, so that each is alone. */
const PAUSE_MS = 50

/** The same as a member of a mesh would do, for those who ask as an admin. */
function asAdmin(ready: RegistryReady, adminToken: string): Registry {
  return { ...ready, adminToken } as unknown as Registry
}

async function credentialsOf(registry: Registry, service: string): Promise<Credentials> {
  const answer = await request(registry, 'POST', '/v1/tokens', { admin: true, body: { service } })
  return join(registry, service, answer.json.token)
}

export async function registry({ quick }: Options): Promise<Report> {
  const directory = mkdtempSync(joinPath(tmpdir(), 'inmesh-bench-'))
  const dataDir = joinPath(directory, 'state')
  const options = { dataDir, lease: '10m' }
  try {
    return await withSubjects(async (keep) => {
      const first = keep(await startRegistryProcess(options))
      const adminToken = readFileSync(joinPath(dataDir, 'admin-token'), 'utf8').trim()
      const emptyMb = await first.ask<number>('memory')

      const services = Array.from({ length: SERVICES }, (_, i) => `service-${i}`)
      const admin = asAdmin(first.ready, adminToken)
      const owners = await Promise.all(services.map((service) => credentialsOf(admin, service)))
      const own = (i: number): readonly [string, Credentials] => [services[i % SERVICES]!, owners[i % SERVICES]!]
      const registrants = await openSessions(first.ready, INSTANCES / PER_SESSION, own)
      const before = performance.now()
      await Promise.all(registrants.flatMap((session, i) => registerAll(session, i, services[i % SERVICES]!)))
      const perSecond = Math.round(INSTANCES / ((performance.now() - before) / 1_000))
      await pause(2_000)
      const mb = await first.ask<number>('memory')

      const watching = await openSessions(first.ready, WATCHERS, own)
      const lasts = await timeChanges(watching, registrants[0]!, services[0]!, quick ? 40 : 200)
      const watchedMb = await first.ask<number>('memory')
      for (const session of [...registrants, ...watching]) session.close()

      await first.close()
      const killedAt = performance.now()
      const second = keep(await startRegistryProcess(options))
      const recoveryMs = Math.round(performance.now() - killedAt)
      const listed = await request(asAdmin(second.ready, adminToken), 'GET', '/v1/services', { admin: true })
      const found = (listed.json.services as { instances: number }[]).reduce((sum, one) => sum + one.instances, 0)
      if (found !== INSTANCES) throw new Error(`${found} of ${INSTANCES} instances after kill -9`)

      const p50 = round(quantile(lasts, 0.5), 1)
      const p99 = round(quantile(lasts, 0.99), 1)
      const targets: Target[] = [
        { what: `a change at the last of ${WATCHERS} watchers, p99 ms`, found: single(p99), wanted: { atMost: 250 } },
        { what: `MB with ${INSTANCES} instances`, found: single(round(mb, 1)), wanted: { atMost: 150 } },
      ]
      return {
        title: 'What a registry bears',
        rows: [
          { what: 'registrations per second, state on disk', figure: perSecond },
          { what: `change at the last of ${WATCHERS} watchers, ms, p50`, figure: p50 },
          { what: `change at the last of ${WATCHERS} watchers, ms, p99 of ${lasts.length}`, figure: p99 },
          { what: 'MB, empty', figure: round(emptyMb, 1) },
          { what: `MB with ${INSTANCES} instances`, figure: round(mb, 1) },
          { what: `MB with ${WATCHERS} watchers besides`, figure: round(watchedMb, 1) },
          { what: `ms from kill -9 and start to serving ${INSTANCES} instances again`, figure: recoveryMs },
        ],
        targets,
        figures: {
          registry: {
            lastWatcherP99Ms: p99,
            lastWatcherP50Ms: p50,
            mb10k: round(mb, 1),
            mb10kWatched: round(watchedMb, 1),
            mbEmpty: round(emptyMb, 1),
            registrationsPerSecond: perSecond,
            recoveryMs,
          },
        },
      }
    })
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

export function registerAll(session: Session, i: number, service: string): Promise<void>[] {
  return Array.from({ length: PER_SESSION }, (_, j) => session.register(member(service, i, j)))
}

/** Instance `j` of session `i`; no two of a service share an address. */
function member(service: string, i: number, j: number, weight = 100): Instance {
  const port = 1_000 + ((i * PER_SESSION + j) % 64_000)
  return instance(service, `i-${i}-${j}`, { zone: 'zone-a', version: 'v1', port, weight })
}

/** From asking for a change to its arrival at the last watcher, in ms, smallest first. */
export async function timeChanges(
  watching: readonly Session[],
  owner: Session,
  service: string,
  changes: number,
): Promise<number[]> {
  let left = 0
  let done = (): void => {}
  const arrived = (line: string): void => {
    if ((line.startsWith('{"type":"delta"') || line.startsWith('{"type":"snapshot"')) && --left === 0) done()
  }
  const all = (): Promise<void> => {
    left = watching.length
    return new Promise((resolve) => {
      done = resolve
    })
  }
  const snapshots = all()
  for (const session of watching) {
    session.heard = arrived
    session.send({ type: 'watch', service })
  }
  await snapshots
  const lasts: number[] = []
  for (let i = 0; i < changes; i++) {
    await pause(PAUSE_MS)
    const everywhere = all()
    const before = performance.now()
    await owner.register(member(service, 0, 0, 1 + (i % 2)))
    await everywhere
    lasts.push(performance.now() - before)
  }
  return lasts.sort((a, b) => a - b)
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

if (import.meta.main) await runQuestions([registry])
