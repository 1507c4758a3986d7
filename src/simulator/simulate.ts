/**
 * Runs a scenario: real destinations with their policies, over simulated servers and time. The same
 * scenario gives the same figures.
 */
import { SILENT, type Telemetry } from '../core/telemetry.ts'
import type { ServicePolicy } from '../discovery/policy-document.ts'
import { HASHING_BALANCERS } from '../resilience/balancing-settings.ts'
import type { EventSink } from '../telemetry/events.ts'
import { FakeClock } from '../testing/fake-clock.ts'
import { Chance } from './chance.ts'
import { type MadeInstance, makeInstances } from './instances.ts'
import { at, offer } from './load.ts'
import { type Phase, phasesOf } from './phases.ts'
import { reachedServices } from './reached-services.ts'
import { RoutedClient } from './routed-client.ts'
import { faultyOf, type Scenario, serverName } from './scenario.ts'
import { type Interval, Timeline } from './timeline.ts'

export interface Simulation {
  readonly total: Interval
  /** Of a second each, or longer, so that there are at most 60. */
  readonly rows: readonly Interval[]
  readonly phases: readonly (Phase & Interval)[]
  readonly traffic: readonly ServerTraffic[]
  /** How often each event of the clients came. */
  readonly events: Readonly<Record<string, number>>
  /** Failed calls among them: without an end when the simulation ended. */
  readonly unanswered: number
}

/** The attempts that one server got. */
export interface ServerTraffic {
  readonly server: string
  readonly service: string
  readonly zone: string | undefined
  readonly version: string | undefined
  /** That it has at some time, as they are written; without those of all servers. */
  readonly faults: readonly string[]
  /** By phase. */
  readonly attempts: readonly number[]
}

/** Retries and hedges can make several attempts of a call; more than these take too long. */
export const MOST_ATTEMPTS = 2_000_000
/** Until all calls have ended. */
const LONGEST_TAIL_MS = 600_000
const SLICE_MS = 100
const KEYS = 1_000

/** @throws RangeError if there are more attempts than `mostAttempts` */
export function simulate(scenario: Scenario, mostAttempts = MOST_ATTEMPTS): Simulation {
  const { documents, service, seed, durationMs, zones } = scenario
  const clock = new FakeClock({ seed })
  const policies = reachedServices(documents, service)
  const clients: RoutedClient[] = []
  const made = new Map<string, readonly MadeInstance[]>()
  for (const [name, policy] of policies) {
    const onListening: Parameters<typeof makeInstances>[4] = (id, server) => {
      for (const client of clients) client.replace(id, server)
    }
    made.set(name, makeInstances(clock, scenario, name, policy, onListening))
  }
  for (const fault of scenario.faults) {
    for (const index of fault.servers) {
      const { faults } = made.get(service)![index]!
      at(clock, fault.fromMs, () => faults.begin(fault.kind))
      if (fault.untilMs < Number.POSITIVE_INFINITY) at(clock, fault.untilMs, () => faults.end(fault.kind))
    }
  }
  const observed = new Observed(clock, scenario)
  const keys = new Chance(seed + 1)
  for (let i = 0; i < scenario.clients; i++) {
    const client = new RoutedClient(clock, zones > 1 ? `zone-${(i % zones) + 1}` : undefined, {
      ...{ id: `client-${i + 1}`, caller: scenario.from, request: scenario.request },
      ...{ telemetry: observed.telemetry, events: observed.events },
      hashKey: hashes(policies.get(service)!) ? () => `key-${keys.integer(1, KEYS)}` : undefined,
    })
    clients.push(client)
    for (const [name, instances] of made) {
      client.enforce(name, policies.get(name)!)
      client.use(
        name,
        instances.map(({ placed }) => placed),
      )
    }
    const perSecond = scenario.perSecond / scenario.clients
    offer(
      clock,
      new Chance(seed + 10 + i),
      () => perSecond,
      durationMs,
      () => observed.send(client),
    )
  }
  run(clock, durationMs, observed, mostAttempts)
  const result = observed.result(made)
  for (const client of clients) client.close()
  return result
}

function hashes({ settings, routing }: ServicePolicy): boolean {
  const balancers = [settings.balancer, ...(routing?.routes ?? []).map(({ policy }) => policy.balancer)]
  return balancers.some((balancer) => HASHING_BALANCERS.has(balancer))
}

function run(clock: FakeClock, durationMs: number, observed: Observed, most: number): void {
  while (clock.now() < durationMs || (observed.open > 0 && clock.now() < durationMs + LONGEST_TAIL_MS)) {
    clock.advance(SLICE_MS)
    if (observed.attempts > most) throw new RangeError(`more than ${most} attempts`)
  }
}

const MOST_ROWS = 60
const ROWS_MS = [1_000, 2_000, 5_000, 10_000, 30_000, 60_000] as const

function rowMs(durationMs: number): number {
  return ROWS_MS.find((ms) => durationMs / ms <= MOST_ROWS) ?? ROWS_MS.at(-1)!
}

class Observed {
  /** Calls that have not ended. */
  open = 0
  attempts = 0
  readonly events: EventSink
  readonly telemetry: Telemetry
  readonly #clock: FakeClock
  readonly #scenario: Scenario
  readonly #timeline: Timeline
  readonly #phases: readonly Phase[]
  /** Attempts by server and phase. */
  readonly #arrived = new Map<string, number[]>()
  readonly #events = new Map<string, number>()
  #phase = 0
  #over = false

  constructor(clock: FakeClock, scenario: Scenario) {
    this.#clock = clock
    this.#scenario = scenario
    this.#timeline = new Timeline(scenario.durationMs)
    this.#phases = phasesOf(scenario)
    for (const { fromMs } of this.#phases.slice(1)) {
      at(clock, fromMs, () => {
        this.#phase += 1
      })
    }
    this.events = {
      emit: (name) => {
        if (!this.#over) this.#events.set(name, (this.#events.get(name) ?? 0) + 1)
      },
    }
    const faulty = new Set(faultyOf(scenario).map((i) => serverName(scenario.service, i)))
    this.telemetry = {
      ...SILENT,
      attemptStarted: ({ call, endpoint, number, hedge }) => {
        this.attempts += 1
        if (number > 0 || hedge) this.#timeline.retried(call.startedAt)
        const { id } = endpoint!
        this.#timeline.attempted(clock.now(), faulty.has(id))
        this.#countsOf(id)[this.#phase]! += 1
      },
    }
  }

  send(client: RoutedClient): void {
    this.open += 1
    this.#timeline.began(this.#clock.now())
    client.send(this.#scenario.service, (call, { verdict }) => {
      if (this.#over) return
      this.open -= 1
      if (verdict === 'success') this.#timeline.succeeded(call.startedAt, this.#clock.now() - call.startedAt)
    })
  }

  result(made: ReadonlyMap<string, readonly MadeInstance[]>): Simulation {
    this.#over = true
    const { durationMs, faults, servers, service: called } = this.#scenario
    return {
      total: this.#timeline.between(0, durationMs),
      rows: this.#timeline.rows(rowMs(durationMs)),
      phases: this.#phases.map((phase) => ({ ...phase, ...this.#timeline.between(phase.fromMs, phase.untilMs) })),
      traffic: [...made].flatMap(([service, instances]) =>
        instances.map(({ placed: { id, zone, version } }, i) => ({
          ...{ server: id, service, zone, version },
          faults: service === called ? own(faults, i, servers) : [],
          attempts: this.#countsOf(id),
        })),
      ),
      events: Object.fromEntries([...this.#events].sort(([a], [b]) => (a < b ? -1 : 1))),
      unanswered: this.open,
    }
  }

  #countsOf(id: string): number[] {
    let counts = this.#arrived.get(id)
    if (counts === undefined) {
      counts = this.#phases.map(() => 0)
      this.#arrived.set(id, counts)
    }
    return counts
  }
}

function own(faults: Scenario['faults'], server: number, servers: number): readonly string[] {
  const some = faults.filter((fault) => fault.servers.length < servers && fault.servers.includes(server))
  return some.map(({ name }) => name)
}
