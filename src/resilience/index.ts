/** `inmesh/resilience`: the policies for functions and methods, usable without any mesh. */

export type { Clock, Timer } from '../core/clock.ts'
export type { Duration } from '../core/duration.ts'
export { type AttemptReport, type ErrorCode, isMeshError, MeshError, type MeshErrorDetails } from '../core/errors.ts'
export { type Issue, OptionsError } from '../core/fields.ts'
export type { BackoffOptions } from './backoff.ts'
export type { CircuitBreakerOptions } from './circuit-breaker.ts'
export {
  type AsyncMethod,
  bulkhead,
  circuitBreaker,
  fallback,
  type GuardedOptions,
  guarded,
  type MethodGuard,
  rateLimit,
  retry,
  timeout,
} from './decorators.ts'
export type { EjectionOptions } from './ejection.ts'
export { type GuardOptions, guard } from './guard.ts'
export { circuits, type OpossumCircuit } from './opossum-circuit.ts'
export type { RateLimitOptions } from './rate-limit.ts'
export type { RetryOptions } from './retry.ts'
export type { RetryBudgetOptions } from './retry-budget.ts'
export type { BalancerName, LimitsOptions, ServiceOptions } from './settings.ts'
export { BALANCER_NAMES } from './settings.ts'
