/**
 * (f) One server with a queue, offered three times its capacity. Without a limit all calls time out
 * in the queue; an adaptive limit refuses the excess and keeps accepted calls fast.
 */

import { SILENT } from '../../src/core/telemetry.ts'
import type { Concurrency } from '../../src/resilience/limits/concurrency-limit.ts'
import { SERVICE } from '../../src/resilience/settings.ts'
import { compileServerStack, ServerLimits } from '../../src/resilience/stack.ts'
import { Chance } from '../../src/simulator/chance.ts'
import { offer } from '../../src/simulator/load.ts'
import { Machine } from '../../src/simulator/machine.ts'
import { SimulatedServer } from '../../src/simulator/server.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import { SimulatedClient } from './client.ts'
import { Summary } from './summary.ts'

const WORKERS = 10
const SERVICE_MS = 20
const CAPACITY = (WORKERS * 1_000) / SERVICE_MS
const OVERLOAD = 3
/** So low a load has no queue. */
const UNLOADED = 0.2
const TIMEOUT_MS = 1_000
const SETTLING_MS = 5_000
const UNTIL = 35_000

export interface Overload {
  readonly policy: string
  /** Calls answered in time, as a share of what the server can do. */
  readonly goodput: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly p99OverUnloaded: number
  /** Where it stood at the end. */
  readonly limit: number | undefined
}

export function overload(seed: number, concurrency: Concurrency | undefined): Overload {
  const unloaded = run(seed, concurrency, UNLOADED)
  const loaded = run(seed, concurrency, OVERLOAD)
  const p99Ms = loaded.summary.percentile(0.99)
  return {
    policy:
      concurrency === undefined
        ? 'no limit'
        : typeof concurrency === 'object'
          ? `adaptive, ${concurrency.algorithm}`
          : String(concurrency),
    goodput: loaded.summary.good / ((CAPACITY * (UNTIL - SETTLING_MS)) / 1_000),
    p50Ms: loaded.summary.percentile(0.5),
    p99Ms,
    p99OverUnloaded: p99Ms / unloaded.summary.percentile(0.99),
    limit: loaded.limit,
  }
}

function run(
  seed: number,
  concurrency: Concurrency | undefined,
  load: number,
): { summary: Summary; limit: number | undefined } {
  const clock = new FakeClock({ seed })
  const chance = new Chance(seed)
  // The clients' own protection is off: it is the server that has to cope.
  const client = new SimulatedClient({
    clock,
    options: { timeout: TIMEOUT_MS, retry: { attempts: 1 }, circuitBreaker: false, throttle: false, ejection: false },
  })
  const machine = new Machine(clock, WORKERS, () => chance.exponential(SERVICE_MS))
  const { limits } = SERVICE.resolve(concurrency === undefined ? {} : { limits: { concurrency } })
  const state = new ServerLimits(clock)
  state.configure(limits)
  const stack = compileServerStack({ state, telemetry: SILENT, clock })
  client.use(new Map([['e0', new SimulatedServer({ clock, handler: machine.handle, stack })]]))
  const summary = new Summary()
  offer(
    clock,
    new Chance(seed + 1),
    () => CAPACITY * load,
    UNTIL,
    () => {
      const counts = clock.now() >= SETTLING_MS
      client.send((call, ended) => {
        if (counts) summary.add(ended.verdict === 'success', clock.now() - call.startedAt, call.attempts)
      })
    },
  )
  clock.advance(UNTIL)
  const limit = state.concurrency?.limit
  clock.advance(10_000)
  client.close()
  return { summary, limit }
}
