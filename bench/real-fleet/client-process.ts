/**
 * One client of the fleet, with a mesh of its process alone. It calls all arms at the same random
 * instants, however many calls are still open.
 */
import { joinMesh, MeshError } from 'inmesh'
import { Chance } from '../../src/simulator/chance.ts'
import { answer, givenJob } from '../measured-process.ts'
import type { Sent } from './measures.ts'
import { type LoopDelay, LoopDelayMeter, runNow } from './run-clock.ts'

export interface FleetClientJob {
  readonly registry: string
  readonly services: readonly string[]
}

export interface CallJob {
  readonly seed: number
  readonly services: readonly string[]
  /** Of each service. */
  readonly perSecond: number
  /** On the clock of the run. */
  readonly from: number
  readonly until: number
}

export interface ClientTrace {
  /** By service. */
  readonly calls: Readonly<Record<string, readonly Sent[]>>
  readonly loop: LoopDelay
}

const { registry, services } = givenJob<FleetClientJob>()
const loop = new LoopDelayMeter()
const mesh = await joinMesh({
  ...{ service: 'checkout', registry, stateDir: 'memory', joinTimeout: '60s' },
  handleSignals: false,
})
const clients = new Map(services.map((service) => [service, mesh.http(service)]))

async function run({ seed, services, perSecond, from, until }: CallJob): Promise<ClientTrace> {
  const chance = new Chance(seed)
  const calls = new Map(services.map((service): [string, Sent[]] => [service, []]))
  const open: Promise<void>[] = []
  loop.take()
  await pause(from - runNow())
  for (let due = from; ; ) {
    due += chance.exponential(1_000 / perSecond)
    if (due >= until) break
    const early = due - runNow()
    if (early > 0) await pause(early)
    for (const [service, sent] of calls) open.push(call(service, sent))
  }
  await Promise.all(open)
  return { calls: Object.fromEntries(calls), loop: loop.take() }
}

async function call(service: string, sent: Sent[]): Promise<void> {
  const begunAt = runNow()
  let good = false
  let code: string | undefined
  try {
    const response = await clients.get(service)!.get(`/${begunAt}`)
    await response.text()
    good = response.status === 200
  } catch (error) {
    if (!(error instanceof MeshError)) throw error
    code = error.code
  }
  sent.push({ begunAt, endedAt: runNow(), good, code })
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)))
}

answer({ run })
