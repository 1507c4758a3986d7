/**
 * The golden metrics of events: ejections, panics, breaker transitions, refused peers, denied
 * calls, snapshots, renewals. An {@link EventSink} in front of the real one, so that each part
 * emits only once.
 */

import type { CounterDefinition } from './define-metric.ts'
import type { EventName, EventSink, MeshEvents } from './events.ts'
import { PEERS, PROCESS, SERVER } from './metric-definitions.ts'
import type { Counter, Family, Metrics } from './metrics.ts'

interface Rule<K extends EventName> {
  readonly metric: CounterDefinition
  /** The values of the labels after `service`; `undefined`: the event is not counted. */
  readonly values: (payload: MeshEvents[K]) => readonly string[] | undefined
}

type Rules = { readonly [K in EventName]?: Rule<K> }

const RULES: Rules = {
  'circuit:transition': {
    metric: PEERS.transitions,
    values: ({ peer, to }) => [peer, to],
  },
  'endpoint:ejected': {
    metric: PEERS.ejections,
    values: ({ peer, reason }) => [peer, reason],
  },
  'cluster:panic': {
    metric: PEERS.panics,
    values: ({ peer, on }) => (on ? [peer] : undefined),
  },
  'retry:budget-exhausted': {
    metric: PEERS.unpaid,
    values: ({ peer }) => [peer],
  },
  'hedge:changed': {
    metric: PEERS.hedges,
    values: ({ peer, what }) => [peer, what],
  },
  'throttle:changed': {
    metric: PEERS.throttles,
    values: ({ peer, on }) => (on ? [peer] : undefined),
  },
  'peer:refused': {
    metric: PROCESS.peersRefused,
    values: ({ side, reason }) => [side, reason],
  },
  'intention:denied': {
    metric: SERVER.denied,
    values: ({ peer }) => [peer],
  },
  'override:refused': {
    metric: PROCESS.overridesRefused,
    values: () => [],
  },
  'snapshot:rejected': {
    metric: PROCESS.snapshotsRejected,
    values: () => [],
  },
  'registry:lost': {
    metric: PROCESS.registryLost,
    values: () => [],
  },
  'identity:renewed': {
    metric: PROCESS.renewals,
    values: () => [],
  },
  'limit:changed': {
    metric: SERVER.limitChanges,
    values: ({ side }) => [side],
  },
  'fault:injected': {
    metric: SERVER.faults,
    values: ({ peer = 'unknown' }) => [peer],
  },
  'identity:failed': {
    metric: PROCESS.renewalFailures,
    values: () => [],
  },
}

/** Counts each event and passes it on to `next`. */
export class EventMetrics implements EventSink {
  readonly #service: string
  readonly #next: EventSink
  readonly #families = new Map<EventName, Family<Counter>>()

  constructor(service: string, metrics: Metrics, next: EventSink) {
    this.#service = service
    this.#next = next
    for (const name of Object.keys(RULES) as (keyof Rules)[]) {
      const { metric } = RULES[name]!
      const family = metrics.counter(metric)
      if (metric.labels.length === 1) family.series(service)
      this.#families.set(name, family)
    }
  }

  emit<K extends EventName>(name: K, payload: MeshEvents[K]): void {
    const rule: Rule<K> | undefined = RULES[name] as Rule<K> | undefined
    const values = rule?.values(payload)
    if (values !== undefined) this.#families.get(name)!.series(this.#service, ...values).value += 1
    this.#next.emit(name, payload)
  }
}
