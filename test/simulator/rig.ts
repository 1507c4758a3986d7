/** A small scenario, of which a test changes a part. */
import type { PolicyDocument } from '../../src/discovery/policy-document.ts'
import type { Scenario } from '../../src/simulator/scenario.ts'
import { type Simulation, simulate } from '../../src/simulator/simulate.ts'

/** 10 servers of 2 workers with 20 ms a request, at half of their capacity for 6 s. */
export function scenarioOf(document: Omit<PolicyDocument, 'service'>, changes: Partial<Scenario> = {}): Scenario {
  return {
    documents: [{ service: 'inventory', ...document }],
    ...{ service: 'inventory', from: 'checkout', clients: 4, servers: 10, workers: 2, meanMs: 20 },
    ...{ latency: 'exponential', perSecond: 500, durationMs: 6_000, zones: 1, reports: true, seed: 1, faults: [] },
    request: { method: 'GET', path: '/', header: () => undefined },
    ...changes,
  }
}

export function run(document: Omit<PolicyDocument, 'service'>, changes: Partial<Scenario> = {}): Simulation {
  return simulate(scenarioOf(document, changes))
}

/** Of all attempts, the share that the servers with these indices got. */
export function shareOf({ traffic }: Simulation, indices: readonly number[], phase?: number): number {
  const count = ({ attempts }: Simulation['traffic'][number]): number =>
    phase === undefined ? attempts.reduce((a, b) => a + b, 0) : attempts[phase]!
  const all = traffic.reduce((sum, one) => sum + count(one), 0)
  return indices.reduce((sum, i) => sum + count(traffic[i]!), 0) / all
}
