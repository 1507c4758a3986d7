/**
 * Measures the cost of many endpoints in one process: memory of 10,000 idle ones, CPU time and
 * latency of calls while 1,000 change every second. `node bench/endpoints.ts [--quick] [--json]`,
 * after `npm run build`.
 */
import { instance } from '../test/rigs/instance.ts'
import {
  type Options,
  type Report,
  round,
  runQuestions,
  Subject,
  single,
  type Target,
  withSubjects,
} from './harness.ts'
import type { Run } from './measured-process.ts'
import { openSessions, type Session } from './registry-session.ts'
import { credentialsFor, startRegistryProcess, startServer } from './testbed.ts'
import type { WatcherJob } from './watcher-process.ts'

const ENDPOINTS = 10_000
/** The registry lets a session register 100. */
const SESSIONS = 100
const CHANGES_PER_SECOND = 1_000
const CROWD = 'crowd'
const CALLED = 'inventory'
const TICK_MS = 10
const LONGEST_WAIT_MS = 20_000

export async function endpoints({ quick }: Options): Promise<Report> {
  return withSubjects(async (keep) => {
    const registry = keep(await startRegistryProcess({ dev: true, lease: '10m' }))
    const { url } = registry.ready
    keep(await startServer({ registry: url, doors: [{ kind: 'mesh', service: CALLED, mode: 'strict' }] }))
    const job: WatcherJob = { registry: url, called: CALLED }
    const watcher = keep(
      await Subject.start(new URL('./watcher-process.ts', import.meta.url), job, { execArgv: ['--expose-gc'] }),
    )
    const owner = await credentialsFor(registry.ready, CROWD)
    const sessions = await openSessions(registry.ready, SESSIONS, () => [CROWD, owner])
    try {
      // What is made once, whatever the number of endpoints.
      await watcher.ask('watch', CROWD)
      await register(sessions, 0)
      await untilKnown(watcher, 1)
      const before = await watcher.ask<number>('heap')
      await Promise.all(Array.from({ length: ENDPOINTS - 1 }, (_, i) => register(sessions, i + 1)))
      await untilKnown(watcher, ENDPOINTS)
      const bytesIdle = Math.round(((await watcher.ask<number>('heap')) - before) / (ENDPOINTS - 1))

      const seconds = quick ? 2 : 10
      await watcher.ask('run', { calls: 5_000, concurrency: 4 })
      const calm = await watch(watcher, seconds)
      const idleUs = await cpuPerSecond(watcher, () => pause(seconds * 1_000))
      const storm = startStorm(sessions)
      const changing = await watch(watcher, seconds)
      const stormUs = await cpuPerSecond(watcher, () => pause(seconds * 1_000))
      const perSecond = await storm()
      // Without calls: of these it makes fewer while it is busy.
      const cpuUs = stormUs - idleUs
      const cpuUsPerChange = cpuUs / perSecond
      const targets: Target[] = [
        { what: `bytes of each of ${ENDPOINTS} idle endpoints`, found: single(bytesIdle), wanted: { atMost: 2_048 } },
        {
          what: `CPU for ${CHANGES_PER_SECOND} changes a second, % of a core`,
          found: single(round(cpuUs / 10_000, 1)),
          wanted: { atMost: 15 },
        },
      ]
      return {
        title: `What ${ENDPOINTS} endpoints cost a process that knows them`,
        rows: [calm, changing].map((run, i) => ({
          'changes/s': i === 0 ? 0 : Math.round(perSecond),
          'CPU without calls, % of a core': round((i === 0 ? idleUs : stormUs) / 10_000, 1),
          'µs/change': i === 0 ? '' : round(cpuUsPerChange, 1),
          'its calls: p50 ms': round(run.p50Ms, 2),
          'p99 ms': round(run.p99Ms, 2),
        })),
        targets,
        figures: {
          endpoints: {
            bytesIdle,
            changesPerSecond: Math.round(perSecond),
            cpuUsPerChange: round(cpuUsPerChange, 1),
            p99MsCalm: round(calm.p99Ms, 2),
            p99MsChanging: round(changing.p99Ms, 2),
          },
        },
      }
    } finally {
      for (const session of sessions) session.close()
    }
  })
}

function register(sessions: readonly Session[], i: number, weight = 100): Promise<void> {
  return sessions[i % SESSIONS]!.register(instance(CROWD, `i-${i}`, { port: 1_024 + i, weight, zone: 'zone-a' }))
}

async function untilKnown(watcher: Subject, wanted: number): Promise<void> {
  const until = performance.now() + LONGEST_WAIT_MS
  for (let known = 0; known < wanted; ) {
    if (performance.now() > until) throw new Error(`${known} of ${wanted} endpoints known after ${LONGEST_WAIT_MS} ms`)
    await pause(100)
    known = await watcher.ask<number>('known', CROWD)
  }
}

/** CPU time of the process per second during `work`, in µs. */
async function cpuPerSecond(watcher: Subject, work: () => Promise<void>): Promise<number> {
  const before = await watcher.ask<number>('cpu')
  const beganAt = performance.now()
  await work()
  return ((await watcher.ask<number>('cpu')) - before) / ((performance.now() - beganAt) / 1_000)
}

/** A few calls of the process, which show how long its event loop is kept. */
async function watch(watcher: Subject, seconds: number): Promise<Run> {
  const untilAt = performance.now() + seconds * 1_000
  const runs: Run[] = []
  while (performance.now() < untilAt) {
    runs.push(await watcher.ask<Run>('run', { calls: 20, concurrency: 1 }))
    await pause(TICK_MS)
  }
  const sorted = (of: (run: Run) => number): number[] => runs.map(of).sort((a, b) => a - b)
  const p50s = sorted((run) => run.p50Ms)
  const worst = sorted((run) => run.p99Ms)
  return {
    elapsedMs: seconds * 1_000,
    p50Ms: p50s[p50s.length >> 1]!,
    // The longest of 20 is the 99th percentile of all in 82 of 100 runs, which is 0.99 to the power
    // of 20.
    p99Ms: worst[Math.floor(worst.length * 0.82)]!,
  }
}

/** Changes weights until it is stopped; then says how many there were per second. */
function startStorm(sessions: readonly Session[]): () => Promise<number> {
  const beganAt = performance.now()
  let made = 0
  const running = new Set<Promise<void>>()
  const timer = setInterval(() => {
    const due = Math.floor(((performance.now() - beganAt) / 1_000) * CHANGES_PER_SECOND)
    for (; made < due; made++) {
      const change = register(sessions, made % ENDPOINTS, 101 + Math.floor(made / ENDPOINTS))
      running.add(change)
      void change.finally(() => running.delete(change))
    }
  }, TICK_MS)
  return async () => {
    clearInterval(timer)
    const perSecond = (made * 1_000) / (performance.now() - beganAt)
    await Promise.all(running)
    return perSecond
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

if (import.meta.main) await runQuestions([endpoints])
