/** What the registry says in its own metrics about the reports that it keeps. */
import type { MeshTraffic } from './mesh-traffic.ts'

export interface RegistryMetric {
  /** Without the prefix of all metrics of registries. */
  readonly name: string
  readonly help: string
  readonly type: 'counter' | 'gauge'
  readonly value: number
}

export function trafficMetrics({ traffic, streams }: MeshTraffic): RegistryMetric[] {
  const { taken, dropped, missed, table, rings, processes } = traffic
  const counter = (name: string, help: string, value: number): RegistryMetric => ({
    name,
    help,
    type: 'counter',
    value,
  })
  const gauge = (name: string, help: string, value: number): RegistryMetric => ({ name, help, type: 'gauge', value })
  return [
    counter('traffic_reports_total', 'Reports taken.', taken),
    counter('traffic_reports_dropped_total', 'Reports refused, come too often, or kept in part.', dropped),
    counter('traffic_reports_missed_total', 'Times that reports before one were lost on the way.', missed),
    counter('traffic_other_total', 'Series of reports counted as other, for want of room.', table.folded),
    gauge('traffic_processes', 'Processes expected to report.', processes.size),
    gauge('traffic_series', 'Series known, of one hour.', table.size),
    gauge('traffic_bytes', 'Of the counts kept.', rings.bytes),
    gauge('traffic_kept_seconds', 'Time of which counts are kept.', Math.max(0, traffic.now() - rings.since) / 1_000),
    gauge('traffic_streams', 'Streams of the graph open.', streams.size),
  ]
}
