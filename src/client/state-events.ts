/** Emits an event for each change of the state of a called service, or of one of its routes. */
import type { Endpoint } from '../core/endpoint.ts'
import type { Protocol } from '../core/protocol.ts'
import type { EjectionListener } from '../resilience/cluster-health.ts'
import type { ServiceListeners } from '../resilience/service-state.ts'
import type { EventSink } from '../telemetry/events.ts'

/** The labels of a service in events and gauges. */
export interface PeerLabels {
  readonly peer: string
  readonly protocol?: Protocol
  /** Set if the state is a route's own. */
  readonly route?: string
}

export function stateEvents(events: EventSink, peer: PeerLabels): ServiceListeners {
  return {
    onCircuit: (_service, from, to) => events.emit('circuit:transition', { ...peer, from, to }),
    onThrottle: (_service, on, share) => events.emit('throttle:changed', { ...peer, on, share }),
    onHedge: (_service, what) => events.emit('hedge:changed', { ...peer, what }),
    onUnpaidRetry: () => events.emit('retry:budget-exhausted', peer),
  }
}

/** `failureOf`: why the last health check of an endpoint failed. */
export function ejectionEvents(
  events: EventSink,
  failureOf: (endpoint: Endpoint) => string | undefined,
): EjectionListener {
  return (endpoint, _from, to, reason, forMs) => {
    const who = { peer: endpoint.service, endpoint: endpoint.label }
    if (to === 'ejected') {
      const detail = reason === 'health-check' ? failureOf(endpoint) : undefined
      events.emit('endpoint:ejected', {
        ...who,
        reason,
        ...(forMs !== Number.POSITIVE_INFINITY && { forMs }),
        ...(detail !== undefined && { detail }),
      })
    } else if (to === 'probing') events.emit('endpoint:probing', who)
    else if (reason === 'withdrawn') events.emit('endpoint:withdrawn', who)
    else events.emit('endpoint:restored', who)
  }
}
