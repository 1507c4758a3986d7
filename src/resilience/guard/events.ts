/**
 * Publishes transitions of guarded functions on the channel that a mesh uses for those of services.
 */
import { channel } from 'node:diagnostics_channel'
import type { Clock } from '../../core/clock.ts'
import type { CircuitListener } from '../circuit-breaker.ts'

const transitions = channel('inmesh:circuit:transition')

/** `peer` is the function's name; `service` is empty, because no service is called. */
export function guardCircuitListener(clock: Clock): CircuitListener {
  return (peer, from, to) => {
    if (transitions.hasSubscribers) transitions.publish({ peer, from, to, service: '', at: clock.wallNow() })
  }
}
