/**
 * Measures the choice of an endpoint, in ns and bytes, and the memory of each endpoint. `node
 * --expose-gc bench/picks.ts [--quick] [--json]`.
 */
import { createBalancer } from '../src/client/balancing/balancer.ts'
import { LeastLoad } from '../src/client/balancing/least-load.ts'
import { Attempt } from '../src/core/attempt.ts'
import type { Endpoint } from '../src/core/endpoint.ts'
import type { LoadReport } from '../src/core/load-report.ts'
import { SUCCESS } from '../src/core/outcome.ts'
import { BALANCER_NAMES, type BalancerName } from '../src/resilience/balancing-settings.ts'
import { endAttempt, startAttempt, startCall } from '../src/resilience/execution.ts'
import type { Stack } from '../src/resilience/stack.ts'
import { clock, compile, endpoints, newCall } from './compiled-stack.ts'
import { type Options, type Report, runQuestions, single, type Target } from './harness.ts'
import { bytes, collected, nanoseconds } from './in-process.ts'

const SIZES = [10, 100, 1_000, 10_000]
const MOST = 10_000
/** The last answers that a balancer may remember. */
const REMEMBERED = 8
const REPORT: LoadReport = Object.freeze({ inFlight: 2, latencyMs: 5, servedMs: 5 })
/** Half a box of V8, 16 bytes, is room for what the measurement allocates. */
const AT_MOST = { ns: 250, bytes: 8, bytesPerEndpoint: 1_024 } as const

/**
 * With the instant at hand, as the execution has it, and with keys for those that hash. The memory
 * of those that have one is full.
 */
function pickOf(count: number, name: BalancerName, reports = false): () => void {
  const { state, cluster } = compile(count)
  const { balancer, policy } = createBalancer(name, clock, state.ejection)
  const picker = balancer.picker(cluster.endpoints)
  const now = clock.now()
  const call = newCall()
  const answer = (endpoint: Endpoint): void => {
    const attempt = new Attempt(call)
    attempt.endpoint = endpoint
    attempt.startedAt = now - 5 - Math.random()
    attempt.endedAt = now
    if (reports) attempt.report = REPORT
    policy?.settle(attempt, SUCCESS)
  }
  for (const endpoint of cluster.endpoints) answer(endpoint)
  for (let i = 0; i < REMEMBERED; i++) answer(picker.pick(call, now)!)
  const keys = Array.from({ length: 1_000 }, (_, i) => `customer-${i}`)
  let next = 0
  return () => {
    next = (next + 1) % keys.length
    call.hashKey = keys[next]
    picker.pick(call, now)
  }
}

/** Of an endpoint by itself, and of what all policies and its last report add once it is called. */
function bytesPerEndpoint(): { address: number; called: number } | undefined {
  const gc = globalThis.gc
  if (gc === undefined) return undefined
  const used = (): number => {
    const { heapUsed, arrayBuffers } = collected(gc)
    return heapUsed + arrayBuffers
  }
  const { stack, state, cluster } = compile(1)
  const before = used()
  const all = endpoints(MOST)
  const made = used()
  state.ejection.watch(all)
  const balancer = stack.endpoint.find((policy) => policy instanceof LeastLoad)!
  const full: Stack = { ...stack, cluster: { ...cluster, endpoints: all, picker: balancer.picker(all) } }
  let next = 0
  const each: Stack = { ...full, cluster: { ...full.cluster!, picker: { pick: () => all[next++ % all.length] } } }
  for (let i = 0; i < all.length; i++) {
    const call = newCall()
    startCall(each, call)
    const attempt = new Attempt(call)
    attempt.report = REPORT
    if (startAttempt(each, attempt) === undefined) endAttempt(each, attempt, SUCCESS)
  }
  return { address: Math.round((made - before) / all.length), called: Math.round((used() - made) / all.length) }
}

export async function picks({ quick }: Options): Promise<Report> {
  const rows: Report['rows'][number][] = []
  const row = (count: number, name: BalancerName, reports = false): { ns: number; left: number | undefined } => {
    const pick = pickOf(count, name, reports)
    const ns = Math.round(nanoseconds(10_000, pick))
    const left = bytes(10_000, pick)
    rows.push({
      balancer: reports ? `${name}, reports` : name,
      endpoints: count,
      'ns/pick': ns,
      'bytes/pick': left ?? '',
    })
    return { ns, left }
  }
  // First, while the compiler knows no other balancer, as in a process with one.
  const targets: Target[] = []
  const figures: Record<string, number> = {}
  for (const reports of [true, false]) {
    for (const count of SIZES) {
      const { ns, left } = row(count, 'least-load', reports)
      const what = `least-load${reports ? ', reports' : ''}, ${count} endpoints`
      figures[what] = ns
      if (count !== MOST) continue
      targets.push({ what: `ns of a pick, ${what}`, found: single(ns), wanted: { atMost: AT_MOST.ns } })
      if (left === undefined) continue
      targets.push({ what: `bytes of a pick, ${what}`, found: single(left), wanted: { atMost: AT_MOST.bytes } })
    }
  }
  if (!quick) {
    for (const name of BALANCER_NAMES)
      if (name !== 'least-load') figures[`${name}, ${MOST} endpoints`] = row(MOST, name).ns
  }
  const memory = bytesPerEndpoint()
  if (memory !== undefined) {
    const what = `bytes of an endpoint, of which policies and report take ${memory.called}`
    const found = single(memory.address + memory.called)
    targets.push({ what, found, wanted: { atMost: AT_MOST.bytesPerEndpoint } })
  }
  return {
    title: 'What the choice of an endpoint costs',
    rows,
    targets,
    figures: { picks: { ns: figures, ...(memory !== undefined && { bytesPerEndpoint: memory }) } },
  }
}

if (import.meta.main) await runQuestions([picks])
