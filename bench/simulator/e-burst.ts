/**
 * (e) Four instances with a queue each, at 70 % of what they can do; 3 s at 250 %; then 70 % again.
 * The queue outlives the burst, calls time out in it, and their retries keep it full: a metastable
 * failure (Bronson et al., HotOS 2021), unless a budget bounds the retries.
 */
import type { ServiceOptions } from '../../src/resilience/settings.ts'
import { Chance } from '../../src/simulator/chance.ts'
import { offer } from '../../src/simulator/load.ts'
import { Machine } from '../../src/simulator/machine.ts'
import { SimulatedServer } from '../../src/simulator/server.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import { SimulatedClient } from './client.ts'

const INSTANCES = 4
const WORKERS = 5
const SERVICE_MS = 20
const DEVIATION_MS = 4
/** Calls per second. */
const CAPACITY = (INSTANCES * WORKERS * 1_000) / SERVICE_MS
const BASE = 0.7
const BURST = 2.5
const BURST_FROM = 5_000
const BURST_TO = 8_000
const UNTIL = BURST_TO + 60_000

export interface Burst {
  readonly policy: string
  /**
   * Share of the calls that succeeded, in percent: before, of those sent in the second that ends 10
   * s after the burst, and at the end.
   */
  readonly before: number
  readonly after10s: number
  readonly atTheEnd: number
  /** From the burst's end to the first of three good seconds in a row. */
  readonly recoveredAfterS: number
  readonly attemptsPerCall: number
}

/** The budget has to do it without breaker and throttle. */
const ALONE: ServiceOptions = { circuitBreaker: false, throttle: false }

export const BURST_POLICIES: Readonly<
  Record<'default' | 'budget' | 'none', { name: string; options: ServiceOptions }>
> = {
  default: { name: 'default', options: {} },
  budget: { name: 'budget alone', options: ALONE },
  // A ratio that is never reached is no budget.
  none: { name: 'no budget', options: { ...ALONE, retry: { budget: { ratio: 10 } } } },
}

/** Bounds of callers with little patience: this is what turns a queue into lost work. */
const TIMEOUT_MS = 750
const PER_TRY_MS = 250

export function burst(seed: number, kind: keyof typeof BURST_POLICIES): Burst {
  const clock = new FakeClock({ seed })
  const chance = new Chance(seed)
  const { name, options } = BURST_POLICIES[kind]
  const client = new SimulatedClient({
    clock,
    options: { ...options, timeout: TIMEOUT_MS, retry: { ...options.retry, perTryTimeout: PER_TRY_MS } },
  })
  const instances = Array.from({ length: INSTANCES }, () => {
    const machine = new Machine(clock, WORKERS, () => chance.normal(SERVICE_MS, DEVIATION_MS))
    return new SimulatedServer({ clock, handler: machine.handle })
  })
  client.use(new Map(instances.map((server, i) => [`e${i}`, server])))
  const seconds = UNTIL / 1_000
  const sent: number[] = new Array(seconds).fill(0)
  const good: number[] = new Array(seconds).fill(0)
  let attempts = 0
  offer(
    clock,
    new Chance(seed + 1),
    (now) => CAPACITY * (now >= BURST_FROM && now < BURST_TO ? BURST : BASE),
    UNTIL,
    () => {
      const second = Math.floor(clock.now() / 1_000)
      sent[second]! += 1
      client.send((call, ended) => {
        attempts += call.attempts
        if (ended.verdict === 'success') good[second]! += 1
      })
    },
  )
  clock.advance(UNTIL + 20_000)
  client.close()
  const share = (from: number, to: number): number => (100 * sum(good.slice(from, to))) / sum(sent.slice(from, to))
  const end = BURST_TO / 1_000
  let recovered = 0
  while (
    end + recovered + 3 <= seconds &&
    [0, 1, 2].some((i) => share(end + recovered + i, end + recovered + i + 1) < 95)
  ) {
    recovered += 1
  }
  return {
    policy: name,
    before: share(0, BURST_FROM / 1_000),
    after10s: share(end + 9, end + 10),
    atTheEnd: share(seconds - 5, seconds),
    recoveredAfterS: end + recovered + 3 > seconds ? Number.POSITIVE_INFINITY : recovered,
    attemptsPerCall: attempts / sum(sent),
  }
}

function sum(of: readonly number[]): number {
  return of.reduce((a, b) => a + b, 0)
}
