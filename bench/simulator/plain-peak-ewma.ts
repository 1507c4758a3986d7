/**
 * Peak-EWMA as Finagle has it (loadbalancer/PeakEwma.scala), to compare with: the worst latency of
 * late, decaying over 10 s, times the attempts in flight and one; a penalty for an endpoint that
 * has never answered; deaf to silence and to failures.
 */
import type { Candidate } from '../../src/client/balancing/candidate.ts'
import { type LoadMeasure, P2cPicker } from '../../src/client/balancing/p2c.ts'
import type { Attempt } from '../../src/core/attempt.ts'
import type { Clock } from '../../src/core/clock.ts'
import type { Endpoint } from '../../src/core/endpoint.ts'
import { NOT_STARTED, type Outcome } from '../../src/core/outcome.ts'
import type { Balancer, Picker } from '../../src/core/picker.ts'
import type { Policy } from '../../src/core/policy.ts'

const DECAY_MS = 10_000
const PENALTY = 1e12

export class PlainPeakEwma implements Balancer, Policy, LoadMeasure {
  readonly name = 'plain-peak-ewma'
  readonly #clock: Clock

  constructor(clock: Clock) {
    this.#clock = clock
  }

  picker(endpoints: readonly Endpoint[]): Picker {
    return new P2cPicker(endpoints, this, undefined, this.#clock)
  }

  load(endpoint: Endpoint, candidate: Candidate, now: number): void {
    const cost = project(endpoint, now)
    const { pending } = endpoint
    candidate.load = cost === 0 && pending > 0 ? PENALTY + pending : cost * (pending + 1)
  }

  forces(): boolean {
    return false
  }

  admit(): undefined {
    return undefined
  }

  settle(attempt: Attempt, outcome: Outcome): void {
    const endpoint = attempt.endpoint
    if (endpoint === undefined || outcome === NOT_STARTED) return
    const now = this.#clock.now()
    const sample = now - attempt.startedAt
    const known = project(endpoint, now)
    const kept = Math.exp(-(now - endpoint.estimatedAt) / DECAY_MS)
    endpoint.estimateMs = sample > known ? sample : known + sample * (1 - kept)
    endpoint.estimatedAt = now
  }
}

/** Towards zero while nothing is heard. */
function project(endpoint: Endpoint, now: number): number {
  return endpoint.estimateMs * Math.exp(-(now - endpoint.estimatedAt) / DECAY_MS)
}
