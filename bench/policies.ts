/**
 * Measures each feature of a call without a transport, in ns, bytes and timers, beside other
 * libraries that guard functions. `node --expose-gc bench/policies.ts [--quick] [--json]`.
 */
import { ConsecutiveBreaker, circuitBreaker, handleAll, retry, TimeoutStrategy, timeout, wrap } from 'cockatiel'
import OpossumCircuitBreaker from 'opossum'
import pRetry from 'p-retry'
import { attemptHeaders } from '../src/client/http/prepare-request.ts'
import { Attempt } from '../src/core/attempt.ts'
import { Call } from '../src/core/call.ts'
import { SUCCESS } from '../src/core/outcome.ts'
import type { Policy } from '../src/core/policy.ts'
import { parseTraceparent } from '../src/core/trace-context.ts'
import { endAttempt, startAttempt, startCall } from '../src/resilience/execution.ts'
import { guard } from '../src/resilience/guard/guard.ts'
import { CONCURRENCY_LIMIT, ConcurrencyLimitPolicy } from '../src/resilience/limits/concurrency-limit.ts'
import { RATE_LIMIT, RateLimitPolicy } from '../src/resilience/limits/rate-limit.ts'
import type { Stack } from '../src/resilience/stack.ts'
import { createTelemetry } from '../src/telemetry/call-telemetry.ts'
import { Metrics } from '../src/telemetry/metrics.ts'
import { clock, compile, KIND, newCall } from './compiled-stack.ts'
import { type Options, type Report, runQuestions } from './harness.ts'
import { bytes, nanoseconds, nanosecondsOf } from './in-process.ts'
import { picks } from './picks.ts'
import { routedCalls } from './routed-calls.ts'
import { routes } from './routes.ts'

/**
 * Eight policies; besides them every call pays into the retry budget, and an endpoint is picked
 * among ten.
 */
function fullStack(): Stack {
  const { stack } = compile(10)
  const limits = (): Policy[] => [
    new ConcurrencyLimitPolicy(CONCURRENCY_LIMIT.resolve({ concurrency: 1_000 })),
    new RateLimitPolicy(RATE_LIMIT.resolve({ rate: 1e6, burst: 1e6 }), clock),
  ]
  return { ...stack, service: [...limits(), ...stack.service], endpoint: [...limits(), ...stack.endpoint] }
}

function callThrough(stack: Stack): () => void {
  return () => {
    const call = newCall()
    startCall(stack, call)
    const attempt = new Attempt(call)
    if (startAttempt(stack, attempt) === undefined) endAttempt(stack, attempt, SUCCESS)
  }
}

function openRejectNs(): number {
  const { stack, state } = compile(10)
  state.circuit!.circuit.open()
  return nanoseconds(10_000, () => {
    const call = newCall()
    startCall(stack, call)
    startAttempt(stack, new Attempt(call))
  })
}

/**
 * Timers started by 10,000 services with all their policies, each of which has served a call. Those
 * that keep no process alive are not among the active resources, so starts are counted, too.
 */
function idleTimers(make: () => void): number {
  const { setTimeout, setInterval } = globalThis
  const active = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
  // The stall watch is one for the whole process.
  clock.stalledMsSince(clock.now())
  const before = active()
  let started = 0
  const counting: ProxyHandler<(...given: never[]) => unknown> = {
    apply(start, on, given) {
      started += 1
      return Reflect.apply(start, on, given)
    },
  }
  Object.assign(globalThis, {
    setTimeout: new Proxy(setTimeout, counting),
    setInterval: new Proxy(setInterval, counting),
  })
  for (let i = 0; i < 10_000; i++) make()
  Object.assign(globalThis, { setTimeout, setInterval })
  return Math.max(started, active() - before)
}

/**
 * What others take to guard a function that resolves at once, and what our door for functions takes
 * with the same policies.
 */
async function others(): Promise<Record<string, number>> {
  const work = async (): Promise<number> => 1
  const opossum = new OpossumCircuitBreaker(work, { timeout: 1_000, errorThresholdPercentage: 50 })
  const cockatiel = wrap(
    retry(handleAll, { maxAttempts: 3 }),
    circuitBreaker(handleAll, { halfOpenAfter: 5_000, breaker: new ConsecutiveBreaker(5) }),
    timeout(1_000, TimeoutStrategy.Cooperative),
  )
  const guarded = guard(work, { name: 'bench', timeout: '1s', retry: { attempts: 3 }, circuitBreaker: {} })
  const rows: Record<string, () => Promise<unknown>> = {
    'bare function': work,
    'guard: retry, breaker, timeout': () => guarded(),
    'opossum: breaker, timeout': () => opossum.fire(),
    'p-retry: retry': () => pRetry(work, { retries: 2 }),
    'cockatiel: retry, breaker, timeout': () => cockatiel.execute(work),
  }
  const figures: Record<string, number> = {}
  for (const [name, row] of Object.entries(rows)) figures[name] = Math.round(await nanosecondsOf(1_000, row))
  opossum.shutdown()
  return figures
}

/**
 * Of several works by turns, so that what the compiler learns of one counts for all: the best round
 * of each.
 */
function nanosecondsByTurns(works: readonly (() => void)[]): number[] {
  const bests = works.map(() => Number.POSITIVE_INFINITY)
  for (let round = 0; round < 200; round++) {
    for (const [i, work] of works.entries()) {
      const startedAt = performance.now()
      for (let n = 0; n < 1_000; n++) work()
      bests[i] = Math.min(bests[i]!, (performance.now() - startedAt) * 1e3)
    }
  }
  return bests
}

/** What a call costs with everything, and how much less without each part. */
function shares(full: Stack): Record<string, string | number>[] {
  const metered = createTelemetry({ side: 'client', service: 'bench', metrics: new Metrics(), clock })
  const all: Stack = { ...full, telemetry: metered }
  const parts = [...full.service, ...full.endpoint]
  const without = parts.map((policy) => ({
    ...all,
    service: full.service.filter((each) => each !== policy),
    endpoint: full.endpoint.filter((each) => each !== policy),
  }))
  const stacks = [all, { ...full, service: [], endpoint: [] }, full, ...without]
  const [allNs, noneNs, unmeteredNs, ...withoutNs] = nanosecondsByTurns(stacks.map(callThrough))
  return [
    { feature: 'all of the rest', 'ns/call': Math.round(allNs!) },
    { feature: 'call, attempt, choice among ten, budget', 'ns/call': Math.round(noneNs!) },
    ...parts.map((policy, i) => ({
      feature: `${policy.name}, of the ${full.service.includes(policy) ? 'service' : 'endpoint'}`,
      'ns/call': Math.round(allNs! - withoutNs[i]!),
    })),
    { feature: 'metrics', 'ns/call': Math.round(allNs! - unmeteredNs!) },
    ...transportShares(),
  ]
}

/** What goes on the wire, and the timer of a deadline. */
function transportShares(): Record<string, string | number>[] {
  const headers = (deadlineAt: number, traced: boolean): (() => void) => {
    const call = new Call(KIND, 0, deadlineAt, undefined)
    if (traced) call.trace = parseTraceparent('00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01')
    const attempt = new Attempt(call)
    return () => {
      attemptHeaders(attempt, { headers: [], host: undefined }, 0)
    }
  }
  const [bareNs, deadlineNs, traceNs, timerNs] = nanosecondsByTurns([
    headers(Number.POSITIVE_INFINITY, false),
    headers(10_000, false),
    headers(Number.POSITIVE_INFINITY, true),
    () => clock.stopTimer(clock.startTimer(10_000, () => {}, undefined)),
  ])
  return [
    { feature: 'deadline: its header', 'ns/call': Math.round(deadlineNs! - bareNs!) },
    { feature: 'deadline: its timer', 'ns/call': Math.round(timerNs!) },
    { feature: 'trace context: its header', 'ns/call': Math.round(traceNs! - bareNs!) },
  ]
}

export async function policies({ quick }: Options): Promise<Report> {
  const full = fullStack()
  const through = callThrough(full)
  const rows = shares(full)
  const figures: Record<string, unknown> = {
    callNs: rows[0]!['ns/call'],
    callBytes: bytes(500, through),
    openRejectNs: Math.round(openRejectNs()),
    idleTimersPer10kCircuits: idleTimers(() => callThrough(compile(1).stack)()),
  }
  if (!quick) {
    const circuits: OpossumCircuitBreaker[] = []
    figures.idleTimersPer10kOpossumCircuits = idleTimers(() =>
      circuits.push(new OpossumCircuitBreaker(async () => 1, {})),
    )
    for (const circuit of circuits) circuit.shutdown()
    for (const [library, ns] of Object.entries(await others())) figures[`guardNs ${library}`] = ns
  }
  return {
    title: 'What each feature of a call costs, without a transport',
    rows: [
      ...rows,
      ...Object.entries(figures).map(([feature, value]) => ({ feature, 'ns/call': '', other: String(value ?? '') })),
    ],
    targets: [],
    figures: { policies: { ...figures, shares: Object.fromEntries(rows.map((row) => [row.feature, row['ns/call']])) } },
  }
}

if (import.meta.main) await runQuestions([policies, picks, routes, routedCalls])
