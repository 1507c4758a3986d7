/** One server of the fleet: it serves each arm's service with a queue for it alone. */
import type { RequestListener } from 'node:http'
import { joinMesh } from 'inmesh'
import { Chance } from '../../src/simulator/chance.ts'
import { answer, givenJob } from '../measured-process.ts'
import type { ServerLog } from './measures.ts'
import { type LoopDelay, LoopDelayMeter, runNow } from './run-clock.ts'
import { WorkQueue } from './work-queue.ts'

export interface FleetServerJob {
  readonly registry: string
  readonly services: readonly string[]
}

export interface ServeJob {
  readonly seed: number
  readonly workers: number
  readonly meanMs: number
  readonly speed: number
}

export interface ServerTrace {
  /** By service. */
  readonly logs: Readonly<Record<string, ServerLog>>
  readonly loop: LoopDelay
}

const { registry, services } = givenJob<FleetServerJob>()
const loop = new LoopDelayMeter()
const queues = new Map<string, WorkQueue>()
let now: ServeJob

const listener =
  (service: string): RequestListener =>
  (request, response) => {
    const sentAt = Number(request.url!.slice(1))
    const leave = queues.get(service)!.push(sentAt, () => response.end('ok'))
    response.once('close', leave)
  }

/** The next run begins, all queues are empty. */
function serve(job: ServeJob): void {
  now = job
  for (const service of services) {
    // The same seed for each: all arms meet the same work.
    const chance = new Chance(job.seed)
    queues.set(
      service,
      new WorkQueue({
        workers: job.workers,
        workMs: () => chance.positiveNormal(job.meanMs) / job.speed,
        now: runNow,
        startTimer: (ms, fire) => setTimeout(fire, ms),
      }),
    )
  }
  loop.take()
}

function take(): ServerTrace {
  const { workers, speed } = now
  const logs = [...queues].map(([service, { log }]) => [service, { workers, speed, served: log }] as const)
  return { logs: Object.fromEntries(logs), loop: loop.take() }
}

for (const service of services) {
  const mesh = await joinMesh({ service, registry, stateDir: 'memory', handleSignals: false, joinTimeout: '60s' })
  await mesh.serve(listener(service), { host: '127.0.0.1', mode: 'plaintext' })
}
answer({ serve, take })
