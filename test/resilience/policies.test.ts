import { LeastLoad } from '../../src/client/balancing/least-load.ts'
import { PeakEwma } from '../../src/client/balancing/peak-ewma.ts'
import { CIRCUIT_BREAKER, CircuitBreakerPolicy } from '../../src/resilience/circuit-breaker.ts'
import { EjectionPolicy } from '../../src/resilience/ejection.ts'
import { EJECTION } from '../../src/resilience/ejection-settings.ts'
import { ClientThrottle, THROTTLE } from '../../src/resilience/limits/client-throttle.ts'
import { CONCURRENCY_LIMIT, ConcurrencyLimitPolicy } from '../../src/resilience/limits/concurrency-limit.ts'
import { GlobalRateLimitPolicy } from '../../src/resilience/limits/global-rate-limit.ts'
import { GLOBAL_RATE } from '../../src/resilience/limits/global-rate-settings.ts'
import { RATE_LIMIT, RateLimitPolicy } from '../../src/resilience/limits/rate-limit.ts'
import { keepsItsPromises } from './conformance.ts'

keepsItsPromises('circuit breaker', 'service', (clock) => {
  const policy = new CircuitBreakerPolicy('inventory', CIRCUIT_BREAKER.resolve({ minimumCalls: 5 }), clock)
  return { policy, held: () => (policy.probing ? 1 : 0) }
})
keepsItsPromises('ejection', 'endpoint', (clock) => {
  const policy = new EjectionPolicy(EJECTION.resolve({ consecutiveFailures: 2 }), clock)
  return { policy, held: () => policy.probing }
})
keepsItsPromises('concurrency limit', 'service', () => {
  const policy = new ConcurrencyLimitPolicy(CONCURRENCY_LIMIT.resolve({ concurrency: 4 }))
  return { policy, held: () => policy.inFlight }
})
keepsItsPromises('adaptive concurrency limit with shares', 'service', (clock) => {
  const settings = CONCURRENCY_LIMIT.resolve({ concurrency: { initial: 4, max: 6 }, shares: { checkout: '50%' } })
  const policy = new ConcurrencyLimitPolicy(settings, clock)
  return { policy, held: () => policy.inFlight }
})
keepsItsPromises('client throttle', 'endpoint', (clock) => {
  const policy = new ClientThrottle('inventory', THROTTLE.resolve(), clock)
  return { policy, held: () => 0 }
})
keepsItsPromises('rate limit', 'service', (clock) => {
  const policy = new RateLimitPolicy(RATE_LIMIT.resolve({ rate: 20, burst: 5 }), clock)
  return { policy, held: () => 0 }
})
keepsItsPromises('global rate limit', 'service', (clock) => {
  const host = { report: () => {}, instances: () => 2 }
  const policy = new GlobalRateLimitPolicy(GLOBAL_RATE.resolve({ rate: 20 }), clock, host)
  return { policy, held: () => 0 }
})
keepsItsPromises('least-load', 'endpoint', (clock) => {
  const policy = new LeastLoad(clock, undefined)
  return { policy, held: () => 0 }
})
keepsItsPromises('peak-ewma', 'endpoint', (clock) => {
  const policy = new PeakEwma(clock, undefined)
  return { policy, held: () => 0 }
})
