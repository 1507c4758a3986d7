/**
 * The faults of the comparison, applied to all ways under the same load. Each begins and ends
 * within its phase.
 */
import { setTimeout as wait } from 'node:timers/promises'
import { countRepeats, type Repeats } from './ledger.ts'
import type { Load } from './load/load.ts'
import type { LoadResult } from './load/open-loop.ts'
import { BACKENDS, type Way } from './ways/way.ts'

export interface Fault {
  readonly name: string
  readonly key: string
  /** What is done, in words. */
  readonly what: string
  run(way: Way, seconds: number): Promise<void>
}

const SLOW_MS = 300

export const FAULTS: readonly Fault[] = [
  {
    name: 'kill -9',
    key: 'kill',
    what: 'one instance is killed with SIGKILL and started again after half of the time',
    async run(way, seconds) {
      await wait(seconds * 200)
      await way.killBackend(1)
      await wait(seconds * 500)
      await way.startBackend(1)
      await wait(seconds * 300)
    },
  },
  {
    name: 'slow backend',
    key: 'slow',
    what: `one instance takes ${SLOW_MS} ms longer for every request, for two thirds of the time`,
    async run(way, seconds) {
      await wait(seconds * 200)
      way.tellBackend(2, { delayMs: SLOW_MS })
      await wait(seconds * 650)
      way.tellBackend(2, {})
      await wait(seconds * 150)
    },
  },
  {
    name: 'backend failing 30 %',
    key: 'failing',
    what: 'one instance executes every request and then answers 503 to 30 % of them, for most of the time',
    async run(way, seconds) {
      await wait(seconds * 100)
      way.tellBackend(3, { failShare: 0.3 })
      await wait(seconds * 800)
      way.tellBackend(3, {})
      await wait(seconds * 100)
    },
  },
  {
    name: 'rolling restart',
    key: 'rolling',
    what: 'one instance after the other gets SIGTERM, leaves in its own orderly way, and is started again',
    async run(way, seconds) {
      for (const i of BACKENDS) {
        await wait(seconds * 100)
        await way.terminateBackend(i)
        await way.startBackend(i)
      }
      await wait(seconds * 200)
    },
  },
  {
    name: 'proxy or registry killed',
    key: 'control',
    what: "inmesh: the registry is killed with SIGKILL and comes back after half of the time; sidecar: checkout's proxy is killed and comes back after 1 s, then that of one instance; direct: there is nothing to kill",
    async run(way, seconds) {
      await wait(seconds * 100)
      await way.killControl(seconds)
      await wait(seconds * 300)
    },
  },
]

/** Of one way under one fault. */
export interface FaultResult {
  readonly load: LoadResult
  readonly repeats: Repeats
  /** The fault could not be done as it is described. */
  readonly broken: string | undefined
}

/** Enough for a drain of three instances, and to find that something hangs. */
const FAULT_BOUND_MS = 120_000

export async function measureFault(
  fault: Fault,
  ways: readonly Way[],
  load: Load,
  plan: { readonly seconds: number; readonly perSecond: number; readonly postShare: number },
): Promise<Map<string, FaultResult>> {
  const { perSecond, postShare } = plan
  const results = new Map<string, FaultResult>()
  const one = async (way: Way): Promise<void> => {
    const prefix = `${fault.key}-${way.name}`
    const end = load.begin(way.origin, { perSecond, postShare, prefix })
    const late = wait(FAULT_BOUND_MS, 'it took too long', { ref: false })
    const done = fault.run(way, plan.seconds).then(
      () => undefined,
      (error: Error) => error.message,
    )
    const broken = await Promise.race([done, late])
    const result = await end()
    results.set(way.name, { load: result, repeats: countRepeats(way.ledger(), prefix), broken })
  }
  await Promise.all(ways.map(one))
  return results
}
