import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { parse } from 'yaml'
import { generated } from '../../lint/metric-tables.ts'
import { joinMesh } from '../../src/mesh/join-mesh.ts'
import { startRegistry } from '../../src/registry/index.ts'
import { channelName, EVENT_NAMES } from '../../src/telemetry/events.ts'
import { METRIC_DEFINITIONS, METRIC_GROUPS } from '../../src/telemetry/metric-definitions.ts'
import { parseMetrics } from './parse-metrics.ts'

const DOCS = new URL('../../docs/', import.meta.url)

function read(file: string): string {
  return readFileSync(new URL(file, DOCS), 'utf8')
}

function documented(file: string, row: RegExp): string[] {
  return [...read(file).matchAll(row)].map((match) => match.slice(1).join(' '))
}

/** A metric in a query, without the suffixes of histograms. */
function metricsIn(text: string): string[] {
  return [...text.matchAll(/\binmesh_\w+/g)].map(([name]) => name.replace(/_bucket$/, ''))
}

async function scrape(): Promise<ReturnType<typeof parseMetrics>> {
  const registry = await startRegistry({ port: 0, dev: true, memory: true, log: false })
  try {
    const { url } = registry
    await using mesh = await joinMesh({
      service: 'checkout',
      registry: url,
      stateDir: 'memory',
      handleSignals: false,
      drainNotice: 0,
      accessLog: { log: () => {} },
    })
    return parseMetrics(mesh.metrics())
  } finally {
    await registry.close()
  }
}

it('defines every metric that a mesh shows, and none that it does not', async () => {
  const shown = [...(await scrape())].map(([name, { kind, help }]) => `${name} ${kind} ${help}`)
  const defined = METRIC_DEFINITIONS.map(({ name, kind, help }) => `${name} ${kind} ${help}`)
  expect(shown.toSorted()).toEqual(defined.toSorted())
})

it('keeps the tables, the dashboard and the alerts as the definitions make them', () => {
  for (const [file, text] of generated()) {
    expect(readFileSync(file, 'utf8'), `${file.pathname}: npm run docs:tables`).toBe(text)
  }
  const groups = documented('metrics.md', /^<!-- metrics: (\w+) -->$/gm)
  expect(groups.toSorted()).toEqual(Object.keys(METRIC_GROUPS).toSorted())
})

it('shows on the dashboard and watches by alerts only metrics that a mesh has', async () => {
  const shown = await scrape()
  const alerts = parse(read('dashboards/alerts.yaml')) as { groups: { rules: { expr: string }[] }[] }
  const rules = alerts.groups.flatMap((group) => group.rules)
  const dashboard = JSON.parse(read('dashboards/inmesh.json')) as { panels: { targets?: { expr: string }[] }[] }
  const queries = dashboard.panels.flatMap(({ targets = [] }) => targets)
  expect(rules.length).toBeGreaterThan(5)
  expect(queries.length).toBeGreaterThan(20)
  for (const { expr } of [...rules, ...queries]) {
    const used = metricsIn(expr)
    expect(used, expr).not.toEqual([])
    for (const name of used) expect(shown.has(name), `${name} in ${expr}`).toBe(true)
    const labels = [...expr.matchAll(/[{,]\s*(\w+)(?:=|!=)/g), ...expr.matchAll(/by \(([^)]*)\)/g)]
    const known = new Set(METRIC_DEFINITIONS.filter(({ name }) => used.includes(name)).flatMap((one) => one.labels))
    for (const label of labels.flatMap(([, names]) => names!.split(/,\s*/)))
      if (label !== 'le') expect(known, `${label} in ${expr}`).toContain(label)
  }
  for (const name of metricsIn(read('metrics.md').replace(/inmesh_client_\*/g, '')))
    if (!name.endsWith('_')) expect(shown.has(name), name).toBe(true)
})

it('documents every event, and none that is not there', () => {
  expect(documented('events.md', /^\| `(inmesh:[a-z:-]+)` \|/gm)).toEqual(EVENT_NAMES.map(channelName))
})
