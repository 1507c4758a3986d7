/** The Prometheus alert rules of a mesh. */
import { stringify } from 'yaml'
import { CLIENT_CALLS, FUNCTIONS, PEERS, PROCESS } from '../src/telemetry/metric-definitions.ts'

interface Alert {
  readonly alert: string
  readonly expr: string
  readonly for: string
  readonly severity: 'page' | 'ticket'
  readonly summary: string
  /** What follows from it, and where to look. */
  readonly description: string
}

const EDGE = 'service, peer'
const calls = CLIENT_CALLS.requests.name

const ALERTS: readonly Alert[] = [
  {
    alert: 'InmeshCallsFail',
    expr: `sum by (${EDGE}) (rate(${calls}{code!~"ok|cancelled"}[5m])) / sum by (${EDGE}) (rate(${calls}[5m])) > 0.05`,
    for: '5m',
    severity: 'page',
    summary: '{{ $labels.service }} sees {{ $value | humanizePercentage }} of its calls to {{ $labels.peer }} fail',
    description:
      'More than 5 % of the calls failed for 5 minutes, retries included. `inmesh_client_requests_total` has the codes, docs/errors.md what they mean.',
  },
  {
    alert: 'InmeshCircuitOpen',
    expr: `max by (${EDGE}) (${PEERS.circuit.name}) == 2`,
    for: '1m',
    severity: 'page',
    summary: 'the breaker of {{ $labels.service }} for {{ $labels.peer }} is open',
    description:
      'Calls end at once with `circuit-open`. Look at the failures of the called service; the breaker tries it again after `resetAfter`.',
  },
  {
    alert: 'InmeshFunctionCircuitOpen',
    expr: `max by (service, function) (${FUNCTIONS.circuit.name}) == 2`,
    for: '1m',
    severity: 'ticket',
    summary: 'the breaker of the function {{ $labels.function }} in {{ $labels.service }} is open',
    description: 'Calls of the function end at once with `circuit-open`, until one that is let through succeeds.',
  },
  {
    alert: 'InmeshPanic',
    expr: `max by (${EDGE}) (${PEERS.panic.name}) == 1`,
    for: '1m',
    severity: 'page',
    summary: 'fewer than half of the endpoints of {{ $labels.peer }} are healthy for {{ $labels.service }}',
    description:
      'Ejections are ignored, because the rest could not carry the load. Look at the endpoints of the called service.',
  },
  {
    alert: 'InmeshRetriesUnpaid',
    expr: `sum by (${EDGE}) (rate(${PEERS.unpaid.name}[5m])) > 1`,
    for: '5m',
    severity: 'ticket',
    summary: 'the retry budget of {{ $labels.service }} for {{ $labels.peer }} is exhausted',
    description:
      'More than one call a second failed without the retry that it would have had. The called service fails more than the budget covers.',
  },
  {
    alert: 'InmeshCertificateEnds',
    expr: `min by (service) (${PROCESS.identityExpiry.name}) < 3600`,
    for: '5m',
    severity: 'page',
    summary: 'a certificate of {{ $labels.service }} ends in {{ $value | humanizeDuration }}',
    description: 'It was not renewed in time. Without a certificate, the process neither calls nor serves.',
  },
  {
    alert: 'InmeshRenewalsFail',
    expr: `sum by (service) (increase(${PROCESS.renewalFailures.name}[30m])) > 0`,
    for: '5m',
    severity: 'ticket',
    summary: 'certificates of {{ $labels.service }} are not renewed',
    description: 'The registry refuses to renew them, or cannot be reached. `inmesh:identity:failed` has the reason.',
  },
  {
    alert: 'InmeshRegistryAway',
    expr: `min by (service) (${PROCESS.registryConnected.name}) == 0`,
    for: '5m',
    severity: 'ticket',
    summary: 'a process of {{ $labels.service }} has no session with the registry',
    description: 'It goes on with the configuration that it has, and learns no endpoints and no policies.',
  },
  {
    alert: 'InmeshSnapshotRejected',
    expr: `sum by (service) (increase(${PROCESS.snapshotsRejected.name}[15m])) > 0`,
    for: '0m',
    severity: 'ticket',
    summary: '{{ $labels.service }} rejected a snapshot; the last good one is in force',
    description:
      'What the registry sent is not valid here. `inmesh:snapshot:rejected` has the reason; versions may differ.',
  },
  {
    alert: 'InmeshEventLoopLate',
    expr: `max by (service) (${PROCESS.loopDelay.name}{quantile="0.99"}) > 0.2`,
    for: '5m',
    severity: 'ticket',
    summary: 'the event loop of {{ $labels.service }} is {{ $value | humanizeDuration }} late',
    description: 'One turn in a hundred is that late. All timeouts and latencies of the process are late by it.',
  },
]

export function alerts(): string {
  const rules = ALERTS.map(({ severity, summary, description, ...rule }) => ({
    ...rule,
    labels: { severity },
    annotations: { summary, description },
  }))
  return stringify({ groups: [{ name: 'inmesh', rules }] }, { lineWidth: 0 })
}
