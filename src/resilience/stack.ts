/**
 * The compiled policies of one service, and the one place that says in which order they stand and why. Compiled once per
 * configuration, immutable, replaced whole; calls in flight keep the stack they began with.
 */
import type { Clock } from '../core/clock.ts'
import type { Cluster } from '../core/endpoint.ts'
import type { Policy } from '../core/policy.ts'
import type { Telemetry } from '../core/telemetry.ts'
import type { RetryPolicy } from './retry.ts'
import type { RetryBudget } from './retry-budget.ts'

export interface Stack {
  /** Bound of a whole call, attempts and waits included. */
  readonly timeoutMs: number
  /** Asked once per call, before an endpoint is chosen. */
  readonly service: readonly Policy[]
  /** Asked for every attempt, with its endpoint. */
  readonly endpoint: readonly Policy[]
  readonly retry: RetryPolicy
  readonly budget: RetryBudget
  /** `undefined` for functions and servers: there is nothing to choose. */
  readonly cluster: Cluster | undefined
  readonly telemetry: Telemetry
  readonly clock: Clock
}
