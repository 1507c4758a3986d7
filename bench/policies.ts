/**
 * What the policies cost by themselves, without a transport: ns per operation and bytes per idle endpoint. No timed test: it
 * prints a table, and with `--json` all figures as its last line. Run with `node --expose-gc bench/policies.ts`.
 */
import { createBalancer } from '../src/client/balancing/balancer.ts'
import { PeakEwma } from '../src/client/balancing/peak-ewma.ts'
import { Attempt } from '../src/core/attempt.ts'
import { Call, type Route } from '../src/core/call.ts'
import { systemClock } from '../src/core/clock.ts'
import { type Cluster, Endpoint } from '../src/core/endpoint.ts'
import { SUCCESS } from '../src/core/outcome.ts'
import type { Policy } from '../src/core/policy.ts'
import { SILENT } from '../src/core/telemetry.ts'
import { BALANCER_NAMES, type BalancerName } from '../src/resilience/balancing-settings.ts'
import { ConcurrencyLimitPolicy } from '../src/resilience/concurrency-limit.ts'
import { endAttempt, startAttempt, startCall } from '../src/resilience/execution.ts'
import { RateLimitPolicy } from '../src/resilience/rate-limit.ts'
import { ServiceState } from '../src/resilience/service-state.ts'
import { resolveService } from '../src/resilience/settings.ts'
import { compileStack, type Stack } from '../src/resilience/stack.ts'

const clock = systemClock
const ROUTE: Route = { service: 'inventory', method: 'GET', protocol: 'http', streaming: false, idempotent: true }

function endpoints(count: number): Endpoint[] {
  const metadata = Object.freeze({})
  return Array.from(
    { length: count },
    (_, i) =>
      new Endpoint('inventory', {
        id: `instance-${i}`,
        address: '127.0.0.1',
        port: 1024 + i,
        protocol: 'http',
        tls: true,
        zone: undefined,
        version: undefined,
        weight: 1,
        metadata,
      }),
  )
}

function compile(count: number): { stack: Stack; state: ServiceState; cluster: Cluster } {
  const state = new ServiceState('inventory', clock)
  const balancer = new PeakEwma(clock, state.ejection)
  const all = endpoints(count)
  const cluster = { service: 'inventory', endpoints: all, picker: balancer.picker(all), whenAvailable: () => () => {} }
  const stack = compileStack({ settings: resolveService(), state, cluster, balancer, telemetry: SILENT, clock })
  return { stack, state, cluster }
}

function newCall(): Call {
  return new Call(ROUTE, 0, Number.POSITIVE_INFINITY, undefined)
}

/** Best of many short rounds, because everything else on the machine only adds. */
function nanoseconds(operations: number, work: () => void): number {
  let best = Number.POSITIVE_INFINITY
  for (let round = 0; round < 60; round++) {
    const startedAt = performance.now()
    for (let i = 0; i < operations; i++) work()
    best = Math.min(best, ((performance.now() - startedAt) * 1e6) / operations)
  }
  return best
}

/** Eight: breaker, two limits of the service, budget; ejection, estimate, two limits of the endpoint. */
function callNs(): number {
  const { stack } = compile(10)
  const limits = (): Policy[] => [
    new ConcurrencyLimitPolicy({ concurrency: 1_000 }),
    new RateLimitPolicy({ ratePerSecond: 1e6, burst: 1e6 }, clock),
  ]
  const full: Stack = {
    ...stack,
    service: [...limits(), ...stack.service],
    endpoint: [...limits(), ...stack.endpoint],
  }
  return nanoseconds(10_000, () => {
    const call = newCall()
    startCall(full, call)
    const attempt = new Attempt(call)
    if (startAttempt(full, attempt) === undefined) endAttempt(full, attempt, SUCCESS)
  })
}

/** With the instant at hand, as the execution has it, and with keys for those that hash. */
function pickNs(count: number, name: BalancerName = 'peak-ewma'): number {
  const { state, cluster } = compile(count)
  const picker = createBalancer(name, clock, state.ejection).balancer.picker(cluster.endpoints)
  const now = clock.now()
  for (const endpoint of cluster.endpoints) {
    endpoint.estimateMs = 5 + Math.random()
    endpoint.estimatedAt = now
  }
  const call = newCall()
  const keys = Array.from({ length: 1_000 }, (_, i) => `customer-${i}`)
  let next = 0
  return nanoseconds(10_000, () => {
    next = (next + 1) % keys.length
    call.hashKey = keys[next]
    picker.pick(call, now)
  })
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

function collected(gc: () => void): NodeJS.MemoryUsage {
  gc()
  gc()
  return process.memoryUsage()
}

function bytesPerIdleEndpoint(): number | undefined {
  const gc = globalThis.gc
  if (gc === undefined) return undefined
  const { stack, cluster } = compile(1)
  const before = collected(gc)
  const all = endpoints(10_000)
  const balancer = stack.endpoint.find((policy) => policy instanceof PeakEwma)!
  const full: Stack = { ...stack, cluster: { ...cluster, endpoints: all, picker: balancer.picker(all) } }
  let next = 0
  const each: Stack = { ...full, cluster: { ...full.cluster!, picker: { pick: () => all[next++ % all.length] } } }
  for (let i = 0; i < all.length; i++) {
    const call = newCall()
    startCall(each, call)
    const attempt = new Attempt(call)
    if (startAttempt(each, attempt) === undefined) endAttempt(each, attempt, SUCCESS)
  }
  const after = collected(gc)
  const used = after.heapUsed + after.arrayBuffers - before.heapUsed - before.arrayBuffers
  return Math.round(used / all.length)
}

const figures = {
  callNs: Math.round(callNs()),
  pickNs10: Math.round(pickNs(10)),
  pickNs10k: Math.round(pickNs(10_000)),
  ...Object.fromEntries(BALANCER_NAMES.map((name) => [`pickNs10k ${name}`, Math.round(pickNs(10_000, name))])),
  openRejectNs: Math.round(openRejectNs()),
  bytesPerIdleEndpoint: bytesPerIdleEndpoint(),
}
console.table(figures)
if (process.argv.includes('--json')) console.log(JSON.stringify(figures))
