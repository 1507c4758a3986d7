import * as api from '@opentelemetry/api'
import { InMemorySpanExporter } from '@opentelemetry/sdk-trace-node'
import { describe, expect, it, vi } from 'vitest'
import { startTracing, type TracingOptions } from '../../src/telemetry/set-up.ts'

/** Keeps its spans on shutdown, unlike its base. */
class KeepingExporter extends InMemorySpanExporter {
  override async shutdown(): Promise<void> {}
}

describe('startTracing', () => {
  it('exports spans under the name of the service, at the latest on shutdown, and can be started again', async () => {
    for (const serviceName of ['checkout', 'storefront']) {
      const exporter = new KeepingExporter()
      const tracing = await startTracing({ serviceName, exporter })
      try {
        await expect(startTracing({ serviceName })).rejects.toThrow('registered already')
        api.trace.getTracer('app').startSpan('work').end()
      } finally {
        await Promise.all([tracing.shutdown(), tracing.shutdown()])
      }
      const spans = exporter.getFinishedSpans()
      expect(spans.map(({ name }) => name)).toEqual(['work'])
      expect(spans[0]!.resource.attributes['service.name']).toBe(serviceName)
    }
  })

  it('records no trace of its own at a ratio of 0, but those that the caller samples', async () => {
    const exporter = new KeepingExporter()
    const tracing = await startTracing({ serviceName: 'checkout', exporter, sampleRatio: '0%' })
    try {
      const tracer = api.trace.getTracer('app')
      tracer.startSpan('ours').end()
      const remote = { traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331', traceFlags: 1 }
      tracer.startSpan('theirs', {}, api.trace.setSpanContext(api.ROOT_CONTEXT, remote)).end()
    } finally {
      await tracing.shutdown()
    }
    expect(exporter.getFinishedSpans().map(({ name }) => name)).toEqual(['theirs'])
  })

  it('ends although the exporter never answers', async () => {
    const exporter = new KeepingExporter()
    exporter.shutdown = () => new Promise<void>(() => {})
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    try {
      const tracing = await startTracing({ serviceName: 'checkout', exporter })
      const ended = tracing.shutdown()
      await vi.advanceTimersByTimeAsync(10_000)
      await ended
      expect(api.trace.getTracerProvider().constructor.name).toBe('ProxyTracerProvider')
    } finally {
      vi.useRealTimers()
    }
  })

  it('names every wrong option', async () => {
    const wrong = { serviceName: '', exporter: {}, sampleRatio: 2, extra: 1 } as unknown as TracingOptions
    const refused = expect(startTracing(wrong)).rejects
    for (const field of ['serviceName: ', 'exporter: ', 'sampleRatio: ', 'extra: ']) await refused.toThrow(field)
  })
})
