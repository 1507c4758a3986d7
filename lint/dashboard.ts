/** The Grafana dashboard of a mesh, in the JSON model that Grafana 10 and later import. */
import type { MetricDefinition } from '../src/telemetry/define-metric.ts'
import { CLIENT_CALLS, FUNCTIONS, PEERS, PROCESS, SERVER, SERVER_CALLS } from '../src/telemetry/metric-definitions.ts'

interface Panel {
  readonly title: string
  readonly unit: string
  readonly queries: readonly (readonly [expr: string, legend: string])[]
  /** A line from which, or below which, the alerts or the defaults call it bad. */
  readonly bad?: { readonly from: number } | { readonly below: number }
  /** May be negative. */
  readonly signed?: true
  /** Texts in place of numbers. */
  readonly texts?: readonly string[]
}

const CIRCUIT_TEXTS = ['closed', 'half-open', 'open']

/** Services and peers that the viewer has chosen. */
const CHOSEN = '{service=~"$service",peer=~"$peer"}'
const OWN = '{service=~"$service"}'
const EDGE = 'service, peer'
const EDGE_LEGEND = '{{service}} → {{peer}}'

const rate = ({ name }: MetricDefinition, chosen: string) => `rate(${name}${chosen}[$__rate_interval])`
const perEdge = (expr: string) => `sum by (${EDGE}) (${expr})`
const failed = (chosen: string) => chosen.replace('}', ',code!~"ok|cancelled"}')

function share({ name }: MetricDefinition): string {
  const of = (chosen: string) => perEdge(`rate(${name}${chosen}[$__rate_interval])`)
  return `1 - (${of(failed(CHOSEN))} or 0 * ${of(CHOSEN)}) / ${of(CHOSEN)}`
}

function quantile(q: number, { name }: MetricDefinition, by: string, chosen: string): string {
  return `histogram_quantile(${q}, sum by (${by}, le) (rate(${name}_bucket${chosen}[$__rate_interval])))`
}

const ROWS: readonly (readonly [title: string, panels: readonly Panel[]])[] = [
  [
    'Calls, as callers see them',
    [
      {
        title: 'Calls per second',
        unit: 'reqps',
        queries: [[perEdge(rate(CLIENT_CALLS.requests, CHOSEN)), EDGE_LEGEND]],
      },
      {
        title: 'Success',
        unit: 'percentunit',
        queries: [[share(CLIENT_CALLS.requests), EDGE_LEGEND]],
        bad: { below: 0.95 },
      },
      {
        title: '99th percentile of calls',
        unit: 's',
        queries: [[quantile(0.99, CLIENT_CALLS.durations, EDGE, CHOSEN), EDGE_LEGEND]],
      },
      {
        title: 'Failures by code',
        unit: 'reqps',
        queries: [[`sum by (peer, code) (${rate(CLIENT_CALLS.requests, failed(CHOSEN))})`, '{{peer}} {{code}}']],
      },
      {
        title: 'Attempts per call',
        unit: 'none',
        queries: [
          [
            `${perEdge(rate(CLIENT_CALLS.attempts, CHOSEN))} / ${perEdge(rate(CLIENT_CALLS.requests, CHOSEN))}`,
            EDGE_LEGEND,
          ],
        ],
        bad: { from: 1.2 },
      },
      {
        title: 'Retries, hedges, unpaid retries',
        unit: 'reqps',
        queries: [
          [`sum by (peer) (${rate(CLIENT_CALLS.retries, CHOSEN)})`, '{{peer}} retries'],
          [`sum by (peer, what) (${rate(PEERS.hedges, CHOSEN)})`, '{{peer}} hedges {{what}}'],
          [`sum by (peer) (${rate(PEERS.unpaid, CHOSEN)})`, '{{peer}} unpaid'],
        ],
      },
    ],
  ],
  [
    'Called services',
    [
      {
        title: 'Breakers',
        texts: CIRCUIT_TEXTS,
        bad: { from: 2 },
        unit: 'none',
        queries: [[`max by (${EDGE}) (${PEERS.circuit.name}${CHOSEN})`, EDGE_LEGEND]],
      },
      {
        title: 'Endpoints by state',
        unit: 'none',
        queries: [[`sum by (peer, state) (${PEERS.endpoints.name}${CHOSEN})`, '{{peer}} {{state}}']],
      },
      {
        title: 'Ejections',
        unit: 'reqps',
        queries: [[`sum by (peer, reason) (${rate(PEERS.ejections, CHOSEN)})`, '{{peer}} {{reason}}']],
      },
      {
        title: 'Panic',
        unit: 'none',
        queries: [[`max by (${EDGE}) (${PEERS.panic.name}${CHOSEN})`, EDGE_LEGEND]],
        texts: ['no', 'panic'],
        bad: { from: 1 },
      },
      {
        title: 'Throttled share',
        unit: 'percentunit',
        queries: [[`max by (${EDGE}) (${PEERS.throttled.name}${CHOSEN})`, EDGE_LEGEND]],
      },
      {
        title: 'Attempts in flight',
        unit: 'none',
        queries: [[perEdge(`${PEERS.attemptsInFlight.name}${CHOSEN}`), EDGE_LEGEND]],
      },
    ],
  ],
  [
    'Servers',
    [
      {
        title: 'Requests per second',
        unit: 'reqps',
        queries: [[perEdge(rate(SERVER_CALLS.requests, CHOSEN)), '{{peer}} → {{service}}']],
      },
      {
        title: '99th percentile of requests',
        unit: 's',
        queries: [[quantile(0.99, SERVER_CALLS.durations, 'service', OWN), '{{service}}']],
      },
      {
        title: 'Requests in flight and limit',
        unit: 'none',
        queries: [
          [`sum by (service) (${SERVER_CALLS.inFlight.name}${OWN})`, '{{service}} in flight'],
          [`sum by (service) (${SERVER.concurrencyLimit.name}${OWN})`, '{{service}} limit'],
        ],
      },
      {
        title: 'Denied by intentions',
        unit: 'reqps',
        queries: [[perEdge(rate(SERVER.denied, CHOSEN)), '{{peer}} → {{service}}']],
      },
    ],
  ],
  [
    'Guarded functions',
    [
      {
        title: 'Calls by code',
        unit: 'reqps',
        queries: [[`sum by (function, code) (${rate(FUNCTIONS.calls, OWN)})`, '{{function}} {{code}}']],
      },
      {
        title: '99th percentile',
        unit: 's',
        queries: [[quantile(0.99, FUNCTIONS.durations, 'function', OWN), '{{function}}']],
      },
      {
        title: 'Breakers of functions',
        texts: CIRCUIT_TEXTS,
        bad: { from: 2 },
        unit: 'none',
        queries: [[`max by (function) (${FUNCTIONS.circuit.name}${OWN})`, '{{function}}']],
      },
    ],
  ],
  [
    'Identity, registry, process',
    [
      {
        title: 'Certificates end in',
        signed: true,
        bad: { below: 3_600 },
        unit: 's',
        queries: [[`min by (service) (${PROCESS.identityExpiry.name}${OWN})`, '{{service}}']],
      },
      {
        title: 'Processes with a session',
        unit: 'none',
        queries: [[`sum by (service) (${PROCESS.registryConnected.name}${OWN})`, '{{service}}']],
      },
      {
        title: 'Age of the configuration',
        unit: 's',
        queries: [[`max by (service) (${PROCESS.snapshotAge.name}${OWN})`, '{{service}}']],
      },
      {
        title: 'Event loop, 99th percentile of its delay',
        bad: { from: 0.2 },
        unit: 's',
        queries: [[`max by (service) (${PROCESS.loopDelay.name}{service=~"$service",quantile="0.99"})`, '{{service}}']],
      },
    ],
  ],
]

const COLUMNS = 3
const WIDTH = 24 / COLUMNS
const HEIGHT = 8
const DATASOURCE = { type: 'prometheus', uid: '$datasource' }

export function dashboard(): unknown {
  const panels: unknown[] = []
  let y = 0
  for (const [title, row] of ROWS) {
    panels.push({
      id: panels.length + 1,
      type: 'row',
      title,
      collapsed: false,
      gridPos: { h: 1, w: 24, x: 0, y },
      panels: [],
    })
    y += 1
    row.forEach((panel, i) => {
      const at = { h: HEIGHT, w: WIDTH, x: (i % COLUMNS) * WIDTH, y: y + Math.floor(i / COLUMNS) * HEIGHT }
      panels.push(timeSeries(panels.length + 1, panel, at))
    })
    y += Math.ceil(row.length / COLUMNS) * HEIGHT
  }
  return {
    uid: 'inmesh',
    title: 'inmesh',
    tags: ['inmesh'],
    schemaVersion: 39,
    version: 1,
    editable: true,
    timezone: 'browser',
    time: { from: 'now-1h', to: 'now' },
    refresh: '10s',
    templating: { list: [source(), chosen('service', CLIENT_CALLS.requests), chosen('peer', CLIENT_CALLS.requests)] },
    panels,
  }
}

/** Grafana colors what is at a step or above it. */
function thresholds(bad: Panel['bad']): object {
  if (bad === undefined) return {}
  const [below, at, value] = 'from' in bad ? ['green', 'red', bad.from] : ['red', 'green', bad.below]
  const steps = [
    { color: below, value: null },
    { color: at, value },
  ]
  return { thresholds: { mode: 'absolute', steps }, custom: { thresholdsStyle: { mode: 'dashed' } } }
}

function mappings(texts: readonly string[] | undefined): object {
  if (texts === undefined) return {}
  const options = Object.fromEntries(texts.map((text, index) => [String(index), { text, index }]))
  return { mappings: [{ type: 'value', options }] }
}

function timeSeries(id: number, panel: Panel, gridPos: object): unknown {
  const { title, unit, queries, bad, signed, texts } = panel
  return {
    id,
    type: 'timeseries',
    title,
    datasource: DATASOURCE,
    gridPos,
    fieldConfig: {
      defaults: { unit, ...(!signed && { min: 0 }), ...mappings(texts), ...thresholds(bad) },
      overrides: [],
    },
    options: { legend: { displayMode: 'list', placement: 'bottom' }, tooltip: { mode: 'multi', sort: 'desc' } },
    targets: queries.map(([expr, legendFormat], i) => ({
      refId: String.fromCharCode(65 + i),
      datasource: DATASOURCE,
      expr,
      legendFormat,
      exemplar: expr.startsWith('histogram_quantile'),
    })),
  }
}

function source(): unknown {
  return { name: 'datasource', label: 'Data source', type: 'datasource', query: 'prometheus', current: {} }
}

function chosen(label: string, { name }: MetricDefinition): unknown {
  const query = `label_values(${name}, ${label})`
  return {
    name: label,
    type: 'query',
    datasource: DATASOURCE,
    definition: query,
    query: { query, refId: label },
    refresh: 2,
    sort: 1,
    multi: true,
    includeAll: true,
    // Also metrics without this label.
    allValue: '.*',
    current: { text: ['All'], value: ['$__all'] },
  }
}
