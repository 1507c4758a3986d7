/**
 * Measures three registries over three etcd nodes: propagation to 1,000 watchers, the return of a
 * killed registry's 1,000 sessions, and writes while the leader of etcd is killed.
 */
import { type Credentials, request } from '../test/rigs/registry-session.ts'
import type { CrowdJob } from './crowd-process.ts'
import { type Options, quantile, type Report, round, Subject, single } from './harness.ts'
import { INSTANCES, pause, registerAll, SERVICES, timeChanges, WATCHERS } from './registry.ts'
import { openSessionsAt, SharedStore } from './shared-store.ts'

const PER_SESSION = 100
const CROWD_PROCESSES = 5
/** Writes under way while the leader is killed, at all registries. */
const WRITERS = 12
const LEASE = '10m'

/** A change at one registry, at the last of the watchers of all three. */
export function propagation({ quick }: Options): Promise<Report> {
  return SharedStore.with(3, async (store) => {
    await store.startAll({ lease: LEASE })
    const services = Array.from({ length: SERVICES }, (_, i) => `service-${i}`)
    const owners: Credentials[] = []
    for (const service of services) owners.push(await store.credentials(service))
    const own = (i: number) => [services[i % SERVICES]!, owners[i % SERVICES]!] as const
    const registrants = await openSessionsAt(store, INSTANCES / PER_SESSION, own)
    const before = performance.now()
    await Promise.all(registrants.flatMap((session, i) => registerAll(session, i, services[i % SERVICES]!)))
    const perSecond = Math.round(INSTANCES / ((performance.now() - before) / 1_000))
    const watching = await openSessionsAt(store, WATCHERS, own)
    const lasts = await timeChanges(watching, registrants[0]!, services[0]!, quick ? 40 : 200)
    for (const session of [...registrants, ...watching]) session.close()
    const [p50, p99] = [0.5, 0.99].map((share) => round(quantile(lasts, share), 1)) as [number, number]
    const what = `a change at the last of ${WATCHERS} watchers of three registries`
    return {
      title: 'Three registries over etcd',
      rows: [
        { what: `registrations per second, ${INSTANCES}`, figure: perSecond },
        { what: `${what}, ms, p50`, figure: p50 },
        { what: `${what}, ms, p99 of ${lasts.length}`, figure: p99 },
      ],
      targets: [{ what: `${what}, p99 ms`, found: single(p99), wanted: { atMost: 250 } }],
      figures: { registries: { lastWatcherP50Ms: p50, lastWatcherP99Ms: p99, registrationsPerSecond: perSecond } },
    }
  })
}

/** The sessions of a killed registry come back at the two others. */
export function killedRegistry({ quick }: Options): Promise<Report> {
  return SharedStore.with(3, async (store) => {
    const crowd = quick ? 200 : 1_000
    await store.start(0)
    const token = await store.token('crowd', crowd)
    const mesh = { service: 'crowd', registry: store.urls, joinToken: token, stateDir: 'memory', handleSignals: false }
    const job: CrowdJob = { size: crowd / CROWD_PROCESSES, mesh: { ...mesh, joinTimeout: '5m' } }
    const file = new URL('./crowd-process.ts', import.meta.url)
    const processes = await Promise.all(Array.from({ length: CROWD_PROCESSES }, () => Subject.start(file, job)))
    for (const one of processes) store.keep(one)
    await waitFor(crowd, () => sum(processes, 'connected'), 300_000)
    // All sessions are at the first registry, because the others were not there.
    const others = await Promise.all([store.start(1), store.start(2)])
    const held = await store.registries[0]!.ask<number>('sessions')
    const killedAt = performance.now()
    await store.registries[0]!.close()
    await waitFor(crowd, () => sum(others, 'sessions'), 60_000)
    const backMs = Math.round(performance.now() - killedAt)
    const what = `ms until a killed registry's ${held} sessions are back`
    return {
      title: 'A registry is killed',
      rows: [{ what, figure: backMs }],
      targets: [{ what, found: single(backMs), wanted: { atMost: 3_000 } }],
      figures: { killedRegistry: { backMs, sessions: held } },
    }
  })
}

/** Writes at all registries while the leader of etcd is killed. */
export function killedLeader(): Promise<Report> {
  return SharedStore.with(3, async (store) => {
    await store.startAll()
    const acknowledged: { at: number; id: string }[] = []
    let [tried, writing] = [0, true]
    const write = async (writer: number): Promise<void> => {
      while (writing) {
        tried += 1
        const registry = store.admin(writer % 3)
        const body = { service: 'written', ttl: '1h' }
        const answer = await request(registry, 'POST', '/v1/tokens', { admin: true, body }).catch(() => undefined)
        if (answer?.status === 201) acknowledged.push({ at: performance.now(), id: answer.json.id })
        else await pause(50)
      }
    }
    const writers = Array.from({ length: WRITERS }, (_, i) => write(i))
    await pause(3_000)
    const leader = await store.cluster.leader()
    const killedAt = performance.now()
    await leader.kill()
    await pause(6_000)
    writing = false
    await Promise.all(writers)
    const after = acknowledged.filter(({ at }) => at > killedAt).map(({ at }) => at)
    const gaps = [killedAt, ...after].map((at, i, all) => (all[i + 1] ?? at) - at)
    const stallMs = Math.round(Math.max(...gaps))
    let lost = 0
    for (let i = 0; i < 3; i++) {
      const { tokens } = (await request(store.admin(i), 'GET', '/v1/tokens', { admin: true })).json
      const ids = new Set((tokens as { id: string }[]).map(({ id }) => id))
      lost += acknowledged.filter(({ id }) => !ids.has(id)).length
    }
    const refused = tried - acknowledged.length
    return {
      title: 'The leader of etcd is killed',
      rows: [
        { what: 'writes acknowledged', figure: acknowledged.length },
        { what: 'writes refused', figure: refused },
        { what: 'longest time without an acknowledged write, ms', figure: stallMs },
        { what: 'acknowledged and lost', figure: lost },
      ],
      targets: [
        { what: 'ms without a write after the leader was killed', found: single(stallMs), wanted: { atMost: 2_000 } },
        { what: 'acknowledged writes lost', found: single(lost), wanted: { atMost: 0 } },
      ],
      figures: { killedLeader: { stallMs, lost, refused, acknowledged: acknowledged.length } },
    }
  })
}

async function sum(subjects: readonly Subject[], ask: string): Promise<number> {
  const told = await Promise.all(subjects.map((one) => one.ask<number>(ask)))
  return told.reduce((total, one) => total + one, 0)
}

async function waitFor(wanted: number, count: () => Promise<number>, timeoutMs: number): Promise<void> {
  const until = performance.now() + timeoutMs
  for (let found = await count(); found < wanted; found = await count()) {
    if (performance.now() > until) throw new Error(`${found} of ${wanted} sessions`)
    await pause(20)
  }
}
