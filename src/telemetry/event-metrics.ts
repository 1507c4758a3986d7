/**
 * The golden metrics of events: ejections, panics, breaker transitions, refused peers, denied
 * calls, snapshots, renewals. An {@link EventSink} in front of the real one, so that each part
 * emits only once.
 */
import type { EventName, EventSink, MeshEvents } from './events.ts'
import type { Counter, Family, Metrics } from './metrics.ts'

interface Rule<K extends EventName> {
  readonly metric: string
  readonly help: string
  readonly labels: readonly string[]
  /** Label values; `undefined`: the event is not counted. */
  readonly values: (payload: MeshEvents[K]) => readonly string[] | undefined
}

type Rules = { readonly [K in EventName]?: Rule<K> }

const RULES: Rules = {
  'circuit:transition': {
    metric: 'inmesh_client_circuit_transitions_total',
    help: 'Changes of the breaker of a called service.',
    labels: ['peer', 'to'],
    values: ({ peer, to }) => [peer, to],
  },
  'endpoint:ejected': {
    metric: 'inmesh_client_ejections_total',
    help: 'Endpoints taken out of the picker for a while.',
    labels: ['peer', 'reason'],
    values: ({ peer, reason }) => [peer, reason],
  },
  'cluster:panic': {
    metric: 'inmesh_client_panics_total',
    help: 'How often too few endpoints were healthy, so that all were used.',
    labels: ['peer'],
    values: ({ peer, on }) => (on ? [peer] : undefined),
  },
  'retry:budget-exhausted': {
    metric: 'inmesh_client_retries_unpaid_total',
    help: 'Retries that the budget did not pay for.',
    labels: ['peer'],
    values: ({ peer }) => [peer],
  },
  'hedge:changed': {
    metric: 'inmesh_client_hedges_total',
    help: 'Second attempts beside a late one: sent, won, or due and not paid for.',
    labels: ['peer', 'what'],
    values: ({ peer, what }) => [peer, what],
  },
  'throttle:changed': {
    metric: 'inmesh_client_throttles_total',
    help: 'How often attempts began to be held back because the peer refused most of them.',
    labels: ['peer'],
    values: ({ peer, on }) => (on ? [peer] : undefined),
  },
  'peer:refused': {
    metric: 'inmesh_peers_refused_total',
    help: 'Peers whose certificate was not believed.',
    labels: ['side', 'reason'],
    values: ({ side, reason }) => [side, reason],
  },
  'intention:denied': {
    metric: 'inmesh_server_denied_total',
    help: 'Requests that no intention allows.',
    labels: ['peer'],
    values: ({ peer }) => [peer],
  },
  'override:refused': {
    metric: 'inmesh_overrides_refused_total',
    help: 'Overrides of requests that no document allows, or that are malformed.',
    labels: [],
    values: () => [],
  },
  'snapshot:rejected': {
    metric: 'inmesh_snapshots_rejected_total',
    help: 'Snapshots that were not valid; the last good one stayed in force.',
    labels: [],
    values: () => [],
  },
  'registry:lost': {
    metric: 'inmesh_registry_lost_total',
    help: 'How often the session with the registry ended.',
    labels: [],
    values: () => [],
  },
  'identity:renewed': {
    metric: 'inmesh_identity_renewals_total',
    help: 'New certificates.',
    labels: [],
    values: () => [],
  },
  'limit:changed': {
    metric: 'inmesh_concurrency_limit_changes_total',
    help: 'How often an adaptive concurrency limit moved by a fifth or more.',
    labels: ['side'],
    values: ({ side }) => [side],
  },
  'fault:injected': {
    metric: 'inmesh_server_faults_injected_total',
    help: 'Requests that waited or failed on purpose.',
    labels: ['peer'],
    values: ({ peer = 'unknown' }) => [peer],
  },
  'identity:failed': {
    metric: 'inmesh_identity_renewal_failures_total',
    help: 'Renewals of the certificate that failed.',
    labels: [],
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
      const { metric, help, labels } = RULES[name]!
      const family = metrics.counter(metric, help, ['service', ...labels])
      if (labels.length === 0) family.series(service)
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
