import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { systemClock } from '../../src/core/clock.ts'
import { LineWriter } from '../../src/telemetry/access-log/line-writer.ts'
import { createTelemetry } from '../../src/telemetry/call-telemetry.ts'
import { EventMetrics } from '../../src/telemetry/event-metrics.ts'
import { channelName, EVENT_NAMES, Events } from '../../src/telemetry/events.ts'
import { registerMeshGauges } from '../../src/telemetry/mesh-gauges.ts'
import { Metrics } from '../../src/telemetry/metrics.ts'
import { TcpMetrics } from '../../src/telemetry/tcp-metrics.ts'
import { parseMetrics } from './parse-metrics.ts'

function documented(file: string, row: RegExp): string[] {
  const text = readFileSync(new URL(`../../docs/${file}`, import.meta.url), 'utf8')
  return [...text.matchAll(row)].map((match) => match.slice(1).join(' '))
}

it('documents every metric with its kind, and none that is not there', () => {
  const service = 'checkout'
  const metrics = new Metrics()
  for (const side of ['client', 'server'] as const) createTelemetry({ side, service, metrics, clock: systemClock })
  for (const side of ['client', 'server'] as const) new TcpMetrics(metrics, side, service)
  new LineWriter(() => {}, metrics, service)
  new EventMetrics(service, metrics, new Events(service, systemClock, metrics))
  registerMeshGauges(metrics, {
    service,
    peers: () => [],
    certificateNotAfter: () => undefined,
    wallNow: () => 0,
    snapshotAgeMs: () => undefined,
    configRevision: () => undefined,
    registryConnected: () => undefined,
  })
  const there = [...parseMetrics(metrics.text())].map(([name, { kind }]) => `${name} ${kind}`)
  expect(documented('metrics.md', /^\| `(inmesh_\w+)` \| (\w+) \|/gm).toSorted()).toEqual(there.toSorted())
})

it('documents every event, and none that is not there', () => {
  expect(documented('events.md', /^\| `(inmesh:[a-z:-]+)` \|/gm)).toEqual(EVENT_NAMES.map(channelName))
})
