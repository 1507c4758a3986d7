/** Draws the fault for a served call. Rules from code precede those of the policy document. */
import { drawFault, type Faultable, type FaultRule } from '../resilience/fault-injection.ts'
import type { EventSink } from '../telemetry/events.ts'
import type { InboundCall } from './inbound-call.ts'

interface FaultHost {
  readonly faults: readonly FaultRule[]
  readonly events: EventSink
}

/** `answer`: the field of a rule that holds the protocol's status. */
export function inboundFault(
  call: InboundCall & Faultable,
  { faults, events }: FaultHost,
  documented: readonly FaultRule[] | undefined,
  answer: 'status' | 'grpcStatus',
): FaultRule | undefined {
  if (faults.length === 0 && documented === undefined) return undefined
  const fault = drawFault(faults, call, call.clock) ?? drawFault(documented ?? [], call, call.clock)
  if (fault !== undefined) {
    const { delayMs, [answer]: status = 0 } = fault
    events.emit('fault:injected', { ...(call.peer !== undefined && { peer: call.peer }), delayMs, status })
  }
  return fault
}
