/**
 * Writes what follows from the definitions of metrics: the tables of `docs/metrics.md`, the Grafana
 * dashboard, the alerts. `node lint/metric-tables.ts --write`; a test compares.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import type { MetricDefinition } from '../src/telemetry/define-metric.ts'
import { CLIENT_CALLS, METRIC_GROUPS, SERVER_CALLS } from '../src/telemetry/metric-definitions.ts'
import { OTEL_CALL_DURATIONS, otelName } from '../src/telemetry/otel-names.ts'
import { alerts } from './alert-rules.ts'
import { dashboard } from './dashboard.ts'

const DOCS = new URL('../docs/', import.meta.url)
const TABLE = /(<!-- metrics: (\w+) -->\n)[\s\S]*?(<!-- end of metrics -->)/g
const HEAD = ['| metric | OpenTelemetry | kind | labels | meaning |', '|---|---|---|---|---|']

/** Each file that is generated, and what it must hold. */
export function generated(): ReadonlyMap<URL, string> {
  const page = new URL('metrics.md', DOCS)
  return new Map([
    [page, readFileSync(page, 'utf8').replace(TABLE, (_, begin, group, end) => `${begin}${table(group)}\n${end}`)],
    [new URL('dashboards/inmesh.json', DOCS), `${JSON.stringify(dashboard(), null, 2)}\n`],
    [new URL('dashboards/alerts.yaml', DOCS), alerts()],
  ])
}

function table(group: string): string {
  const metrics = METRIC_GROUPS[group]
  if (metrics === undefined) throw new Error(`there is no group of metrics '${group}'`)
  return [...HEAD, ...metrics.map(row)].join('\n')
}

function row(definition: MetricDefinition): string {
  const { name, kind, labels, optional, help } = definition
  const named = labels.map((label) => `${label}${optional?.includes(label) ? '?' : ''}`).join(', ')
  return `| \`${name}\` | ${inOpenTelemetry(definition)} | ${kind} | ${named} | ${help} |`
}

function inOpenTelemetry(definition: MetricDefinition): string {
  const { name, unit } = definition
  const side = definition === CLIENT_CALLS.durations ? 'client' : definition === SERVER_CALLS.durations ? 'server' : ''
  const names = side === '' ? [otelName(name)] : Object.values(OTEL_CALL_DURATIONS[side])
  return `${names.map((one) => `\`${one}\``).join(', ')}, ${unit}`
}

if (process.argv[1] === import.meta.filename && process.argv.includes('--write')) {
  for (const [file, text] of generated()) writeFileSync(file, text)
}
