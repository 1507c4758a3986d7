import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { MetricKind } from '../../src/telemetry/define-metric.ts'
import { Metrics, MOST_SERIES, OVERFLOW } from '../../src/telemetry/metrics.ts'
import { parseMetrics, sampleOf } from './parse-metrics.ts'

function defined<K extends MetricKind>(kind: K, name: string, help: string, labels: readonly string[] = []) {
  return { kind, name, help, labels, unit: '1' }
}

describe('Metrics', () => {
  it('writes text that a strict parser reads back, whatever the labels hold', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.string({ maxLength: 100, unit: 'binary' }), { maxLength: 10 }), (values) => {
        const metrics = new Metrics()
        const family = metrics.counter(
          defined('counter', 'things_total', 'Things with \\ and \n in the help.', ['what']),
        )
        values.forEach((value, i) => {
          family.series(value).value = i + 1
        })
        const parsed = parseMetrics(metrics.text())
        expect(parsed.get('things_total')!.help).toBe('Things with \\\\ and \\n in the help.')
        values.forEach((value, i) => {
          // An empty value is the same as no label.
          const labels: Record<string, string> = value === '' ? {} : { what: value }
          if (value !== OVERFLOW) expect(sampleOf(parsed, 'things_total', labels)).toBe(i + 1)
        })
      }),
    )
  })

  it('writes histograms as cumulative buckets in seconds', () => {
    const metrics = new Metrics()
    const series = metrics.histogram(defined('histogram', 'wait_seconds', 'Waits.', ['peer'])).series('a')
    for (const ms of [1, 5, 6, 30, 20_000]) series.record(ms)
    const parsed = parseMetrics(metrics.text())
    const bucket = (le: string) => sampleOf(parsed, 'wait_seconds_bucket', { peer: 'a', le })
    expect(['0.005', '0.01', '0.025', '0.05', '10', '+Inf'].map(bucket)).toEqual([2, 3, 3, 4, 4, 5])
    expect(sampleOf(parsed, 'wait_seconds_count', { peer: 'a' })).toBe(5)
    expect(sampleOf(parsed, 'wait_seconds_sum', { peer: 'a' })).toBeCloseTo(20.042, 9)
  })

  it('gives the same series for the same labels, and keeps label values that would join to the same text apart', () => {
    const family = new Metrics().counter(defined('counter', 'c_total', 'C.', ['a', 'b']))
    expect(family.series('x', 'y')).toBe(family.series('x', 'y'))
    expect(family.series('x\u0000y', 'z')).not.toBe(family.series('x', 'y\u0000z'))
  })

  it('keeps 2,000 series of a metric and counts all further ones as one', () => {
    const metrics = new Metrics()
    const family = metrics.counter(defined('counter', 'c_total', 'C.', ['user']))
    for (let i = 0; i < 100_000; i++) family.series(`user-${i}`).value += 1
    const parsed = parseMetrics(metrics.text())
    expect(parsed.get('c_total')!.samples.size).toBe(MOST_SERIES + 1)
    expect(sampleOf(parsed, 'c_total', { user: OVERFLOW })).toBe(100_000 - MOST_SERIES)
    expect(sampleOf(parsed, 'inmesh_metrics_overflow_total', { metric: 'c_total' })).toBe(100_000 - MOST_SERIES)
  })

  it('cuts long label values', () => {
    const metrics = new Metrics()
    metrics.counter(defined('counter', 'c_total', 'C.', ['user'])).series('x'.repeat(100_000)).value += 1
    expect(metrics.text().length).toBeLessThan(1_000)
  })

  it('reads gauges when it is read, from all who observe them, until they stop', () => {
    const metrics = new Metrics()
    let depth = 1
    metrics.gauge(defined('gauge', 'depth', 'Depth.'), () => [{ labels: { of: 'a' }, value: depth }])
    const stop = metrics.gauge(defined('gauge', 'depth', 'Depth.'), () => [
      { labels: { of: 'b' }, value: Number.POSITIVE_INFINITY },
    ])
    depth = 7
    expect(sampleOf(parseMetrics(metrics.text()), 'depth', { of: 'a' })).toBe(7)
    expect(sampleOf(parseMetrics(metrics.text()), 'depth', { of: 'b' })).toBe(Number.POSITIVE_INFINITY)
    stop()
    expect(sampleOf(parseMetrics(metrics.text()), 'depth', { of: 'b' })).toBeUndefined()
  })

  it('shows all other metrics when one gauge throws, and counts it', () => {
    const metrics = new Metrics()
    metrics.gauge(defined('gauge', 'broken', 'Broken.'), () => {
      throw new Error('no')
    })
    metrics.gauge(defined('gauge', 'whole', 'Whole.'), () => [{ value: 1 }])
    const parsed = parseMetrics(metrics.text())
    expect(sampleOf(parsed, 'whole')).toBe(1)
    expect(sampleOf(parsed, 'inmesh_metrics_unreadable_total')).toBe(1)
  })

  it('bounds the series of a gauge', () => {
    const metrics = new Metrics()
    metrics.gauge(defined('gauge', 'many', 'Many.'), () =>
      Array.from({ length: 3_000 }, (_, i) => ({ labels: { i: `${i}` }, value: i })),
    )
    const parsed = parseMetrics(metrics.text())
    expect(parsed.get('many')!.samples.size).toBe(MOST_SERIES)
    expect(sampleOf(parsed, 'inmesh_metrics_overflow_total', { metric: 'many' })).toBe(1_000)
  })

  it('refuses names that the format does not allow, and one name for two kinds', () => {
    const metrics = new Metrics()
    expect(() => metrics.counter(defined('counter', 'not valid', 'N.'))).toThrow(
      "'not valid' is no valid name of a metric",
    )
    expect(() => metrics.counter(defined('counter', 'c_total', 'C.', ['a-b']))).toThrow(
      "'a-b' is no valid name of a label of c_total",
    )
    metrics.counter(defined('counter', 'c_total', 'C.'))
    expect(() => metrics.gauge(defined('gauge', 'c_total', 'C.'), () => [])).toThrow('exists already')
  })
})
