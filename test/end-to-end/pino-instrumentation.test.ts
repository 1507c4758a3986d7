/** Lines of pino carry the trace of the request in whose handler they are logged. */
import { createRequire } from 'node:module'
import { PassThrough } from 'node:stream'
import * as api from '@opentelemetry/api'
import { PinoInstrumentation } from '@opentelemetry/instrumentation-pino'
import { InMemorySpanExporter, NodeTracerProvider, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-node'
import type Pino from 'pino'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { joinMesh } from '../../src/mesh/join-mesh.ts'
import type { Mesh } from '../../src/mesh/mesh.ts'
import { type Registry, startRegistry } from '../../src/registry/index.ts'
import { Shop, type ShopClient, shopServer } from '../rigs/shop.ts'

const exporter = new InMemorySpanExporter()
const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
const instrumentation = new PinoInstrumentation()
const lines: string[] = []
const meshes: Mesh[] = []
let registry: Registry
let client: Mesh

beforeAll(async () => {
  provider.register()
  // What is loaded from now on by require() is patched.
  const pino = createRequire(import.meta.url)('pino') as typeof Pino
  const sink = new PassThrough().on('data', (text) => lines.push(...String(text).trim().split('\n')))
  const logger = pino(sink)
  registry = await startRegistry({ port: 0, dev: true, memory: true, log: false })
  const join = async (service: string) => {
    const options = { registry: registry.url, stateDir: 'memory', handleSignals: false, drainNotice: 0 } as const
    const mesh = await joinMesh({ ...options, service, accessLog: { log: logger, sample: 1 } })
    meshes.push(mesh)
    return mesh
  }
  const inventory = await join('inventory')
  await inventory.serve(async (_request, response) => {
    await new Promise((resolve) => setTimeout(resolve, 1))
    logger.child({ part: 'handler' }).info('handled')
    response.end('3')
  })
  await (await join('shop')).serveGrpc(
    shopServer({
      Get: (_call, answer) => {
        logger.info('handled')
        answer(null, { left: 3 })
      },
    }),
  )
  client = await join('checkout')
})

beforeEach(() => {
  exporter.reset()
  lines.length = 0
})

afterAll(async () => {
  for (const mesh of meshes.reverse()) await mesh.close()
  instrumentation.disable()
  await registry.close()
  await provider.shutdown()
})

/** The lines of one call, once both sides have logged it. */
async function logged(call: () => Promise<unknown>): Promise<Record<string, unknown>[]> {
  await call()
  await expect.poll(() => lines.filter((line) => line.includes('"msg":"access"')).length).toBe(2)
  for (const line of lines) expect(line.split('"trace_id"')).toHaveLength(2)
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>)
}

const CALLS: Record<string, () => Promise<unknown>> = {
  http: async () => (await client.http('inventory').get('/items/1')).text(),
  grpc: () => (client.grpc(Shop, 'shop') as unknown as { promises: ShopPromises }).promises.get({ sku: 'a' }),
}
type ShopPromises = Record<keyof ShopClient, (request: object) => Promise<unknown>>

it.each(Object.entries(CALLS))('of its span in a handler, and in the access log of both sides: %s', async (_, call) => {
  const [handled, ...access] = (await logged(call)).toSorted((a) => (a.msg === 'handled' ? -1 : 1))
  const spanOf = ({ span_id }: Record<string, unknown>) =>
    exporter.getFinishedSpans().find((span) => span.spanContext().spanId === span_id)
  await expect.poll(() => spanOf(handled!)?.kind).toBe(api.SpanKind.SERVER)
  const bySide = new Map(access.map((line) => [line['inmesh.side'], line]))
  expect(bySide.get('server')!.span_id).toBe(handled!.span_id)
  expect(spanOf(bySide.get('client')!)!.kind).toBe(api.SpanKind.CLIENT)
  for (const line of access) {
    expect(line).toMatchObject({ trace_id: handled!.trace_id, trace_flags: '01' })
  }
})
