/** A least-load balancer with endpoints that answer as a test says, on a fake clock. */
import { expect } from 'vitest'
import { LeastLoad } from '../../../src/client/balancing/least-load.ts'
import { Attempt } from '../../../src/core/attempt.ts'
import type { Endpoint } from '../../../src/core/endpoint.ts'
import type { LoadReport } from '../../../src/core/load-report.ts'
import { type Outcome, SUCCESS } from '../../../src/core/outcome.ts'
import type { Picker } from '../../../src/core/picker.ts'
import { EjectionPolicy } from '../../../src/resilience/ejection.ts'
import { EJECTION } from '../../../src/resilience/ejection-settings.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'
import { callAt, endpoint } from '../../resilience/conformance.ts'

export function setUp(size: number, weights: readonly number[] = []) {
  const clock = new FakeClock({ seed: 5 })
  const ejection = new EjectionPolicy(EJECTION.resolve(), clock)
  const endpoints = Array.from({ length: size }, (_, i) => endpoint(`e${i}`, weights[i] ?? 1))
  const balancer = new LeastLoad(clock, ejection)
  const picker = balancer.picker(endpoints)
  ejection.watch(endpoints)
  clock.advance(10_000)

  /** An attempt that began `ms` ago ends. */
  const answer = (at: Endpoint, ms: number, end: Outcome = SUCCESS, report?: LoadReport): void => {
    const attempt = new Attempt(callAt(clock))
    attempt.endpoint = at
    attempt.startedAt = clock.now() - ms
    attempt.report = report
    balancer.settle(attempt, end)
  }
  /** All have answered after `ms`, too long ago to be picked for that. */
  const acquaint = (ms: number, rounds = 20): void => {
    for (let i = 0; i < rounds; i++) for (const each of endpoints) answer(each, ms)
    clock.advance(1_001)
  }
  const pick = (from: Picker = picker): Endpoint => from.pick(callAt(clock))!
  /** Picks and sends: the endpoint's answer is used up. */
  const send = (from: Picker = picker): Endpoint => {
    const at = pick(from)
    const attempt = new Attempt(callAt(clock))
    attempt.endpoint = at
    balancer.admit(attempt)
    return at
  }
  /** The part of picks that each gets; nothing is sent. */
  const shares = (picks: number, from: Picker = picker): number[] => {
    const counts = endpoints.map(() => 0)
    for (let i = 0; i < picks; i++) counts[endpoints.indexOf(pick(from))]! += 1
    return counts.map((count) => count / picks)
  }
  return { clock, ejection, endpoints, balancer, picker, answer, acquaint, pick, send, shares }
}

/** Endpoints that were picked once have a place in the list of the picker. */
export function introduce(endpoints: readonly Endpoint[], pick: () => Endpoint): void {
  const missing = new Set(endpoints)
  for (let i = 0; i < 100_000 && missing.size > 0; i++) missing.delete(pick())
  expect(missing.size).toBe(0)
}
