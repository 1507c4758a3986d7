/** What a client of the mesh takes from foreign servers that report in the form of ORCA. */
import { createServer as createHttp2Server } from 'node:http2'
import type { AddressInfo, Socket } from 'node:net'
import * as grpc from '@grpc/grpc-js'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { Attempt } from '../../../src/core/attempt.ts'
import type { Endpoint } from '../../../src/core/endpoint.ts'
import type { LoadReport } from '../../../src/core/load-report.ts'
import type { Policy } from '../../../src/core/policy.ts'
import { HTTP2 } from '../../../src/core/transport.ts'
import { newIdentity } from '../../rigs/certificates.ts'
import { shopServer } from '../../rigs/shop.ts'
import { authority, serve } from '../../server/rig.ts'
import { GrpcRig } from '../grpc/rig.ts'
import { opened } from '../http/opened.ts'
import { endpoint, makeRig, TestServer } from '../http/rig.ts'
import { clientIdentity } from '../identity-rig.ts'

class Seen implements Policy {
  readonly name = 'seen'
  readonly reports: (LoadReport | undefined)[] = []

  admit(): undefined {}

  settle({ report }: Attempt): void {
    this.reports.push(report)
  }
}

type Headers = Readonly<Record<string, string | string[]>>

async function http1(headers: Headers): Promise<Endpoint> {
  const server = new TestServer((_request, response) => {
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value)
    response.end('ok')
  })
  return endpoint(opened(await server.listen()).port)
}

async function http2(headers: Headers): Promise<Endpoint> {
  const sockets = new Set<Socket>()
  const server = createHttp2Server((_request, response) => {
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value)
    response.end('ok')
  })
  server.on('connection', (socket: Socket) => sockets.add(socket))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const at = endpoint((server.address() as AddressInfo).port)
  at.transports = [HTTP2]
  return at
}

const TEXT = 'TEXT cpu_utilization=0.5,rps_fractional=100'
const BINARY = 'CQAAAAAAAOA/MQAAAAAAAFlA'

describe.each([
  ['HTTP/1.1', http1],
  ['HTTP/2', http2],
] as const)('a foreign server over %s', (_, listen) => {
  const reported = async (headers: Headers): Promise<{ report: LoadReport | undefined; visible: unknown }> => {
    const seen = new Seen()
    const rig = opened(await makeRig([await listen(headers)], { policies: [seen] }))
    const answer = await rig.http.get('/')
    expect(await answer.text()).toBe('ok')
    const fetched = await rig.fetch('http://inventory/')
    expect(await fetched.text()).toBe('ok')
    const name = Object.keys(headers)[0]!
    expect(fetched.headers.get(name)).toBe([headers[name]].flat().join(', '))
    expect(seen.reports[0]?.capacity).toBe(seen.reports[1]?.capacity)
    return { report: seen.reports[0], visible: answer.headers.get(name) }
  }

  it('is heard in each form, and its application sees the header', async () => {
    const forms = [
      { 'endpoint-load-metrics': TEXT },
      { 'endpoint-load-metrics': 'JSON {"cpu_utilization":0.5,"rps_fractional":100}' },
      { 'endpoint-load-metrics': `BIN ${BINARY}` },
      { 'endpoint-load-metrics-bin': BINARY },
    ]
    for (const headers of forms) {
      const { report, visible } = await reported(headers)
      expect(report?.capacity).toBe(200)
      expect(visible).toBe(Object.values(headers)[0])
    }
  })

  it('that repeats its report, or reports nonsense, is not heard', async () => {
    for (const value of [[TEXT, TEXT], 'TEXT cpu_utilization=NaN', 'JSON {', 'x'.repeat(9_000)]) {
      expect((await reported({ 'endpoint-load-metrics': value })).report).toBeUndefined()
    }
  })
})

describe('a foreign server of gRPC', () => {
  const serving = async (
    record: (recorder: ReturnType<grpc.ServerUnaryCall<unknown, unknown>['getMetricsRecorder']>) => void,
  ) => {
    const server = shopServer(
      {
        Get: (call, answer) => {
          record(call.getMetricsRecorder())
          answer(null, { left: 1 })
        },
      },
      { 'grpc.server_call_metric_recording': 1 },
    )
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, at) =>
        error === null ? resolve(at) : reject(error),
      )
    })
    onTestFinished(() => server.forceShutdown())
    const seen = new Seen()
    const rig = opened(new GrpcRig([endpoint(port, { protocol: 'grpc' })], { policies: [seen] }))
    const trailers = await new Promise<grpc.Metadata>((resolve, reject) => {
      const call = rig.client.get({ sku: 'a' }, (error) => error && reject(error))
      call.on('status', ({ metadata }) => resolve(metadata))
    })
    return { report: seen.reports[0], trailers }
  }

  it('is heard in its trailers, and its caller sees them', async () => {
    const { report, trailers } = await serving((recorder) => {
      recorder.recordCPUUtilizationMetric(0.9)
      recorder.recordApplicationUtilizationMetric(0.25)
      recorder.recordQpsMetric(50)
      recorder.recordNamedMetric('queue', 3)
    })
    expect(report?.capacity).toBe(200)
    expect(trailers.get('endpoint-load-metrics-bin')).toHaveLength(1)
  })

  it('with the metrics of a server of the mesh is heard as one', async () => {
    const { report } = await serving((recorder) => {
      recorder.recordNamedMetric('inmesh.in_flight', 4)
      recorder.recordNamedMetric('inmesh.latency_ms', 12.5)
      recorder.recordNamedMetric('inmesh.served_ms', 0)
    })
    expect(report).toMatchObject({ inFlight: 4, latencyMs: 12.5, servedMs: 0 })
  })

  it('that records nothing is not heard', async () => {
    expect((await serving(() => {})).report).toBeUndefined()
  })
})

it.each([{}, { streaming: true }])(
  'a caller does not see what servers of the mesh report, with %j',
  async (options) => {
    const { server } = await serve(
      (_request, response) => response.end('ok'),
      { mode: 'strict', orca: 'all' },
      { transport: 'http1' },
    )
    const us = clientIdentity(newIdentity(authority, 'checkout')).identity
    const rig = opened(await makeRig([endpoint(server.port, { tls: true })], { identity: us }))
    for (let i = 0; i < 3; i++) {
      const answer = await rig.http.get('/', options)
      expect(await answer.text()).toBe('ok')
      expect([...answer.headers].filter(([name]) => name.startsWith('endpoint-load'))).toEqual([])
    }
  },
)
