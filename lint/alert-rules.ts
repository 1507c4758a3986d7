/** The Prometheus alert rules of a mesh. */
import { stringify } from 'yaml'
import { CLIENT_CALLS, FUNCTIONS, PEERS, PROCESS } from '../src/telemetry/metric-definitions.ts'

interface Alert {
  readonly alert: string
  readonly expr: string
  readonly for: string
  readonly severity: 'page' | 'ticket'
  readonly summary: string
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
  },
  {
    alert: 'InmeshCircuitOpen',
    expr: `max by (${EDGE}) (${PEERS.circuit.name}) == 2`,
    for: '1m',
    severity: 'page',
    summary: 'the breaker of {{ $labels.service }} for {{ $labels.peer }} is open',
  },
  {
    alert: 'InmeshFunctionCircuitOpen',
    expr: `max by (service, function) (${FUNCTIONS.circuit.name}) == 2`,
    for: '1m',
    severity: 'ticket',
    summary: 'the breaker of the function {{ $labels.function }} in {{ $labels.service }} is open',
  },
  {
    alert: 'InmeshPanic',
    expr: `max by (${EDGE}) (${PEERS.panic.name}) == 1`,
    for: '1m',
    severity: 'page',
    summary: 'fewer than half of the endpoints of {{ $labels.peer }} are healthy for {{ $labels.service }}',
  },
  {
    alert: 'InmeshRetriesUnpaid',
    expr: `sum by (${EDGE}) (rate(${PEERS.unpaid.name}[5m])) > 1`,
    for: '5m',
    severity: 'ticket',
    summary: 'the retry budget of {{ $labels.service }} for {{ $labels.peer }} is exhausted',
  },
  {
    alert: 'InmeshCertificateEnds',
    expr: `min by (service) (${PROCESS.identityExpiry.name}) < 3600`,
    for: '5m',
    severity: 'page',
    summary: 'a certificate of {{ $labels.service }} ends in {{ $value | humanizeDuration }}',
  },
  {
    alert: 'InmeshRenewalsFail',
    expr: `sum by (service) (increase(${PROCESS.renewalFailures.name}[30m])) > 0`,
    for: '5m',
    severity: 'ticket',
    summary: 'certificates of {{ $labels.service }} are not renewed',
  },
  {
    alert: 'InmeshRegistryAway',
    expr: `min by (service) (${PROCESS.registryConnected.name}) == 0`,
    for: '5m',
    severity: 'ticket',
    summary: 'a process of {{ $labels.service }} has no session with the registry',
  },
  {
    alert: 'InmeshSnapshotRejected',
    expr: `sum by (service) (increase(${PROCESS.snapshotsRejected.name}[15m])) > 0`,
    for: '0m',
    severity: 'ticket',
    summary: '{{ $labels.service }} rejected a snapshot; the last good one is in force',
  },
  {
    alert: 'InmeshEventLoopLate',
    expr: `max by (service) (${PROCESS.loopDelay.name}{quantile="0.99"}) > 0.2`,
    for: '5m',
    severity: 'ticket',
    summary: 'the event loop of {{ $labels.service }} is {{ $value | humanizeDuration }} late',
  },
]

export function alerts(): string {
  const rules = ALERTS.map(({ severity, summary, ...rule }) => ({
    ...rule,
    labels: { severity },
    annotations: { summary },
  }))
  return stringify({ groups: [{ name: 'inmesh', rules }] }, { lineWidth: 0 })
}
