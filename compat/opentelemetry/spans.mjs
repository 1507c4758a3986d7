/**
 * The current SDK with the instrumentations of HTTP, undici, gRPC and Express: the spans of a call, as
 * JSON. `node spans.mjs own` lets `inmesh/tracing` register the SDK.
 */
import { createRequire } from 'node:module'
import * as api from '@opentelemetry/api'
import { ExpressInstrumentation } from '@opentelemetry/instrumentation-express'
import { GrpcInstrumentation } from '@opentelemetry/instrumentation-grpc'
import { HttpInstrumentation } from '@opentelemetry/instrumentation-http'
import { UndiciInstrumentation } from '@opentelemetry/instrumentation-undici'
import { InMemorySpanExporter } from '@opentelemetry/sdk-trace'
import { startTracing } from 'inmesh/tracing'

const exporter = new InMemorySpanExporter()
exporter.shutdown = async () => {}
const tracing = await startTracing({ serviceName: 'compat', exporter })
const provider = api.trace.getTracerProvider()
const instrumentations = [
  new HttpInstrumentation(),
  new UndiciInstrumentation(),
  new GrpcInstrumentation(),
  new ExpressInstrumentation(),
]
for (const one of instrumentations) one.setTracerProvider(provider)
const require = createRequire(import.meta.url)
require('node:http')
require('node:https')
const express = require('express')
const grpc = require('@grpc/grpc-js')
const { startTestMesh } = await import('inmesh/testing')

const STRING = {
  requestSerialize: (text) => Buffer.from(text),
  requestDeserialize: String,
  responseSerialize: (text) => Buffer.from(text),
  responseDeserialize: String,
}
const SERVICE = { echo: { path: '/shop.Echo/echo', requestStream: false, responseStream: false, ...STRING } }
const EchoClient = grpc.makeGenericClientConstructor(SERVICE, 'Echo')

const testMesh = await startTestMesh()
const app = express()
app.get('/items/:id', (_request, response) => response.json({ left: 7 }))
await testMesh.serve('inventory', app)
const echo = await testMesh.join('echo')
const server = new grpc.Server()
server.addService(SERVICE, { echo: (call, callback) => callback(null, call.request) })
await echo.serveGrpc(server)
const checkout = await testMesh.join('checkout')
const client = checkout.grpc(EchoClient, 'echo')

const calls = {
  http: async () => (await checkout.http('inventory').get('/items/1')).text(),
  fetch: async () => (await checkout.fetch('http://inventory/items/1')).text(),
  grpc: () => client.promises.echo('hello'),
}
const found = {}
for (const [name, call] of Object.entries(calls)) {
  // The first call connects and may meet a server that is not listed yet.
  await call()
  await provider.getDelegate().forceFlush()
  exporter.reset()
  await api.trace.getTracer('compat').startActiveSpan('root', async (root) => {
    await call()
    root.end()
  })
  const ended = Date.now() + 10_000
  const servers = () => exporter.getFinishedSpans().filter(({ kind }) => kind === api.SpanKind.SERVER).length
  do await provider.getDelegate().forceFlush()
  while (servers() === 0 && Date.now() < ended)
  const spans = exporter.getFinishedSpans()
  found[name] = {
    traces: new Set(spans.map((span) => span.spanContext().traceId)).size,
    client: spans.filter(({ kind }) => kind === api.SpanKind.CLIENT).length,
    server: servers(),
    service: spans[0].resource.attributes['service.name'],
  }
}
await testMesh.close()
await tracing.shutdown()
console.log(JSON.stringify(found))
process.exit(0)
