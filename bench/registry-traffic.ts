/**
 * Measures the traffic of a mesh at a registry: the CPU time of messages from 1,000 sessions, and
 * the memory of an hour. `node bench/registry-traffic.ts [--quick] [--json]`, after `npm run
 * build`.
 */
import { type Options, type Report, round, runQuestions, Subject, single, withSubjects } from './harness.ts'
import { openSessions, type Session } from './registry-session.ts'
import { credentialsFor, type MeshCredentials, startRegistryProcess } from './testbed.ts'
import { type Load, TrafficLoad } from './traffic-load.ts'

const MESH: Load = { services: 50, processes: 1_000, edges: 20 }
/** Every process is a service with its own edges: nothing can be summed up. */
const APART: Load = { services: 1_000, processes: 1_000, edges: 20 }
/** For the memory of an hour fewer do: what they report is summed up by service. */
const KEPT_OF = { quick: 200, full: 500 } as const
const EVERY_MS = 5_000
const TURNS = 50

interface Kept {
  readonly mb: number
  readonly packedMb: number
  readonly minutes: number
  readonly series: number
  readonly cpuShare: number
  readonly graphMs: number
  readonly hourMs: number
}

async function kept(load: Load, minutes: number): Promise<Kept> {
  return await withSubjects(async (keep) => {
    const file = new URL('./traffic-process.ts', import.meta.url)
    const subject = keep(await Subject.start(file, { ...load, minutes }, { execArgv: ['--expose-gc'] }))
    return subject.ready as Kept
  })
}

/** Sessions beat as they do, and then report as well. */
async function cpuOfSessions(quick: boolean): Promise<{ beats: number; reports: number; longestPauseMs: number }> {
  return await withSubjects(async (keep) => {
    const registry = keep(await startRegistryProcess({ dev: true, memory: true, lease: '15s' }))
    const source = new TrafficLoad(MESH)
    const credentials = new Map<string, MeshCredentials>()
    for (let i = 0; i < MESH.services; i++) {
      const service = source.serviceOf(i)
      credentials.set(service, await credentialsFor(registry.ready, service))
    }
    const own = (i: number): readonly [string, MeshCredentials] => {
      const service = source.serviceOf(i)
      return [service, credentials.get(service)!]
    }
    const sessions = await openSessions(registry.ready, MESH.processes, own)
    const rounds = quick ? 3 : 12
    const share = async (send: (session: Session, i: number, round: number) => void): Promise<number> => {
      await turn(sessions, -1, send)
      const [before, begun] = [await registry.ask<number>('cpu'), performance.now()]
      for (let round = 0; round < rounds; round++) await turn(sessions, round, send)
      return ((await registry.ask<number>('cpu')) - before) / (performance.now() - begun)
    }
    const beats = await share((session) => session.send({ type: 'beat' }))
    await registry.ask('watchPauses')
    const reports = await share((session, i, round) => {
      session.send({ type: 'beat' })
      session.send(source.message(i, round + 2))
    })
    const longestPauseMs = await registry.ask<number>('longestPauseMs')
    for (const session of sessions) session.close()
    return { beats, reports, longestPauseMs }
  })
}

/** Each of the sessions once, spread over the interval. */
async function turn(
  sessions: readonly Session[],
  round: number,
  send: (session: Session, i: number, round: number) => void,
): Promise<void> {
  const begun = performance.now()
  for (let part = 0; part < TURNS; part++) {
    for (let i = part; i < sessions.length; i += TURNS) send(sessions[i]!, i, round)
    const due = begun + ((part + 1) * EVERY_MS) / TURNS
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, due - performance.now())))
  }
}

export async function registryTraffic({ quick }: Options): Promise<Report> {
  const minutes = quick ? 12 : 70
  const { beats, reports, longestPauseMs } = await cpuOfSessions(quick)
  const mesh = await kept({ ...MESH, processes: quick ? KEPT_OF.quick : KEPT_OF.full }, minutes)
  const apart = await kept(quick ? { ...APART, processes: KEPT_OF.quick } : APART, minutes)
  const row = (what: string, { mb, packedMb, minutes, series, graphMs, hourMs }: Kept) => ({
    [`after ${quick ? 12 : 70} min`]: what,
    series,
    MB: round(mb, 1),
    'MB packed': round(packedMb, 1),
    'minutes kept': round(minutes, 1),
    'graph of 1 min, ms': round(graphMs, 0),
    'graph of all, ms': round(hourMs, 0),
  })
  return {
    title: `traffic of ${MESH.processes} processes with ${MESH.edges} edges`,
    rows: [row('50 services', mesh), row('each process its own service', apart)],
    targets: [
      {
        what: 'CPU of messages, % of a core',
        found: single(round(100 * (reports - beats), 2)),
        wanted: { atMost: 10 },
      },
      { what: 'memory, MB', found: single(round(mesh.mb, 1)), wanted: { atMost: 100 } },
      { what: 'memory, nothing to sum up, MB', found: single(round(apart.mb, 1)), wanted: { atMost: 100 } },
    ],
    figures: { traffic: { beats, reports, longestPauseMs, mesh, apart } },
  }
}

if (import.meta.main) await runQuestions([registryTraffic])
