/**
 * The fault that a served call suffers, if any: rules from code come first, then those of the
 * document.
 */
import { drawFault, type Faultable, type FaultRule } from '../resilience/fault-injection.ts'
import type { EventSink } from '../telemetry/events.ts'
import type { InboundCall } from './inbound-call.ts'

interface FaultHost {
  readonly faults: readonly FaultRule[]
  readonly events: EventSink
}

/** `answer`: which status of a rule the door answers with. */
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
