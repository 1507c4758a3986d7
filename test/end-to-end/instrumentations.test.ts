/** The spans of an application that has OpenTelemetry's instrumentations beside the mesh. */
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { text } from 'node:stream/consumers'
import * as api from '@opentelemetry/api'
import { ExpressInstrumentation } from '@opentelemetry/instrumentation-express'
import { HttpInstrumentation } from '@opentelemetry/instrumentation-http'
import { UndiciInstrumentation } from '@opentelemetry/instrumentation-undici'
import { InMemorySpanExporter, NodeTracerProvider, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-node'
import type Express from 'express'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { joinMesh } from '../../src/mesh/join-mesh.ts'
import type { Mesh } from '../../src/mesh/mesh.ts'
import { type Registry, startRegistry } from '../../src/registry/index.ts'

const exporter = new InMemorySpanExporter()
const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
// Patches what require() loads, and what both ways of loading share: the servers of node:http.
const require = createRequire(import.meta.url)
const instrumentations = [new HttpInstrumentation(), new UndiciInstrumentation(), new ExpressInstrumentation()]
const stops: (() => Promise<void>)[] = []
let registry: Registry

beforeAll(async () => {
  provider.register()
  for (const one of instrumentations) one.setTracerProvider(provider)
  require('node:http')
  require('node:https')
  registry = await startRegistry({ port: 0, dev: true, memory: true, log: false })
})

afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop()
  exporter.reset()
})

afterAll(async () => {
  for (const one of instrumentations) one.disable()
  await registry.close()
  await provider.shutdown()
})

async function join(service: string, transport: 'http1' | 'auto'): Promise<Mesh> {
  const options = { registry: registry.url, stateDir: 'memory', handleSignals: false, drainNotice: 0 } as const
  const mesh = await joinMesh({ ...options, service, transport })
  stops.push(() => mesh.close())
  return mesh
}

/** The spans of one call by kind, once those of call, attempt and request have ended. */
async function spansOf(call: () => Promise<unknown>) {
  exporter.reset()
  await call()
  const { SpanKind } = api
  const of = (kind: api.SpanKind) => exporter.getFinishedSpans().filter((span) => span.kind === kind)
  await expect.poll(() => of(SpanKind.SERVER).length > 0 && of(SpanKind.CLIENT).length > 1).toBe(true)
  const spans = exporter.getFinishedSpans()
  return { all: spans, client: of(SpanKind.CLIENT), server: of(SpanKind.SERVER), internal: of(SpanKind.INTERNAL) }
}

it.each(['http1', 'auto'] as const)('each call has a call, an attempt and one request, over %s', async (transport) => {
  const express = require('express') as typeof Express
  const app = express()
  let inside: api.Span | undefined
  app.get('/items/:id', (_request, response) => {
    inside = api.trace.getActiveSpan()
    response.json({ stock: 3 })
  })
  const server = await join(`inventory-${transport === 'auto' ? 'auto' : 'http'}`, transport)
  await server.serve(app)
  const client = await join('checkout', transport)
  const http = client.http(server.service)
  // The first call connects and may meet a server that is not listed yet.
  await spansOf(async () => (await http.get('/items/1')).text())
  const httpAgent = client.agent()
  const { get } = require('node:http') as typeof import('node:http')
  const byAgent = async () =>
    text((await once(get(`http://${server.service}.mesh/items/1`, { agent: httpAgent }), 'response'))[0])
  for (const way of [
    byAgent,
    async () => (await http.get('/items/1')).text(),
    async () => (await client.fetch(`http://${server.service}/items/1`)).text(),
  ]) {
    const { all, client: calls, server: requests, internal } = await spansOf(way)
    expect(calls).toHaveLength(2)
    // The call by the agent has the span that instrumentation-http made of its request.
    const scopes = calls.map(({ instrumentationScope: { name } }) => name).sort()
    expect(scopes).toEqual([way === byAgent ? '@opentelemetry/instrumentation-http' : 'inmesh', 'inmesh'])
    expect(requests).toHaveLength(1)
    expect(requests[0]!.attributes).toMatchObject({ 'service.peer.name': 'checkout' })
    expect(new Set(all.map((span) => span.spanContext().traceId)).size).toBe(1)
    const ids = new Set(all.map((span) => span.spanContext().spanId))
    const roots = all.filter(({ parentSpanContext }) => !ids.has(parentSpanContext?.spanId ?? ''))
    expect(roots).toHaveLength(1)
    // Express' own spans of middleware are below the request.
    expect(inside?.spanContext().traceId).toBe(requests[0]!.spanContext().traceId)
    for (const span of internal) expect(span.name).toMatch(/middleware|request handler/)
  }
})
