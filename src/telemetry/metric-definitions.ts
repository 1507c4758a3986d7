/**
 * All metrics of a process: name, kind, unit, labels, meaning. The tables of `docs/metrics.md`, the
 * dashboard and the alerts in `docs/dashboards` are made of these definitions.
 */

import { counter, gauge, type MetricDefinition, seconds } from './define-metric.ts'

const CALL = 'service peer method route?'
const PEER = 'service peer protocol? route?'

/** Calls, as the caller experiences them. */
export const CLIENT_CALLS = {
  requests: counter('inmesh_client_requests', '{call}', `${CALL} code`, 'Calls to the peer, by how they ended.'),
  durations: seconds(
    'inmesh_client_request_duration',
    CALL,
    'Calls to the peer, begin to end, with retries and waits; without streams and gRPC calls other than unary.',
  ),
  inFlight: gauge('inmesh_client_requests_in_flight', '{call}', CALL, 'Calls to the peer that have not ended.'),
  attempts: counter('inmesh_client_attempts', '{attempt}', `${CALL} code`, 'Attempts, by how they ended.'),
  retries: counter(
    'inmesh_client_retries',
    '{attempt}',
    `${CALL} code`,
    'Attempts that another one followed, by the code of the one that failed.',
  ),
  carried: counter(
    'inmesh_client_transport_attempts',
    '{attempt}',
    'service peer transport',
    'Attempts by the transport of their connections (`inmesh/1`, `http/1.1`, `h2`); without those that had none.',
  ),
}

/** Requests, as the server experiences them. */
export const SERVER_CALLS = {
  requests: counter(
    'inmesh_server_requests',
    '{request}',
    'service peer method code',
    'Requests from the peer, by how they ended.',
  ),
  durations: seconds(
    'inmesh_server_request_duration',
    'service peer method',
    'Requests from the peer, begin to end; without streams.',
  ),
  inFlight: gauge(
    'inmesh_server_requests_in_flight',
    '{request}',
    'service peer method',
    'Requests from the peer that have not ended.',
  ),
  carried: counter(
    'inmesh_server_transport_requests',
    '{request}',
    'service peer transport',
    'Requests by the transport that carried them; without those that a server refuses before its handler.',
  ),
}

export const SERVER = {
  concurrencyLimit: gauge(
    'inmesh_server_concurrency_limit',
    '{request}',
    'service',
    'Requests that are taken on at once; an adaptive limit as it is now.',
  ),
  globalRateShare: gauge(
    'inmesh_server_global_rate_share',
    '{request}',
    'service',
    'Requests per second that this process may admit under `limits.global`; with `by: [caller]`, of each caller to which no other share is leased.',
  ),
  globalRateLeased: gauge(
    'inmesh_server_global_rate_leased',
    '{flag}',
    'service',
    '1 while the registry leases the share of the global rate limit; 0: it is an equal share.',
  ),
  faults: counter(
    'inmesh_server_faults_injected',
    '{request}',
    'service peer',
    'Requests that waited or failed on purpose.',
  ),
  denied: counter('inmesh_server_denied', '{request}', 'service peer', 'Requests that no intention allows.'),
  limitChanges: counter(
    'inmesh_concurrency_limit_changes',
    '{change}',
    'service side',
    'How often an adaptive concurrency limit moved by a fifth or more.',
  ),
}

/** TCP connections of one side. */
function tcp(side: 'client' | 'server', verb: string) {
  return {
    opened: counter(
      `inmesh_${side}_tcp_opened`,
      '{connection}',
      'service peer',
      `TCP connections that we ${verb}, once they are admitted.`,
    ),
    closed: counter(
      `inmesh_${side}_tcp_closed`,
      '{connection}',
      'service peer code',
      'TCP connections that were admitted and are closed, by how: `ok`, or why.',
    ),
    bytes: counter(
      `inmesh_${side}_tcp_bytes`,
      'By',
      'service peer direction',
      'Bytes of the application, `received` and `sent` as seen from here; counted each second.',
    ),
    durations: seconds(`inmesh_${side}_tcp_duration`, 'service peer', 'TCP connections, from admitted to closed.'),
    open: gauge(`inmesh_${side}_tcp_connections`, '{connection}', 'service peer', 'Open TCP connections.'),
  }
}

export const CLIENT_TCP = tcp('client', 'opened')
export const SERVER_TCP = tcp('server', 'accepted')

/** Called services and their endpoints. */
export const PEERS = {
  circuit: gauge('inmesh_client_circuit_state', '{state}', PEER, 'Breaker: 0 closed, 1 half-open, 2 open.'),
  transitions: counter(
    'inmesh_client_circuit_transitions',
    '{change}',
    'service peer to',
    'Changes of the breaker of a called service.',
  ),
  retryBudget: gauge('inmesh_client_retry_budget', '{attempt}', PEER, 'Retries that the budget would pay for now.'),
  unpaid: counter(
    'inmesh_client_retries_unpaid',
    '{attempt}',
    'service peer',
    'Retries that the budget did not pay for.',
  ),
  hedges: counter(
    'inmesh_client_hedges',
    '{attempt}',
    'service peer what',
    'Second attempts beside a late one: `sent`, `won`, `unpaid` (due, and not in the budget).',
  ),
  throttled: gauge(
    'inmesh_client_throttled_share',
    '{share}',
    PEER,
    'Share of attempts held back because the peer refuses most of them as overload.',
  ),
  throttles: counter(
    'inmesh_client_throttles',
    '{change}',
    'service peer',
    'How often attempts began to be held back because the peer refused most of them.',
  ),
  endpoints: gauge(
    'inmesh_client_endpoints',
    '{endpoint}',
    'service peer protocol? state',
    'Known endpoints of the peer: `healthy`, `ejected`, `probing`.',
  ),
  attemptsInFlight: gauge(
    'inmesh_client_attempts_in_flight',
    '{attempt}',
    'service peer protocol?',
    'Attempts that have not ended, on all endpoints of the peer.',
  ),
  ejections: counter(
    'inmesh_client_ejections',
    '{endpoint}',
    'service peer reason',
    'Endpoints taken out of the picker for a while.',
  ),
  panic: gauge(
    'inmesh_client_panic',
    '{flag}',
    'service peer protocol?',
    '1 while too few endpoints are healthy, so that all are used.',
  ),
  panics: counter(
    'inmesh_client_panics',
    '{change}',
    'service peer',
    'How often too few endpoints were healthy, so that all were used.',
  ),
}

export const MIRRORS = {
  sent: counter(
    'inmesh_client_mirrors',
    '{call}',
    'service peer route code',
    "Copies of calls that a route's `mirror` sent to the peer, by how they ended; calls and attempts do not count them.",
  ),
  dropped: counter(
    'inmesh_client_mirrors_dropped',
    '{call}',
    'service peer route reason',
    'Calls that were drawn for a mirror and not copied: `in-flight` (64 run to the peer), `body-too-large` (over 256 KiB), `body-not-kept` (a stream that is sent once), `request-incomplete` (the call ended first), `no-endpoints`, `closed`.',
  ),
  inFlight: gauge(
    'inmesh_client_mirrors_in_flight',
    '{call}',
    'service peer route',
    'Copies of calls that have not ended.',
  ),
}

/** Guarded functions. */
export const FUNCTIONS = {
  calls: counter(
    'inmesh_function_calls',
    '{call}',
    'service function code',
    'Calls of a guarded function, by how they ended; what it has done for equal calls counts once.',
  ),
  durations: seconds(
    'inmesh_function_call_duration',
    'service function',
    'Calls of a guarded function, begin to end, with retries and waits.',
  ),
  inFlight: gauge(
    'inmesh_function_calls_in_flight',
    '{call}',
    'service function',
    'Calls of a guarded function that have not ended.',
  ),
  attempts: counter(
    'inmesh_function_attempts',
    '{attempt}',
    'service function code',
    'Executions of a guarded function, by how they ended.',
  ),
  retries: counter(
    'inmesh_function_retries',
    '{attempt}',
    'service function code',
    'Executions that another one followed, by the code of the one that failed.',
  ),
  circuit: gauge(
    'inmesh_function_circuit_state',
    '{state}',
    'service function',
    'Breaker of a guarded function: 0 closed, 1 half-open, 2 open; of several with one name the worst.',
  ),
}

export const PROCESS = {
  identityExpiry: gauge(
    'inmesh_identity_expiry_seconds',
    's',
    'service',
    'Until the certificate of this process ends; negative: it has ended.',
  ),
  renewals: counter('inmesh_identity_renewals', '{certificate}', 'service', 'New certificates.'),
  renewalFailures: counter(
    'inmesh_identity_renewal_failures',
    '{renewal}',
    'service',
    'Renewals of the certificate that failed.',
  ),
  peersRefused: counter(
    'inmesh_peers_refused',
    '{connection}',
    'service side reason',
    'Peers whose certificate was not believed.',
  ),
  overridesRefused: counter(
    'inmesh_overrides_refused',
    '{request}',
    'service',
    'Overrides of requests that no document allows, or that are malformed.',
  ),
  snapshotAge: gauge(
    'inmesh_snapshot_age_seconds',
    's',
    'service',
    'Since the registry last said that the configuration is current.',
  ),
  revision: gauge(
    'inmesh_config_revision',
    '{revision}',
    'service',
    'Newest revision of the registry that is in force.',
  ),
  snapshotsRejected: counter(
    'inmesh_snapshots_rejected',
    '{snapshot}',
    'service',
    'Snapshots that were not valid; the last good one stayed in force.',
  ),
  registryConnected: gauge(
    'inmesh_registry_connected',
    '{flag}',
    'service',
    '1 while the session with the registry stands.',
  ),
  registryLost: counter(
    'inmesh_registry_lost',
    '{session}',
    'service',
    'How often the session with the registry ended.',
  ),
  loopDelay: gauge(
    'inmesh_event_loop_delay_seconds',
    's',
    'service quantile',
    'How late the event loop runs what is due; `quantile` 0.5, 0.99 and 1 (the longest).',
  ),
  events: counter('inmesh_events', '{event}', 'service event', 'Events of this process, by name.'),
}

/** Of the access log. */
export const ACCESS_LOG = {
  lines: counter('inmesh_access_log_lines', '{line}', 'service', 'Lines of the access log that the logger took.'),
  dropped: counter(
    'inmesh_access_log_dropped',
    '{line}',
    'service reason',
    'Lines that the logger did not get: `queue-full`, it is slower than they come; `logger-failed`, it threw or its promise rejected; `closed`, the mesh had closed.',
  ),
}

/** Of the metrics themselves. */
export const OWN = {
  overflow: counter(
    'inmesh_metrics_overflow',
    '{lookup}',
    'service metric',
    'Look-ups of a series beyond the bound of its metric.',
  ),
  unreadable: counter('inmesh_metrics_unreadable', '{reading}', 'service', 'Gauges that threw when they were read.'),
}

/** By the heading of the documentation. */
export const METRIC_GROUPS: Readonly<Record<string, readonly MetricDefinition[]>> = Object.freeze({
  calls: [
    ...Object.values(CLIENT_CALLS),
    ...Object.values(SERVER_CALLS),
    ...Object.values(SERVER),
    ...Object.values(CLIENT_TCP),
    ...Object.values(SERVER_TCP),
    ...Object.values(ACCESS_LOG),
  ],
  peers: [...Object.values(PEERS), ...Object.values(MIRRORS)],
  functions: Object.values(FUNCTIONS),
  process: [...Object.values(PROCESS), ...Object.values(OWN)],
})

export const METRIC_DEFINITIONS: readonly MetricDefinition[] = Object.freeze(Object.values(METRIC_GROUPS).flat())
