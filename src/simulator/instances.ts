/** The servers of one service: machines, limits, faults, and how discovery describes them. */
import { SILENT } from '../core/telemetry.ts'
import type { ServicePolicy } from '../discovery/policy-document.ts'
import { drawFault, type FaultRule } from '../resilience/fault-injection.ts'
import { compileServerStack, ServerLimits } from '../resilience/stack.ts'
import type { FakeClock } from '../testing/fake-clock.ts'
import { Chance } from './chance.ts'
import { answerOf, FaultyInstance } from './faults.ts'
import { Machine } from './machine.ts'
import type { Placed } from './routed-client.ts'
import { LATENCY_SHAPES, type Scenario, serverName } from './scenario.ts'
import { answersAfter, type Handler, SimulatedServer } from './server.ts'

const ROUND_TRIP_MS = 1

/** An instance, and how to make it ill. */
export interface MadeInstance {
  readonly placed: Placed & { readonly server: SimulatedServer }
  readonly faults: FaultyInstance
}

/** `onListening`: notified when an instance begins or ceases to listen. */
export function makeInstances(
  clock: FakeClock,
  scenario: Scenario,
  service: string,
  policy: ServicePolicy,
  onListening: (id: string, server: SimulatedServer | undefined) => void,
): readonly MadeInstance[] {
  const { seed, servers, workers, meanMs, latency, zones, reports, from } = scenario
  const subsets = [...(policy.routing?.subsets.values() ?? [])]
  return Array.from({ length: servers }, (_, i) => {
    const chance = new Chance(seed + 100_000 + i)
    const machine = new Machine(clock, workers, () => LATENCY_SHAPES[latency](chance, meanMs))
    const limits = new ServerLimits(clock)
    limits.configure(policy.settings.limits)
    const stack = compileServerStack({ state: limits, telemetry: SILENT, clock })
    const handler = withDocumentedFaults(clock, scenario, policy.settings.faults, machine.handle)
    const server = new SimulatedServer({
      ...{ clock, handler, stack, reports, peer: from },
      roundTripMs: ROUND_TRIP_MS,
    })
    const id = serverName(service, i)
    const subset = subsets[i % subsets.length]
    return {
      placed: {
        ...{ id, server },
        ...(zones > 1 && { zone: `zone-${(i % zones) + 1}` }),
        ...(subset?.version !== undefined && { version: subset.version }),
        metadata: Object.fromEntries(subset?.metadata ?? []),
      },
      faults: new FaultyInstance(clock, chance, machine, server, (listens) =>
        onListening(id, listens ? server : undefined),
      ),
    }
  })
}

/** Rules of the document's `faults`: a wait, an answer, or both. */
function withDocumentedFaults(
  clock: FakeClock,
  { from, request }: Scenario,
  rules: readonly FaultRule[],
  usual: Handler,
): Handler {
  if (rules.length === 0) return usual
  const faultable = { peer: from, header: (name: string) => request.header(name) }
  return (call, reply) => {
    const rule = drawFault(rules, faultable, clock)
    const then =
      rule?.status === undefined && rule?.grpcStatus === undefined
        ? usual
        : answersAfter(clock, () => 0, answerOf(rule.status ?? 500))
    if (rule === undefined || rule.delayMs === 0) {
      then(call, reply)
      return
    }
    const timer = clock.startTimer(rule.delayMs, () => then(call, reply), undefined)
    call.whenCancelled = () => clock.stopTimer(timer)
  }
}
