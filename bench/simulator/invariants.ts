/**
 * Worlds full of random faults, one a seed, and what must hold in all of them: every call settles
 * once and by its deadline, every admitted attempt is settled, the retry budget is kept, and in the
 * end nothing is held: no permit, no probe, no timer.
 */
import type { Call } from '../../src/core/call.ts'
import type { Endpoint } from '../../src/core/endpoint.ts'
import { type Outcome, outcome, SUCCESS } from '../../src/core/outcome.ts'
import { BALANCER_NAMES } from '../../src/resilience/balancing-settings.ts'
import { SERVICE, type ServiceOptions } from '../../src/resilience/settings.ts'
import { compileServerStack, ServerLimits } from '../../src/resilience/stack.ts'
import type { Instances } from '../../src/simulator/call.ts'
import { Chance } from '../../src/simulator/chance.ts'
import { at, offer } from '../../src/simulator/load.ts'
import { Machine } from '../../src/simulator/machine.ts'
import { answersAfter, type Handler, hangs, type ServerParts, SimulatedServer } from '../../src/simulator/server.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import { SimulatedClient } from './client.ts'
import { Ledger } from './ledger.ts'
import { LIES } from './lies.ts'

/** Load for so long, then time for everything to end. */
const LOAD_MS = 4_000
const REST_MS = 60_000

interface World {
  readonly clock: FakeClock
  readonly chance: Chance
  /** What servers report, distances and streams have draws apart. */
  readonly mixed: Chance
  readonly breaches: Set<string>
  readonly clients: SimulatedClient[]
  readonly ledgers: Ledger[]
  readonly limits: ServerLimits[]
  readonly endpoints: Set<Endpoint>
}

/** What was broken in the world of `seed`; empty if nothing was. */
export function breachesOf(seed: number): readonly string[] {
  const clock = new FakeClock({ seed })
  const chance = new Chance(seed)
  const world: World = {
    clock,
    chance,
    mixed: new Chance(seed + 500_000),
    breaches: new Set(),
    clients: [],
    ledgers: [],
    limits: [],
    endpoints: new Set(),
  }
  const leaf = makeTier(world, undefined)
  const top = chance.happens(0.4) ? makeTier(world, leaf) : leaf
  const perSecond = chance.between(20, 200)
  let unsettled = 0
  const send = (): void => {
    unsettled += 1
    let told = false
    const call = top.send(
      (ended) => {
        unsettled -= 1
        if (told) world.breaches.add('a caller was told twice')
        told = true
        checkDeadline(world, ended)
      },
      undefined,
      chance.happens(0.3) ? chance.between(1, 300) : undefined,
    )
    if (chance.happens(0.1)) clock.startTimer(chance.between(0, 400), () => call.cancel('changed its mind'), undefined)
  }
  offer(clock, chance, () => perSecond, LOAD_MS, send)
  for (let stalls = chance.integer(0, 2); stalls > 0; stalls--) {
    const ms = chance.between(5, 500)
    at(clock, chance.between(0, LOAD_MS), () => clock.stall(ms))
  }
  clock.advance(LOAD_MS + REST_MS)
  for (const client of world.clients) client.close()
  if (unsettled > 0) world.breaches.add('a call never settled')
  checkNothingHeld(world)
  return [...world.breaches]
}

/**
 * A client and the instances it calls, which answer themselves or, for a middle tier, by calling
 * `below`.
 */
function makeTier(world: World, below: SimulatedClient | undefined): SimulatedClient {
  const { clock, chance, mixed, breaches } = world
  const ledger = new Ledger(clock, breaches)
  const client = new SimulatedClient({
    clock,
    options: randomOptions(chance),
    telemetry: ledger.telemetry,
    idempotent: chance.happens(0.8),
    streaming: mixed.happens(0.1),
    compiled: (stack, settings) => ledger.watch(stack, settings.retry.budget),
  })
  world.clients.push(client)
  world.ledgers.push(ledger)
  const instances = new Map<string, SimulatedServer | undefined>()
  const servers = Array.from({ length: chance.integer(1, 8) }, (_, i) => {
    const server = new SimulatedServer({
      ...{ clock, handler: usual(world, below), stack: serverStack(world) },
      ...{ reports: mixed.oneOf(REPORTS), roundTripMs: mixed.oneOf([0, 1, 20]) },
      ...(mixed.happens(0.2) && { delayMs: () => (mixed.happens(0.1) ? mixed.between(100, 1_000) : 0) }),
    })
    instances.set(`e${i}`, server)
    return server
  })
  const use = (of: Instances, intended: boolean): void => {
    client.use(of, intended)
    for (const endpoint of client.cluster.endpoints) world.endpoints.add(endpoint)
  }
  use(instances, true)
  for (let faults = chance.integer(0, 8); faults > 0; faults--) {
    const server = chance.oneOf(servers)
    const from = chance.between(0, LOAD_MS)
    const ill = fault(world)
    at(clock, from, () => {
      server.handler = ill
    })
    at(clock, from + chance.between(10, 3_000), () => {
      server.handler = usual(world, below)
    })
  }
  for (let changes = chance.integer(0, 3); changes > 0; changes--) {
    const kind = chance.oneOf(['unreachable', 'gone', 'all gone', 'options'] as const)
    const from = chance.between(0, LOAD_MS)
    const until = from + chance.between(10, 3_000)
    const intended = chance.happens(0.5)
    const id = chance.oneOf([...instances.keys()])
    const without = new Map([...instances].filter(([each]) => each !== id))
    at(clock, from, () => {
      if (kind === 'unreachable') client.instances = new Map([...instances, [id, undefined]])
      else if (kind === 'gone') use(without, intended)
      else if (kind === 'all gone') use(new Map(), intended)
      else client.configure(randomOptions(chance))
    })
    at(clock, until, () => use(instances, true))
  }
  return client
}

/** Old servers, honest ones, and others. */
const REPORTS: readonly NonNullable<ServerParts['reports']>[] = [false, true, ...Object.values(LIES)]

function randomOptions(chance: Chance): ServiceOptions {
  return {
    timeout: chance.between(20, 2_000),
    retry: {
      attempts: chance.integer(1, 4),
      perTryTimeout: chance.between(10, 500),
      budget: { ratio: chance.oneOf([0, 0.1, 0.2, 1]), minPerSecond: chance.oneOf([0, 3, 10]) },
    },
    ...(chance.happens(0.3) && { hedge: { after: Math.max(1, chance.between(1, 60)), maxExtraLoad: 0.2 } }),
    ...(chance.happens(0.5) && { throttle: false }),
    // Quick to open and to probe, so that four seconds see many of their states.
    circuitBreaker: chance.happens(0.7) && {
      errorThreshold: chance.between(0.1, 0.6),
      window: chance.between(1_000, 10_000),
      minimumCalls: chance.integer(1, 20),
      resetAfter: chance.between(20, 2_000),
    },
    ejection: chance.happens(0.8) && {
      consecutiveFailures: chance.integer(1, 5),
      minimumCalls: chance.integer(2, 10),
      baseTime: chance.between(20, 1_000),
      maxTime: 2_000,
      maxShare: chance.oneOf([0.5, 1]),
    },
    balancer: chance.oneOf(BALANCER_NAMES),
  }
}

function serverStack(world: World) {
  const { clock, chance } = world
  const { limits } = SERVICE.resolve({
    limits: {
      ...(chance.happens(0.5) && { concurrency: chance.happens(0.5) ? ('adaptive' as const) : chance.integer(1, 20) }),
      ...(chance.happens(0.3) && { rate: chance.between(1, 100) }),
    },
  })
  const state = new ServerLimits(clock)
  state.configure(limits)
  world.limits.push(state)
  const ledger = new Ledger(clock, world.breaches)
  world.ledgers.push(ledger)
  return ledger.watch(compileServerStack({ state, telemetry: ledger.telemetry, clock }), {
    ratio: 0,
    minPerSecond: 0,
  })
}

function usual(world: World, below: SimulatedClient | undefined): Handler {
  const { clock, chance } = world
  if (below !== undefined) {
    return (call, reply) => {
      below.send((inner, ended) => {
        checkDeadline(world, inner)
        reply(ended.verdict === 'success' || ended.verdict === 'cancelled' ? ended : SERVER_ERROR)
      }, call)
    }
  }
  const mean = chance.between(1, 50)
  if (chance.happens(0.5)) return new Machine(clock, chance.integer(1, 8), () => chance.exponential(mean), 100).handle
  return answersAfter(clock, () => chance.exponential(mean))
}

const SERVER_ERROR = outcome('failure', 'server-error', undefined, 500)

function fault({ clock, chance }: World): Handler {
  const soon = (end: Outcome): Handler => answersAfter(clock, () => chance.exponential(3), end)
  return chance.oneOf<Handler>([
    hangs,
    answersAfter(clock, () => chance.exponential(800)),
    soon(SERVER_ERROR),
    soon(outcome('failure', 'overloaded', undefined, 503)),
    soon(outcome('failure', 'overloaded', undefined, 429, chance.between(-1, 1_000))),
    soon(outcome('failure', 'connection-lost')),
    soon(outcome('refused', 'refused-by-peer', undefined, 503)),
    soon(outcome('refused', 'identity-rejected')),
    soon(outcome('refused', 'refused-by-peer')),
    (call, reply) => soon(chance.happens(0.3) ? SERVER_ERROR : SUCCESS)(call, reply),
  ])
}

/** Timers cannot fire while our own loop stands still. */
function checkDeadline({ clock, breaches }: World, call: Call): void {
  const late = clock.now() - call.deadlineAt
  if (late > clock.stalledMsSince(call.startedAt) + 1e-6) breaches.add('a call settled after its deadline')
  if (!call.settled) breaches.add('a caller was told of a call that was not settled')
}

function checkNothingHeld(world: World): void {
  const { clock, breaches } = world
  for (const ledger of world.ledgers) ledger.close()
  for (const { concurrency } of world.limits) {
    if (concurrency !== undefined && concurrency.inFlight !== 0) breaches.add('a permit was not given back')
  }
  for (const endpoint of world.endpoints) {
    if (endpoint.pending !== 0 || endpoint.oldest !== undefined || endpoint.newest !== undefined) {
      breaches.add('an endpoint counts an attempt that has ended')
    }
  }
  for (const { state } of world.clients) {
    if (state.ejection.probing !== 0) breaches.add('a probe was not given back')
    if (state.circuit?.probing === true) breaches.add('the probe of a breaker was not given back')
  }
  if (clock.timers !== 0) breaches.add('a timer was left behind')
}

export interface Invariants {
  readonly seeds: number
  /** Worlds in which anything was broken. */
  readonly broken: number
  /** `seed: what`, the first few. */
  readonly examples: readonly string[]
}

export function invariants(from: number, seeds: number): Invariants {
  const examples: string[] = []
  let broken = 0
  for (let seed = from; seed < from + seeds; seed++) {
    const breaches = breachesOf(seed)
    if (breaches.length === 0) continue
    broken += 1
    if (examples.length < 20) examples.push(`${seed}: ${breaches.join('; ')}`)
  }
  return { seeds, broken, examples }
}
