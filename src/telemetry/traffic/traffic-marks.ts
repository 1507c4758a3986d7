/**
 * Turns events into marks of the traffic message. An {@link EventSink} in front of the real one,
 * so that each part emits only once.
 */
import type { Clock } from '../../core/clock.ts'
import type { Endpoint } from '../../core/endpoint.ts'
import type { EventName, EventSink, MeshEvents } from '../events.ts'
import type { PeerReading } from '../mesh-gauges.ts'
import { printable } from './traffic-cell.ts'
import type { TrafficCounts } from './traffic-counts.ts'
import type { TrafficMark } from './traffic-message.ts'

type Mark = Omit<TrafficMark, 'at'>

export class TrafficMarks implements EventSink {
  readonly #counts: TrafficCounts
  readonly #clock: Clock
  readonly #next: EventSink

  constructor(counts: TrafficCounts, clock: Clock, next: EventSink) {
    this.#counts = counts
    this.#clock = clock
    this.#next = next
  }

  emit<K extends EventName>(name: K, payload: MeshEvents[K]): void {
    if (this.#counts.on) {
      const mark = markOf(name, payload)
      if (mark !== undefined) this.#counts.mark(mark, this.#clock.now())
    }
    this.#next.emit(name, payload)
  }
}

function markOf(name: EventName, payload: object): Mark | undefined {
  switch (name) {
    case 'circuit:transition': {
      const { peer, protocol, route, from, to } = payload as MeshEvents['circuit:transition']
      return { to: peer, what: 'circuit', from, now: to, ...placeOf({ protocol, route }) }
    }
    case 'endpoint:ejected': {
      const { peer, endpoint, reason } = payload as MeshEvents['endpoint:ejected']
      return { to: peer, what: 'ejected', endpoint: printable(endpoint), reason: printable(reason) }
    }
    case 'endpoint:restored': {
      const { peer, endpoint } = payload as MeshEvents['endpoint:restored']
      return { to: peer, what: 'restored', endpoint: printable(endpoint) }
    }
    case 'endpoint:withdrawn': {
      const { peer, endpoint } = payload as MeshEvents['endpoint:withdrawn']
      return { to: peer, what: 'withdrawn', endpoint: printable(endpoint) }
    }
    case 'cluster:panic': {
      const { peer, protocol, on } = payload as MeshEvents['cluster:panic']
      return { to: peer, what: 'panic', from: stateOf(!on), now: stateOf(on), ...placeOf({ protocol }) }
    }
    default:
      return undefined
  }
}

/**
 * The states that a registry which knows nothing of this process cannot guess: breakers that are
 * not closed, endpoints out of the picker, panic.
 */
export function* presentMarks(readings: Iterable<PeerReading>, endpoints: Iterable<Endpoint>): Iterable<Mark> {
  for (const { peer, protocol, route, circuit, panic } of readings) {
    const place = placeOf({ protocol, route })
    if (circuit !== undefined && circuit !== 'closed') {
      yield { old: true, to: peer, what: 'circuit', now: circuit, ...place }
    }
    if (panic === true) yield { old: true, to: peer, what: 'panic', now: stateOf(true), ...place }
  }
  for (const { service, label, state } of endpoints) {
    if (state !== 'healthy') yield { old: true, to: service, what: 'ejected', endpoint: printable(label) }
  }
}

function stateOf(on: boolean): 'on' | 'off' {
  return on ? 'on' : 'off'
}

function placeOf({ protocol, route }: Pick<PeerReading, 'protocol' | 'route'>): Pick<Mark, 'protocol' | 'route'> {
  return { ...(protocol !== undefined && { protocol }), ...(route !== undefined && { route: printable(route) }) }
}
