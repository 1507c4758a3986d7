/** What foreign clients learn of a server's load, in the form of ORCA. */

import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import * as grpc from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { describe, expect, it, onTestFinished } from 'vitest'
import { readOrca } from '../../src/client/orca/read-orca.ts'
import { systemClock } from '../../src/core/clock.ts'
import type { HttpHandler } from '../../src/server/http/application.ts'
import type { HttpServerOptions } from '../../src/server/http/options.ts'
import { ProcessLoad } from '../../src/server/process-load.ts'
import { Shop, shopServer } from '../rigs/shop.ts'
import { http2ShopClient, metadata, serveShop } from './grpc/rig.ts'
import { ask as askHttp2, open as openHttp2 } from './http/http2-rig.ts'
import { ask, clientOf, serve } from './rig.ts'

const US = clientOf('checkout')
const ORCA = 'endpoint-load-metrics'
const ORCA_BIN = `${ORCA}-bin`
const NAMED =
  /^TEXT (?:.+,)?named_metrics.inmesh.in_flight=0,named_metrics.inmesh.latency_ms=[\d.]+,named_metrics.inmesh.served_ms=[\d.]+$/

/** The process is busy for `share` of the time, and has just ended 200 requests. */
function busy(share: number): ProcessLoad {
  const load = new ProcessLoad(() => {
    const now = systemClock.now()
    return { activeMs: share * now, idleMs: (1 - share) * now, cpuMs: 0 }
  })
  load.text(undefined, systemClock.now() - 2_000)
  for (let i = 0; i < 200; i++) load.ended(false)
  return load
}

type Headers = Record<string, unknown>
type Get = (port: number, as?: typeof US, headers?: Record<string, string>, path?: string) => Promise<Headers>

const DOORS: Readonly<Record<string, Get>> = {
  'HTTP/1.1': async (port, as, headers = {}, path = '/') =>
    (await ask(port, { path, headers, ...(as !== undefined && { as }) })).headers,
  'HTTP/2': async (port, as, headers = {}, path = '/') =>
    (await askHttp2(openHttp2(port, as), { headers: { ':path': path, ...headers } })).headers,
}

async function served(options: HttpServerOptions, handler: HttpHandler = (_request, response) => response.end('ok')) {
  const { server } = await serve(
    handler,
    { mode: 'strict', ...options },
    { transport: 'auto', processLoad: busy(0.25), loopWaitMs: () => 0 },
  )
  return server.port
}

describe.each(Object.entries(DOORS))('a server of HTTP, over %s', (_, get) => {
  /** The report of an answer after the first. */
  const report = async (...given: Parameters<Get>): Promise<Headers> => {
    await get(...given)
    return get(...given)
  }

  it('reports to a foreign client with a certificate', async () => {
    const text = (await report(await served({}), US))[ORCA] as string
    expect(text).toMatch(NAMED)
    expect(text).toMatch(/^TEXT application_utilization=0\.25,cpu_utilization=0,rps_fractional=[\d.]+,eps=0,/)
    expect(readOrca(text, undefined, 0)!.latencyMs).toBeGreaterThan(0)
  })

  it('reports not to clients of the mesh, which have a shorter form', async () => {
    const port = await served({})
    for (const sent of [{ 'inmesh-timeout-ms': '5000' }, { 'inmesh-client': '1' }]) {
      const headers = await report(port, US, sent)
      expect([headers[ORCA], typeof headers['inmesh-load']]).toEqual([undefined, 'string'])
    }
  })

  it('reports to strangers only if it is set to, and to none if that is set', async () => {
    for (const mode of ['permissive', 'plaintext'] as const) {
      expect((await report(await served({ mode })))[ORCA]).toBeUndefined()
      const headers = await report(await served({ mode, orca: 'all' }))
      expect([headers[ORCA], headers['inmesh-load']]).toEqual([expect.stringMatching(NAMED), undefined])
    }
    expect((await report(await served({ orca: false }), US))[ORCA]).toBeUndefined()
  })

  it('leaves the report of an application as it is', async () => {
    const own = 'TEXT cpu_utilization=0.9'
    const port = await served({}, (request, response) => {
      if (request.url === '/object') response.writeHead(200, { 'Endpoint-Load-Metrics': own })
      else if (request.url === '/list') response.writeHead(200, ['endpoint-load-metrics', own])
      else response.setHeader(ORCA, own)
      response.end('ok')
    })
    for (const path of ['/', '/object', '/list']) expect((await report(port, US, {}, path))[ORCA]).toBe(own)
  })
})

it('takes only the values of its option', async () => {
  await expect(served({ orca: 'everyone' as never })).rejects.toThrow(
    "orca: expected one of 'peers', 'all', got \"everyone\"; false is valid, too",
  )
})

const grpcRoot = dirname(createRequire(import.meta.url).resolve('@grpc/grpc-js/package.json'))
const orcaPackage = loadSync('xds/data/orca/v3/orca_load_report.proto', {
  includeDirs: ['xds', 'protoc-gen-validate'].map((dir) => join(grpcRoot, 'proto', dir)),
  keepCase: true,
  defaults: true,
})
const OrcaLoadReport = grpc.loadPackageDefinition(orcaPackage) as never as {
  xds: { data: { orca: { v3: { OrcaLoadReport: { deserialize(bytes: Buffer): Headers } } } } }
}
/** As grpc-js reads it. */
const decoded = (trailers: grpc.Metadata): Headers | undefined => {
  const [bytes] = trailers.get(ORCA_BIN)
  return bytes === undefined ? undefined : OrcaLoadReport.xds.data.orca.v3.OrcaLoadReport.deserialize(bytes as Buffer)
}

describe('a server of gRPC', () => {
  type Client = ReturnType<typeof http2ShopClient>
  const get = (client: Client, sent = new grpc.Metadata()): Promise<grpc.Metadata> =>
    new Promise((resolve, reject) => {
      const call = client.get({ sku: 'a' }, sent, (error) => error && reject(error))
      call.on('status', (status) => resolve(status.metadata))
    })
  const handlers = {
    Get: (_call: unknown, answer: grpc.sendUnaryData<{ left: number }>): void => answer(null, { left: 1 }),
    Watch: (call: grpc.ServerWritableStream<unknown, { left: number }>): void => {
      call.write({ left: 1 })
      call.end()
    },
  }
  const shop = async (options: Parameters<typeof serveShop>[1], given: Parameters<typeof serveShop>[0] = handlers) =>
    (await serveShop(given, options, { processLoad: busy(0.25), loopWaitMs: () => 0, transport: 'http1' })).server

  it('reports in its trailers to a foreign client with a certificate', async () => {
    const { port } = await shop({ mode: 'strict' })
    const client = http2ShopClient(port, US)
    await get(client)
    expect(decoded(await get(client))).toMatchObject({
      application_utilization: 0.25,
      rps_fractional: expect.any(Number),
      eps: 0,
      named_metrics: {
        'inmesh.in_flight': 0,
        'inmesh.latency_ms': expect.any(Number),
        'inmesh.served_ms': expect.any(Number),
      },
    })
  })

  it('reports its utilization with the end of a stream', async () => {
    const { port } = await shop({ orca: 'all' })
    const call = http2ShopClient(port).watch({ sku: 'a' })
    call.resume()
    const trailers = await new Promise<grpc.Metadata>((resolve) => call.on('status', (s) => resolve(s.metadata)))
    expect(decoded(trailers)).toMatchObject({ application_utilization: 0.25, named_metrics: {} })
  })

  it('reports not to strangers, to clients of the mesh, or to any if that is set', async () => {
    const strangers = await shop({})
    const peers = await shop({ mode: 'strict' })
    const nobody = await shop({ mode: 'strict', orca: false })
    const clients = [
      http2ShopClient(strangers.port),
      http2ShopClient(peers.port, US, { 'grpc.primary_user_agent': 'inmesh' }),
      http2ShopClient(nobody.port, US),
    ]
    for (const client of clients) {
      await get(client)
      expect(decoded(await get(client))).toBeUndefined()
    }
  })

  it("leaves the report of a handler's recorder as it is", async () => {
    const server = shopServer(
      {
        Get: (call: grpc.ServerUnaryCall<unknown, unknown>, answer: grpc.sendUnaryData<{ left: number }>): void => {
          call.getMetricsRecorder().recordCPUUtilizationMetric(0.75)
          answer(null, { left: 1 })
        },
      },
      { 'grpc.server_call_metric_recording': 1 },
    )
    const client = http2ShopClient((await shop({ mode: 'strict' }, server)).port, US)
    await get(client)
    expect(decoded(await get(client))).toMatchObject({ cpu_utilization: 0.75, application_utilization: 0 })
  })

  it("gives the weights of grpc-js's weighted_round_robin", async () => {
    const counts = [0, 0]
    const ports = await Promise.all(
      [0.2, 0.8].map(async (share, i) => {
        const { server } = await serveShop(
          {
            Get: (_call: unknown, answer: grpc.sendUnaryData<{ left: number }>): void => {
              counts[i]! += 1
              answer(null, { left: 1 })
            },
          },
          { orca: 'all' },
          { processLoad: busy(share), transport: 'http1' },
        )
        return server.port
      }),
    )
    const client = new Shop(
      `ipv4:${ports.map((port) => `127.0.0.1:${port}`).join(',')}`,
      grpc.credentials.createInsecure(),
      {
        'grpc.service_config': JSON.stringify({
          loadBalancingConfig: [{ weighted_round_robin: { blackout_period: '0s', weight_update_period: '0.1s' } }],
        }),
      },
    )
    onTestFinished(() => client.close())
    const sent = metadata({ x: '1' })
    await expect
      .poll(
        async () => {
          counts.fill(0)
          for (let i = 0; i < 50; i++) await get(client, sent)
          return counts[0]! / (counts[1]! || 1)
        },
        { timeout: 15_000 },
      )
      .toBeGreaterThan(3)
  })
})
