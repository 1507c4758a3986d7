import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { describe, expect, it } from 'vitest'
import { Attempt } from '../../src/core/attempt.ts'
import { Call, type CallKind } from '../../src/core/call.ts'
import { type Outcome, outcome, SUCCESS } from '../../src/core/outcome.ts'
import type { Telemetry } from '../../src/core/telemetry.ts'
import type { Side } from '../../src/telemetry/call-metrics.ts'
import { createTelemetry } from '../../src/telemetry/call-telemetry.ts'
import { Metrics, MOST_SERIES, OVERFLOW } from '../../src/telemetry/metrics.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import { parseMetrics, sampleOf } from './parse-metrics.ts'

function kind(given: Partial<CallKind> = {}): CallKind {
  return { service: 'inventory', method: 'GET', protocol: 'http', streaming: false, idempotent: true, ...given }
}

function setUp(side: Side = 'client', observers: Telemetry[] = []) {
  const clock = new FakeClock()
  const metrics = new Metrics()
  const telemetry = createTelemetry({ side, service: 'checkout', metrics, clock, observers })
  const start = (of: CallKind = kind(), peer?: string): Call => {
    const call = new Call(of, clock.now(), Number.POSITIVE_INFINITY, undefined)
    call.peer = peer
    telemetry.callStarted(call)
    return call
  }
  const attempt = (call: Call, ended: Outcome, waitMs = -1): void => {
    const made = new Attempt(call)
    made.number = call.attempts++
    telemetry.attemptStarted(made)
    telemetry.attemptEnded(made, ended, waitMs)
    if (waitMs < 0) telemetry.callEnded(call, ended)
  }
  const read = (name: string, labels: Record<string, string>) => sampleOf(parseMetrics(metrics.text()), name, labels)
  return { clock, metrics, telemetry, start, attempt, read }
}

const edge = { service: 'checkout', peer: 'inventory', method: 'GET' }

describe('the transport of calls', () => {
  it('is counted by attempts on clients and by requests on servers, without those that had none', () => {
    for (const [side, name, peer] of [
      ['client', 'inmesh_client_transport_attempts_total', 'inventory'],
      ['server', 'inmesh_server_transport_requests_total', 'storefront'],
    ] as const) {
      const { telemetry, start, read } = setUp(side)
      for (const transport of ['inmesh/1', 'http/1.1', undefined, 'inmesh/1', 'inmesh/1']) {
        const call = start(kind(), peer)
        const attempt = new Attempt(call)
        attempt.transport = transport
        telemetry.attemptEnded(attempt, transport === undefined ? outcome('refused', 'connect-failed') : SUCCESS, -1)
        telemetry.callEnded(call, SUCCESS)
      }
      const counted = (transport: string) => read(name, { service: 'checkout', peer, transport })
      expect([counted('inmesh/1'), counted('http/1.1'), counted('h2')]).toEqual([3, 1, undefined])
    }
  })
})

describe('the channel of ended calls', () => {
  it('names the called service of a call made, and the caller of one served', () => {
    const peers: unknown[] = []
    const listener = (message: unknown) => peers.push((message as { peer: string }).peer)
    subscribe('inmesh:call:ended', listener)
    setUp('client').attempt(setUp('client').start(kind()), SUCCESS)
    const { start, attempt } = setUp('server')
    attempt(start(kind({ service: 'checkout' }), 'storefront'), SUCCESS)
    attempt(start(kind({ service: 'checkout' })), SUCCESS)
    unsubscribe('inmesh:call:ended', listener)
    expect(peers).toEqual(['inventory', 'storefront', 'unknown'])
  })
})

describe('metrics of calls', () => {
  it('counts a success, its duration and its one attempt', () => {
    const { clock, start, attempt, read } = setUp()
    const call = start()
    expect(read('inmesh_client_requests_in_flight', edge)).toBe(1)
    clock.advance(30)
    attempt(call, SUCCESS)
    expect(read('inmesh_client_requests_in_flight', edge)).toBe(0)
    expect(read('inmesh_client_requests_total', { ...edge, code: 'ok' })).toBe(1)
    expect(read('inmesh_client_attempts_total', { ...edge, code: 'ok' })).toBe(1)
    expect(read('inmesh_client_request_duration_seconds_sum', edge)).toBeCloseTo(0.03, 9)
    expect(read('inmesh_client_request_duration_seconds_bucket', { ...edge, le: '0.025' })).toBe(0)
    expect(read('inmesh_client_request_duration_seconds_bucket', { ...edge, le: '0.05' })).toBe(1)
  })

  it('counts what the caller experienced as one request, and each retry with its cause', () => {
    const { start, attempt, read } = setUp()
    const call = start()
    attempt(call, outcome('failure', 'connection-lost'), 10)
    attempt(call, outcome('refused', 'refused-by-peer'), 0)
    attempt(call, SUCCESS)
    expect(read('inmesh_client_requests_total', { ...edge, code: 'ok' })).toBe(1)
    expect(read('inmesh_client_attempts_total', { ...edge, code: 'connection-lost' })).toBe(1)
    expect(read('inmesh_client_retries_total', { ...edge, code: 'connection-lost' })).toBe(1)
    expect(read('inmesh_client_retries_total', { ...edge, code: 'refused-by-peer' })).toBe(1)
  })

  it('counts failures by code, also of calls without any attempt', () => {
    const { start, attempt, telemetry, read } = setUp()
    attempt(start(), outcome('failure', 'server-error', undefined, 500))
    telemetry.callEnded(start(), outcome('refused', 'circuit-open'))
    expect(read('inmesh_client_requests_total', { ...edge, code: 'server-error' })).toBe(1)
    expect(read('inmesh_client_requests_total', { ...edge, code: 'circuit-open' })).toBe(1)
    expect(read('inmesh_client_requests_in_flight', edge)).toBe(0)
  })

  it('counts the end of a call once', () => {
    const { start, telemetry, read } = setUp()
    const call = start()
    telemetry.callEnded(call, SUCCESS)
    telemetry.callEnded(call, SUCCESS)
    expect(read('inmesh_client_requests_total', { ...edge, code: 'ok' })).toBe(1)
    expect(read('inmesh_client_requests_in_flight', edge)).toBe(0)
  })

  it('records no duration of streams', () => {
    const { start, attempt, read } = setUp()
    attempt(start(kind({ streaming: true })), SUCCESS)
    expect(read('inmesh_client_requests_total', { ...edge, code: 'ok' })).toBe(1)
    expect(read('inmesh_client_request_duration_seconds_count', edge)).toBe(0)
  })

  it('takes the caller as the peer on a server, and says so when it is unknown', () => {
    const { start, attempt, read } = setUp('server')
    attempt(start(kind(), 'storefront'), SUCCESS)
    attempt(start(kind()), SUCCESS)
    for (const peer of ['storefront', 'unknown']) {
      expect(read('inmesh_server_requests_total', { ...edge, peer, code: 'ok' })).toBe(1)
    }
  })

  it('counts methods that HTTP does not know as one, and gRPC methods by their names', () => {
    const { start, attempt, read } = setUp()
    for (const method of ['get', 'HACK', `X${'y'.repeat(5_000)}`]) attempt(start(kind({ method })), SUCCESS)
    attempt(start(kind({ method: '/shop.Inventory/Get', protocol: 'grpc' })), SUCCESS)
    expect(read('inmesh_client_requests_total', { ...edge, method: '_OTHER', code: 'ok' })).toBe(3)
    expect(read('inmesh_client_requests_total', { ...edge, method: '/shop.Inventory/Get', code: 'ok' })).toBe(1)
  })

  it('stays bounded under 50,000 different peers, and loses no request', () => {
    const { start, attempt, metrics, read } = setUp('server')
    const of = kind()
    for (let i = 0; i < 50_000; i++)
      attempt(start(of, `peer-${i}`), i % 2 === 0 ? SUCCESS : outcome('failure', 'overloaded'))
    const text = metrics.text()
    const samples = [...parseMetrics(text).get('inmesh_server_requests_total')!.samples.values()]
    expect(samples.length).toBeLessThanOrEqual(MOST_SERIES + 1)
    expect(samples.reduce((sum, { value }) => sum + value, 0)).toBe(50_000)
    const all = { service: OVERFLOW, peer: OVERFLOW, method: OVERFLOW }
    expect(read('inmesh_server_request_duration_seconds_count', all)).toBe(50_000 - MOST_SERIES)
    expect(read('inmesh_metrics_overflow_total', { metric: 'inmesh_server_requests_total' })).toBeGreaterThan(40_000)
  })

  it('tells observers everything and survives one that throws', () => {
    const seen: string[] = []
    const observer: Telemetry = {
      callStarted: () => seen.push('call'),
      attemptStarted: () => seen.push('attempt'),
      attemptEnded: (_attempt, _outcome, waitMs) => seen.push(`ended ${waitMs}`),
      callEnded: (_call, { verdict }) => seen.push(verdict),
    }
    const throws = () => {
      throw new Error('observer')
    }
    const bad = { callStarted: throws, attemptStarted: throws, attemptEnded: throws, callEnded: throws }
    const { start, attempt } = setUp('client', [bad, observer])
    attempt(start(), SUCCESS)
    expect(seen).toEqual(['call', 'attempt', 'ended -1', 'success'])
  })
})
