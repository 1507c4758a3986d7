/** `inmesh/resilience`: the policies for functions and methods, usable without any mesh. */

export type { Clock, Timer } from '../core/clock.ts'
export { detached } from '../core/context.ts'
export type { Duration } from '../core/duration.ts'
export { type AttemptReport, type ErrorCode, isMeshError, MeshError, type MeshErrorDetails } from '../core/errors.ts'
export { type Issue, OptionsError } from '../core/fields.ts'
export type { GrpcFailure, GrpcStatusName } from '../core/status.ts'
export type { AdaptiveLimitOptions } from './adaptive-limit.ts'
export type { BackoffOptions } from './backoff.ts'
export {
  BALANCER_NAMES,
  type BalancerName,
  type BalancerOptions,
  type BalancingOptions,
  type HashKeyOptions,
  type SubsetOptions,
} from './balancing-settings.ts'
export type { BulkheadOptions } from './bulkhead.ts'
export type { CircuitBreakerOptions } from './circuit-breaker.ts'
export type { ThrottleOptions } from './client-throttle.ts'
export type { CallerShares, Concurrency } from './concurrency-limit.ts'
export {
  type AsyncMethod,
  bulkhead,
  circuitBreaker,
  fallback,
  type GuardedOptions,
  guarded,
  hedge,
  type MethodGuard,
  rateLimit,
  retry,
  timeout,
} from './decorators.ts'
export type { EjectionOptions } from './ejection-settings.ts'
export type { FaultRuleOptions } from './fault-injection.ts'
export { type GuardOptions, guard } from './guard.ts'
export type { HealthCheckOptions } from './health-check.ts'
export type { HedgeOptions } from './hedge.ts'
export type { LimitAlgorithm } from './limit-algorithms.ts'
export type { LimitsOptions } from './limits.ts'
export { circuits, type OpossumCircuit } from './opossum-circuit.ts'
export type { RateLimitOptions } from './rate-limit.ts'
export type { RetryOptions } from './retry.ts'
export type { RetryBudgetOptions } from './retry-budget.ts'
export type { ServiceOptions } from './settings.ts'
