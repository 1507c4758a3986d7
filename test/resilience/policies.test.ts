import { PeakEwma } from '../../src/client/balancing/peak-ewma.ts'
import { CircuitBreakerPolicy, resolveCircuitBreaker } from '../../src/resilience/circuit-breaker.ts'
import { EjectionPolicy } from '../../src/resilience/ejection.ts'
import { resolveEjection } from '../../src/resilience/ejection-settings.ts'
import { ClientThrottle, resolveThrottle } from '../../src/resilience/limits/client-throttle.ts'
import { ConcurrencyLimitPolicy, resolveConcurrencyLimit } from '../../src/resilience/limits/concurrency-limit.ts'
import { RateLimitPolicy } from '../../src/resilience/limits/rate-limit.ts'
import { keepsItsPromises } from './conformance.ts'

keepsItsPromises('circuit breaker', 'service', (clock) => {
  const policy = new CircuitBreakerPolicy('inventory', resolveCircuitBreaker({ minimumCalls: 5 }), clock)
  return { policy, held: () => (policy.probing ? 1 : 0) }
})
keepsItsPromises('ejection', 'endpoint', (clock) => {
  const policy = new EjectionPolicy(resolveEjection({ consecutiveFailures: 2 }), clock)
  return { policy, held: () => policy.probing }
})
keepsItsPromises('concurrency limit', 'service', () => {
  const policy = new ConcurrencyLimitPolicy({ concurrency: 4 })
  return { policy, held: () => policy.inFlight }
})
keepsItsPromises('adaptive concurrency limit with shares', 'service', (clock) => {
  const settings = resolveConcurrencyLimit({ concurrency: { initial: 4, max: 6 }, shares: { checkout: '50%' } })
  const policy = new ConcurrencyLimitPolicy(settings, clock)
  return { policy, held: () => policy.inFlight }
})
keepsItsPromises('client throttle', 'endpoint', (clock) => {
  const policy = new ClientThrottle('inventory', resolveThrottle(), clock)
  return { policy, held: () => 0 }
})
keepsItsPromises('rate limit', 'service', (clock) => {
  const policy = new RateLimitPolicy({ ratePerSecond: 20, burst: 5 }, clock)
  return { policy, held: () => 0 }
})
keepsItsPromises('peak-ewma', 'endpoint', (clock) => {
  const policy = new PeakEwma(clock, undefined)
  return { policy, held: () => 0 }
})
