/** Emits an event when panic (too few healthy endpoints of a service) begins or ends. */
import type { ServiceCluster } from '../discovery/cluster.ts'
import type { EjectionPolicy } from '../resilience/ejection.ts'
import type { EventSink } from '../telemetry/events.ts'
import type { PeerLabels } from './state-events.ts'

export class PanicEvents {
  readonly #events: EventSink
  readonly #peer: PeerLabels
  readonly #ejection: EjectionPolicy
  #panicking = false

  constructor(events: EventSink, peer: PeerLabels, ejection: EjectionPolicy) {
    this.#events = events
    this.#peer = peer
    this.#ejection = ejection
  }

  /** Endpoints, or the state of one, may have changed. */
  look({ endpoints }: ServiceCluster): void {
    const on = endpoints.length > 0 && this.#ejection.panicking
    if (on === this.#panicking) return
    this.#panicking = on
    const healthy = endpoints.filter(({ state }) => state === 'healthy').length
    this.#events.emit('cluster:panic', { ...this.#peer, on, healthy, endpoints: endpoints.length })
  }
}
