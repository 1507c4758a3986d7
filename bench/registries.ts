/**
 * Measures three registries over three etcd nodes: propagation to 1,000 watchers, the return of a
 * killed registry's 1,000 sessions, and writes while the leader of etcd is killed.
 */
import { ReconnectPause } from '../src/discovery/registry/reconnect-pause.ts'
import { instance } from '../test/rigs/instance.ts'
import { type Credentials, request } from '../test/rigs/registry-session.ts'
import { type Options, quantile, type Report, round, single } from './harness.ts'
import { INSTANCES, pause, registerAll, SERVICES, timeChanges, WATCHERS } from './registry.ts'
import { Session } from './registry-session.ts'
import { openSessionsAt, SharedStore } from './shared-store.ts'

const PER_SESSION = 100
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

/** The sessions of a killed registry come back at the two others, each with an instance. */
export function killedRegistry({ quick }: Options): Promise<Report> {
  return SharedStore.with(3, async (store) => {
    const crowd = quick ? 200 : 1_000
    await store.startAll({ lease: LEASE })
    const services = Array.from({ length: SERVICES }, (_, i) => `service-${i}`)
    const owners: Credentials[] = []
    for (const service of services) owners.push(await store.credentials(service))
    const own = (i: number) => [services[i % SERVICES]!, owners[i % SERVICES]!] as const
    const enter = async (session: Session, i: number): Promise<void> => {
      const [service] = own(i)
      await session.ready
      session.send({ type: 'watch', service })
      await session.register(instance(service, `i-${i}`, { port: 10_000 + i }))
    }
    const sessions = await openSessionsAt(store, crowd, own, [0])
    await Promise.all(sessions.map(enter))
    const back = sessions.map((session, i) => {
      const lost = new Promise<void>((resolve) => {
        session.lost = resolve
      })
      return lost.then(async () => {
        // As a process does it.
        const reconnect = new ReconnectPause()
        for (let tries = i; ; tries++) {
          await pause(reconnect.next(Math.random()))
          const next = new Session(store.registries[1 + (tries % 2)]!.ready, own(i)[1], own(i)[0])
          if (
            !(await enter(next, i).then(
              () => true,
              () => false,
            ))
          )
            continue
          sessions[i] = next
          return
        }
      })
    })
    const cpu = async (): Promise<number> => {
      const [one, other] = await Promise.all([1, 2].map((i) => store.registries[i]!.ask<number>('cpu')))
      return one! + other!
    }
    const before = await cpu()
    const killedAt = performance.now()
    await store.registries[0]!.close()
    await Promise.all(back)
    const backMs = Math.round(performance.now() - killedAt)
    const cpuMs = Math.round((await cpu()) - before)
    for (const session of sessions) session.close()
    const what = `ms until a killed registry's ${crowd} sessions are back, each with its instance`
    return {
      title: 'A registry is killed',
      rows: [
        { what, figure: backMs },
        { what: 'CPU ms of the two others meanwhile', figure: cpuMs },
      ],
      targets: [{ what, found: single(backMs), wanted: { atMost: 3_000 } }],
      figures: { killedRegistry: { backMs, cpuMs, sessions: crowd } },
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
