import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { describe, expect, it } from 'vitest'
import { EventMetrics } from '../../src/telemetry/event-metrics.ts'
import { channelName, EVENT_NAMES, type EventSink, Events } from '../../src/telemetry/events.ts'
import { Metrics } from '../../src/telemetry/metrics.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import { parseMetrics, sampleOf } from './parse-metrics.ts'

const ejected = { peer: 'inventory', endpoint: '10.0.0.7:80', reason: 'consecutive-failures', forMs: 5_000 }

describe('Events', () => {
  it('publishes each event on its channel, with our service and the time', () => {
    const clock = new FakeClock({ wallNow: 1_000 })
    const received: unknown[] = []
    const listener = (message: unknown, name: string | symbol) => received.push([name, message])
    subscribe(channelName('endpoint:ejected'), listener)
    try {
      new Events('checkout', clock).emit('endpoint:ejected', ejected)
    } finally {
      unsubscribe('inmesh:endpoint:ejected', listener)
    }
    expect(received).toEqual([['inmesh:endpoint:ejected', { ...ejected, service: 'checkout', at: 1_000 }]])
  })

  it('keeps the last 200, oldest first', () => {
    const clock = new FakeClock({ wallNow: 0 })
    const events = new Events('checkout', clock)
    for (let i = 0; i < 250; i++) {
      events.emit('endpoint:ejected', { ...ejected, endpoint: `10.0.0.7:${i}` })
      clock.advance(1)
    }
    const kept = events.recent()
    expect(kept.map(({ at }) => at)).toEqual(Array.from({ length: 200 }, (_, i) => i + 50))
    expect(kept.at(-1)!.payload.endpoint).toBe('10.0.0.7:249')
  })

  it('keeps one entry a second for one cause, with how often it came again', () => {
    const clock = new FakeClock({ wallNow: 0 })
    const metrics = new Metrics()
    const events = new Events('checkout', clock, metrics)
    for (let i = 0; i < 1_500; i++) {
      events.emit('admission:refused', { side: 'server', code: 'concurrency-limited', limit: i })
      clock.advance(1)
    }
    events.emit('admission:refused', { side: 'server', code: 'rate-limited' })
    expect(events.recent().map(({ at, repeated, payload }) => [at, repeated, payload.code])).toEqual([
      [0, 999, 'concurrency-limited'],
      [1_000, 499, 'concurrency-limited'],
      [1_500, 0, 'rate-limited'],
    ])
    const counted = { service: 'checkout', event: 'admission:refused' }
    expect(sampleOf(parseMetrics(metrics.text()), 'inmesh_events_total', counted)).toBe(1_501)
  })

  it('keeps a connection to a registry that follows a loss within the same second', () => {
    const clock = new FakeClock({ wallNow: 0 })
    const events = new Events('checkout', clock)
    const address = 'https://registry:7420'
    for (let i = 0; i < 3; i++) {
      events.emit('registry:connected', { address })
      clock.advance(100)
      events.emit('registry:lost', { address, reason: 'the connection ended' })
      clock.advance(100)
    }
    // The second loss repeats the first, so the third connection repeats the second.
    expect(events.recent().map(({ name, repeated }) => [name, repeated])).toEqual([
      ['registry:connected', 0],
      ['registry:lost', 2],
      ['registry:connected', 1],
    ])
  })

  it('keeps no secret and no long text', () => {
    const events = new Events('checkout', new FakeClock())
    const reason = `-----BEGIN PRIVATE KEY-----\nMIGH\n-----END PRIVATE KEY-----`
    events.emit('identity:failed', { reason })
    events.emit('registry:lost', { address: 'r', reason: 'got authorization: Bearer abcdef' })
    events.emit('intention:denied', { peer: 'audit', method: 'GET', path: `/${'x'.repeat(10_000)}` })
    const text = JSON.stringify(events.recent())
    expect(text).not.toContain('MIGH')
    expect(text).not.toContain('abcdef')
    expect(text.length).toBeLessThan(2_000)
  })

  it('is not changed by who reads it', () => {
    const events = new Events('checkout', new FakeClock())
    events.emit('endpoint:ejected', ejected)
    Object.assign(events.recent()[0]!.payload, { endpoint: 'other' })
    expect(events.recent()[0]!.payload.endpoint).toBe('10.0.0.7:80')
  })

  it('stays bounded under causes without end', () => {
    const events = new Events('checkout', new FakeClock())
    for (let i = 0; i < 20_000; i++) events.emit('peer:refused', { side: 'server', reason: `reason ${i}` })
    expect(events.recent()).toHaveLength(200)
  })
})

describe('EventMetrics', () => {
  it('counts the golden events by their labels and hands all of them on', () => {
    const metrics = new Metrics()
    const passed: string[] = []
    const next: EventSink = { emit: (name) => passed.push(name) }
    const sink = new EventMetrics('checkout', metrics, next)
    sink.emit('endpoint:ejected', ejected)
    sink.emit('cluster:panic', { peer: 'inventory', on: true, healthy: 1, endpoints: 3 })
    sink.emit('cluster:panic', { peer: 'inventory', on: false, healthy: 2, endpoints: 3 })
    sink.emit('circuit:transition', { peer: 'inventory', from: 'closed', to: 'open' })
    sink.emit('drain:step', { step: 'deregister' })
    expect(passed).toEqual(['endpoint:ejected', 'cluster:panic', 'cluster:panic', 'circuit:transition', 'drain:step'])
    const parsed = parseMetrics(metrics.text())
    const labels = { service: 'checkout', peer: 'inventory' }
    const reason = 'consecutive-failures'
    expect(sampleOf(parsed, 'inmesh_client_ejections_total', { ...labels, reason })).toBe(1)
    expect(sampleOf(parsed, 'inmesh_client_panics_total', labels)).toBe(1)
    expect(sampleOf(parsed, 'inmesh_client_circuit_transitions_total', { ...labels, to: 'open' })).toBe(1)
    expect(sampleOf(parsed, 'inmesh_snapshots_rejected_total', { service: 'checkout' })).toBe(0)
  })
})

it('names every event inmesh:<area>:<what>', () => {
  for (const name of EVENT_NAMES) expect(channelName(name)).toMatch(/^inmesh:[a-z]+:[a-z-]+$/)
  expect(new Set(EVENT_NAMES).size).toBe(EVENT_NAMES.length)
})
