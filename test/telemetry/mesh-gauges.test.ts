import { expect, it } from 'vitest'
import { systemClock } from '../../src/core/clock.ts'
import { LoopDelay } from '../../src/telemetry/loop-delay.ts'
import { type GaugeSources, registerMeshGauges } from '../../src/telemetry/mesh-gauges.ts'
import { Metrics } from '../../src/telemetry/metrics.ts'
import { parseMetrics, sampleOf } from './parse-metrics.ts'

const service = 'checkout'
const sources: GaugeSources = {
  service,
  peers: () => [
    {
      peer: 'inventory',
      circuit: 'open',
      retryBudget: 9.5,
      panic: false,
      endpoints: [
        { state: 'healthy', pending: 2 },
        { state: 'ejected', pending: 1 },
      ],
    },
    { peer: 'prices' },
  ],
  certificateNotAfter: () => 61_000,
  wallNow: () => 1_000,
  snapshotAgeMs: () => 1_500,
  configRevision: () => 42,
  registryConnected: () => undefined,
}

it('reads all gauges from their owners, and leaves out what is not known', () => {
  const metrics = new Metrics()
  const stop = registerMeshGauges(metrics, sources)
  const parsed = parseMetrics(metrics.text())
  const labels = { service, peer: 'inventory' }
  expect(sampleOf(parsed, 'inmesh_client_circuit_state', labels)).toBe(2)
  expect(sampleOf(parsed, 'inmesh_client_circuit_state', { service, peer: 'prices' })).toBeUndefined()
  expect(sampleOf(parsed, 'inmesh_client_retry_budget', labels)).toBe(9.5)
  expect(sampleOf(parsed, 'inmesh_client_panic', labels)).toBe(0)
  expect(sampleOf(parsed, 'inmesh_client_attempts_in_flight', labels)).toBe(3)
  expect(sampleOf(parsed, 'inmesh_client_endpoints', { ...labels, state: 'ejected' })).toBe(1)
  expect(sampleOf(parsed, 'inmesh_identity_expiry_seconds', { service })).toBe(60)
  expect(sampleOf(parsed, 'inmesh_snapshot_age_seconds', { service })).toBe(1.5)
  expect(sampleOf(parsed, 'inmesh_config_revision', { service })).toBe(42)
  expect(sampleOf(parsed, 'inmesh_registry_connected', { service })).toBeUndefined()
  stop()
  expect(sampleOf(parseMetrics(metrics.text()), 'inmesh_config_revision', { service })).toBeUndefined()
})

it('shows that the event loop stood still, and little when it did not', async () => {
  const delay = new LoopDelay(systemClock)
  expect(delay.read()).toEqual({ p50: 0, p99: 0, max: 0 })
  delay.start()
  delay.start()
  try {
    await new Promise((resolve) => setTimeout(resolve, 100))
    const until = performance.now() + 200
    while (performance.now() < until);
    await new Promise((resolve) => setTimeout(resolve, 50))
    const { p50, max } = delay.read()
    expect(max).toBeGreaterThan(100)
    expect(p50).toBeLessThan(max)
  } finally {
    delay.stop()
  }
})
