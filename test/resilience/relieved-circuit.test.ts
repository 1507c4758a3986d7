import { expect, it } from 'vitest'
import { Attempt } from '../../src/core/attempt.ts'
import { SUCCESS } from '../../src/core/outcome.ts'
import { CIRCUIT_BREAKER, CircuitBreakerPolicy } from '../../src/resilience/circuit-breaker.ts'
import { RelievedCircuit } from '../../src/resilience/relieved-circuit.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import { callAt, endpoint, FAILURE, keepsItsPromises } from './conformance.ts'

keepsItsPromises('the circuit of a service with failover', 'service', (clock) => {
  const circuit = new CircuitBreakerPolicy('inventory', CIRCUIT_BREAKER.resolve({ minimumCalls: 5 }), clock)
  const relief = { failureShareBehind: () => (clock.now() % 2 < 1 ? 0 : 1) }
  return { policy: new RelievedCircuit(circuit, relief, clock), held: () => (circuit.probing ? 1 : 0) }
})

/** The state after 30 failed calls, where those behind the endpoint fail with `share`. */
function stateAfterFailures(share: number | undefined): string {
  const clock = new FakeClock()
  const circuit = new CircuitBreakerPolicy('inventory', CIRCUIT_BREAKER.resolve(), clock)
  const policy = new RelievedCircuit(circuit, { failureShareBehind: () => share }, clock)
  for (let i = 0; i < 30; i++) {
    const attempt = new Attempt(callAt(clock))
    attempt.call.endpoint = endpoint('a')
    attempt.startedAt = clock.now()
    if (policy.admit(attempt) === undefined) policy.settle(attempt, i < 5 ? SUCCESS : FAILURE)
    clock.advance(10)
  }
  const { state } = circuit
  circuit.close()
  return state
}

it('a failure counts unless those behind the endpoint fail less often', () => {
  expect(stateAfterFailures(0.1)).toBe('closed')
  expect(stateAfterFailures(0.9)).toBe('open')
  expect(stateAfterFailures(undefined)).toBe('open')
})
