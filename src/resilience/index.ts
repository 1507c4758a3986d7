/** `inmesh/resilience`: the policies for functions and methods, usable without any mesh. */

export type { Clock, Timer } from '../core/clock.ts'
export { detached } from '../core/context.ts'
export { type AttemptReport, type ErrorCode, isMeshError, MeshError, type MeshErrorDetails } from '../core/errors.ts'
export type { GrpcFailure, GrpcStatusName } from '../core/status.ts'
export type { Duration } from '../options/duration.ts'
export { type Issue, OptionsError } from '../options/fields.ts'
export type { Rate, Share } from '../options/quantities.ts'
export type { BackoffOptions } from './backoff.ts'
export {
  BALANCER_NAMES,
  type BalancerName,
  type BalancerOptions,
  type BalancingOptions,
  type HashKeyOptions,
  type SubsetOptions,
} from './balancing-settings.ts'
export type { CircuitBreakerOptions } from './circuit-breaker.ts'
export type { EjectionOptions } from './ejection-settings.ts'
export type { FaultRuleOptions } from './fault-injection.ts'
export type { BulkheadOptions } from './guard/bulkhead.ts'
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
} from './guard/decorators.ts'
export { type GuardOptions, guard } from './guard/guard.ts'
export type { HealthCheckOptions } from './health-check.ts'
export type { HedgeOptions } from './hedge.ts'
export type { AdaptiveLimitOptions } from './limits/adaptive-limit.ts'
export type { LimitAlgorithm } from './limits/algorithms.ts'
export type { ThrottleOptions } from './limits/client-throttle.ts'
export type { CallerShares, Concurrency } from './limits/concurrency-limit.ts'
export type { GlobalRateOptions } from './limits/global-rate-settings.ts'
export type { RateLimitOptions } from './limits/rate-limit.ts'
export type { LimitsOptions } from './limits/settings.ts'
export { circuits, type OpossumCircuit } from './opossum-circuit.ts'
export type { RetryOptions } from './retry.ts'
export type { RetryBudgetOptions } from './retry-budget.ts'
export type { ServiceOptions } from './settings.ts'
