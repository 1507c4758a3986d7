/** The generated dashboard and alerts, as Grafana and Prometheus want them. */
import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { parse } from 'yaml'
import { channelName, EVENT_NAMES } from '../../src/telemetry/events.ts'
import { METRIC_DEFINITIONS } from '../../src/telemetry/metric-definitions.ts'

const DASHBOARDS = new URL('../../docs/dashboards/', import.meta.url)
const read = (file: string): string => readFileSync(new URL(file, DASHBOARDS), 'utf8')

interface Panel {
  readonly id: number
  readonly type: string
  readonly title: string
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number }
  readonly targets?: readonly { refId: string; expr: string; legendFormat: string }[]
  readonly fieldConfig?: {
    readonly defaults: {
      readonly unit: string
      readonly thresholds?: {
        readonly mode: string
        readonly steps: readonly { color: string; value: number | null }[]
      }
      readonly mappings?: readonly { type: string; options: Record<string, { text: string; index: number }> }[]
    }
  }
}

const dashboard = JSON.parse(read('inmesh.json')) as {
  readonly panels: readonly Panel[]
  readonly templating: { readonly list: readonly { name: string }[] }
}
const charts = dashboard.panels.filter(({ type }) => type === 'timeseries')

it('the dashboard has a unit, a legend and a place for each panel', () => {
  const { panels } = dashboard
  expect(charts.length).toBeGreaterThan(20)
  expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length)
  expect(new Set(panels.map(({ title }) => title)).size).toBe(panels.length)
  const taken = new Set<string>()
  for (const { title, gridPos } of panels) {
    expect(gridPos.x + gridPos.w, title).toBeLessThanOrEqual(24)
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
        expect(taken.has(`${x} ${y}`), title).toBe(false)
        taken.add(`${x} ${y}`)
      }
    }
  }
  for (const { title, fieldConfig, targets = [] } of charts) {
    expect(['s', 'reqps', 'percentunit', 'none'], title).toContain(fieldConfig!.defaults.unit)
    expect(targets.length, title).toBeGreaterThan(0)
    expect(targets.map(({ refId }) => refId)).toEqual(targets.map((_, i) => 'ABC'[i]))
    for (const { expr, legendFormat } of targets) {
      const by = /\bby \(([^)]*)\)/
        .exec(expr)![1]!
        .split(', ')
        .filter((label) => label !== 'le')
      const shown = [...legendFormat.matchAll(/\{\{(\w+)\}\}/g)].map(([, label]) => label!)
      expect(shown.toSorted(), `${title}: ${legendFormat}`).toEqual(by.toSorted())
    }
  }
})

it('its variables are those that queries use', () => {
  const known = dashboard.templating.list.map(({ name }) => name)
  const used = charts.flatMap(({ targets = [] }) => targets.flatMap(({ expr }) => [...expr.matchAll(/\$(\w+)/g)]))
  expect(new Set(used.map(([, name]) => name))).toEqual(new Set([...known.slice(1), '__rate_interval']))
})

it('it shows where values are bad by a line, and states by their names', () => {
  const bad = charts.filter(({ fieldConfig }) => fieldConfig!.defaults.thresholds !== undefined)
  expect(bad.length).toBeGreaterThan(5)
  for (const { title, fieldConfig } of bad) {
    const { mode, steps } = fieldConfig!.defaults.thresholds!
    expect(mode).toBe('absolute')
    expect(
      steps.map(({ value }) => value === null),
      title,
    ).toEqual([true, false])
    expect(steps.map(({ color }) => color).toSorted(), title).toEqual(['green', 'red'])
  }
  for (const { title, targets = [], fieldConfig } of charts) {
    if (!targets.some(({ expr }) => /circuit_state/.test(expr))) continue
    const { options } = fieldConfig!.defaults.mappings![0]!
    expect(
      Object.entries(options).map(([value, { text }]) => `${value} ${text}`),
      title,
    ).toEqual(['0 closed', '1 half-open', '2 open'])
  }
})

it('each alert says what happened, what follows from it, and how urgent it is', () => {
  const { groups } = parse(read('alerts.yaml')) as {
    groups: {
      rules: {
        alert: string
        expr: string
        for: string
        labels: { severity: string }
        annotations: { summary: string; description: string }
      }[]
    }[]
  }
  const rules = groups.flatMap((group) => group.rules)
  const channels = EVENT_NAMES.map(channelName)
  expect(new Set(rules.map(({ alert }) => alert)).size).toBe(rules.length)
  for (const { alert, expr, for: wait, labels, annotations } of rules) {
    expect(alert).toMatch(/^Inmesh[A-Z]\w+$/)
    expect(wait, alert).toMatch(/^\d+m$/)
    expect(['page', 'ticket'], alert).toContain(labels.severity)
    expect(annotations.summary.length, alert).toBeGreaterThan(20)
    expect(annotations.description.length, alert).toBeGreaterThan(40)
    const by = /\bby \(([^)]*)\)/.exec(expr)![1]!.split(', ')
    for (const [, label] of annotations.summary.matchAll(/\$labels\.(\w+)/g)) expect(by, alert).toContain(label)
    for (const [, event] of annotations.description.matchAll(/`(inmesh:[\w:-]+)`/g)) expect(channels).toContain(event)
    for (const [, name] of annotations.description.matchAll(/`(inmesh_\w+)`/g)) {
      expect(
        METRIC_DEFINITIONS.some((one) => one.name === name),
        name,
      ).toBe(true)
    }
  }
})
