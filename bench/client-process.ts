/**
 * A process that calls a service through the mesh, or with another library. All send the same
 * headers and parse the same JSON; each loads only the library it measures.
 */
import type { ClientRequest } from 'node:http'
import type { TransportPreference } from 'inmesh'
import { ANSWERED_APART } from './answers.ts'
import { answer, driver, givenJob } from './measured-process.ts'
import type { MeshCredentials } from './testbed.ts'

export interface ClientJob {
  readonly way: keyof typeof WAYS
  /** Where the service's instances are; the mesh finds them by itself. */
  readonly ports: readonly number[]
  /** For ways without a mesh: who we are. Without it they speak plaintext. */
  readonly credentials?: MeshCredentials
  /** For ways through the mesh. */
  readonly registry?: string
  readonly service?: string
  /** @defaultValue as all processes of the mesh */
  readonly transport?: TransportPreference
  /** False: it does not report its calls to the registry. @defaultValue true */
  readonly traffic?: boolean
  /** Share of calls that are recorded by an OpenTelemetry SDK; without it there is no SDK. */
  readonly recorded?: number
  /** Share of calls that have a line in the access log; without it there is no logger. */
  readonly logged?: number
  /** Registers an OpenTelemetry MeterProvider, which is read each second. */
  readonly metered?: boolean
}

type Call = (apart: boolean) => Promise<unknown>
type Around = <T>(work: () => Promise<T>) => Promise<T>
interface Way {
  readonly call: Call
  readonly around?: Around
}

const PATH = '/items/42'
const pathOf = (apart: boolean): string => (apart ? ANSWERED_APART : PATH)
/** What the mesh sends of itself: a trace context, and how much time is left. */
const HEADERS = {
  traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
  'inmesh-timeout-ms': '9999',
}
const TIMEOUT_MS = 10_000

const job = givenJob<ClientJob>()
const scheme = job.credentials === undefined ? 'http' : 'https'
const origins = job.ports.map((port) => `${scheme}://127.0.0.1:${port}`)
let turn = 0
const origin = (): string => origins[turn++ % origins.length]!

const WAYS = {
  'undici dispatch': async (): Promise<Way> => {
    const dispatcher = await agent()
    const call: Call = (apart) =>
      new Promise((resolve, reject) => {
        const chunks: Buffer[] = []
        dispatcher.dispatch(
          { origin: origin(), path: pathOf(apart), method: 'GET', headers: HEADERS },
          {
            onRequestStart() {},
            onResponseStart() {},
            onResponseData(_controller, chunk) {
              chunks.push(chunk)
            },
            onResponseEnd() {
              resolve(JSON.parse(Buffer.concat(chunks).toString()))
            },
            onResponseError(_controller, error) {
              reject(error)
            },
          },
        )
      })
    return { call }
  },

  'undici.request': async () => ({ call: await requestByUndici() }),

  'built-in fetch': async () => ({
    call: async (apart) => (await fetch(origin() + pathOf(apart), { headers: HEADERS })).json(),
  }),

  'undici fetch': async () => {
    const { fetch: undiciFetch } = await import('undici')
    const dispatcher = await agent()
    return {
      call: async (apart) => (await undiciFetch(origin() + pathOf(apart), { headers: HEADERS, dispatcher })).json(),
    }
  },

  'node:http': async () => {
    const [{ Agent, get }, https] = await Promise.all([import('node:http'), import('node:https')])
    const { credentials } = job
    if (credentials === undefined) {
      const agent = new Agent({ keepAlive: true })
      return { call: (apart) => jsonOf(get(origin() + pathOf(apart), { headers: HEADERS, agent })) }
    }
    const { key, cert, ca } = credentials
    const checkServerIdentity = (): undefined => undefined
    const tls = { key, cert, ca: [...ca], minVersion: 'TLSv1.3' as const, checkServerIdentity }
    const agent = new https.Agent({ keepAlive: true, ...tls })
    return { call: (apart) => jsonOf(https.get(origin() + pathOf(apart), { headers: HEADERS, agent })) }
  },

  got: async () => {
    const [{ default: got }, { Agent }] = await Promise.all([import('got'), import('node:http')])
    const http = new Agent({ keepAlive: true })
    const client = got.extend({ agent: { http }, headers: HEADERS, timeout: { request: TIMEOUT_MS } })
    return { call: (apart) => client(origin() + pathOf(apart)).json() }
  },

  axios: async () => {
    const [{ default: axios }, { Agent }] = await Promise.all([import('axios'), import('node:http')])
    const client = axios.create({ httpAgent: new Agent({ keepAlive: true }), headers: HEADERS, timeout: TIMEOUT_MS })
    return { call: async (apart) => (await client.get(origin() + pathOf(apart))).data }
  },

  /**
   * What one would put together of well-known parts: breaker and timeout, retries, trace context,
   * undici.
   */
  'hand-assembled': async () => {
    const { default: CircuitBreaker } = await import('opossum')
    const { default: pRetry } = await import('p-retry')
    const { context, propagation, trace, ROOT_CONTEXT } = await import('@opentelemetry/api')
    const { NodeTracerProvider } = await import('@opentelemetry/sdk-trace-node')
    const { request } = await import('undici')
    const dispatcher = await agent()
    new NodeTracerProvider().register()
    const send = async (path: string, signal: AbortSignal): Promise<unknown> => {
      const headers: Record<string, string> = { 'inmesh-timeout-ms': HEADERS['inmesh-timeout-ms'] }
      propagation.inject(context.active(), headers)
      const { statusCode, body } = await request(origin() + path, { headers, dispatcher, signal })
      if (statusCode < 500) return body.json()
      await body.dump()
      throw new Error(`status ${statusCode}`)
    }
    const breaker = new CircuitBreaker(
      (path: string) => {
        const deadline = AbortSignal.timeout(TIMEOUT_MS)
        return pRetry(() => send(path, deadline), { retries: 2, signal: deadline })
      },
      { timeout: TIMEOUT_MS, errorThresholdPercentage: 50, volumeThreshold: 20 },
    )
    const [, traceId, spanId] = HEADERS.traceparent.split('-')
    const served = trace.setSpanContext(ROOT_CONTEXT, { traceId: traceId!, spanId: spanId!, traceFlags: 1 })
    return { call: (apart) => breaker.fire(pathOf(apart)), around: (work) => context.with(served, work) }
  },

  cockatiel: async () => {
    const { ConsecutiveBreaker, circuitBreaker, handleAll, retry, TimeoutStrategy, timeout, wrap } = await import(
      'cockatiel'
    )
    const { request } = await import('undici')
    const dispatcher = await agent()
    const policy = wrap(
      retry(handleAll, { maxAttempts: 2 }),
      circuitBreaker(handleAll, { halfOpenAfter: 5_000, breaker: new ConsecutiveBreaker(20) }),
      timeout(TIMEOUT_MS, TimeoutStrategy.Cooperative),
    )
    const call: Call = (apart) =>
      policy.execute(async ({ signal }) =>
        (await request(origin() + pathOf(apart), { headers: HEADERS, dispatcher, signal })).body.json(),
      )
    return { call }
  },

  /**
   * Everything on, inside a request that is being served: deadline, trace and cancellation are
   * inherited from it.
   */
  'inmesh http()': async () => {
    const mesh = await joined()
    const client = mesh.http(job.service!)
    return { call: async (apart) => (await client.get(pathOf(apart))).json(), around: await whileServing(mesh) }
  },

  'inmesh fetch()': async () => {
    const mesh = await joined()
    const origin = `http://${job.service}`
    return {
      call: async (apart) => (await mesh.fetch(origin + pathOf(apart))).json(),
      around: await whileServing(mesh),
    }
  },

  'inmesh agent()': async () => {
    const mesh = await joined()
    const { get } = await import('node:http')
    const agent = mesh.agent()
    const origin = `http://${job.service}.mesh`
    return {
      call: (apart) => jsonOf(get(origin + pathOf(apart), { agent })),
      around: await whileServing(mesh),
    }
  },

  /** A call outside of any trace, so that it starts a new one. */
  'inmesh http(), own trace': async () => {
    if (job.recorded !== undefined) {
      const { startTracing } = await import('inmesh/tracing')
      const exporter = { export: (_spans: unknown, done: (result: { code: number }) => void) => done({ code: 0 }) }
      await startTracing({
        serviceName: 'checkout',
        exporter: { ...exporter, shutdown: async () => {} },
        sampleRatio: job.recorded,
      })
    }
    if (job.metered) await provideMeters()
    const client = (await joined()).http(job.service!)
    return { call: async (apart) => (await client.get(pathOf(apart))).json() }
  },
} satisfies Record<string, () => Promise<Way>>

/** The answer to a request of node:http. */
function jsonOf(request: ClientRequest): Promise<unknown> {
  return new Promise((resolve, reject) => {
    request.on('error', reject).on('response', (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => resolve(JSON.parse(Buffer.concat(chunks).toString())))
    })
  })
}

async function provideMeters(): Promise<void> {
  const { metrics } = await import('@opentelemetry/api')
  const { AggregationTemporality, MeterProvider, PeriodicExportingMetricReader } = await import(
    '@opentelemetry/sdk-metrics'
  )
  const exporter = {
    export: (_metrics: unknown, done: (result: { code: number }) => void) => done({ code: 0 }),
    selectAggregationTemporality: () => AggregationTemporality.CUMULATIVE,
    forceFlush: async () => {},
    shutdown: async () => {},
  }
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 1_000, exportTimeoutMillis: 900 })
  metrics.setGlobalMeterProvider(new MeterProvider({ readers: [reader] }))
}

async function requestByUndici(): Promise<Call> {
  const { request } = await import('undici')
  const dispatcher = await agent()
  return async (apart) => (await request(origin() + pathOf(apart), { headers: HEADERS, dispatcher })).body.json()
}

async function agent() {
  const { Agent } = await import('undici')
  const { credentials } = job
  if (credentials === undefined) return new Agent()
  const { key, cert, ca } = credentials
  // The servers' certificates name a service and no host.
  const checkServerIdentity = (): undefined => undefined
  return new Agent({ connect: { key, cert, ca: [...ca], minVersion: 'TLSv1.3', checkServerIdentity } })
}

async function joined() {
  const { joinMesh } = await import('inmesh')
  return joinMesh({
    service: 'checkout',
    ...(job.logged !== undefined && { accessLog: { log: await logger(), sample: job.logged } }),
    ...(job.transport !== undefined && { transport: job.transport }),
    ...(job.traffic !== undefined && { traffic: job.traffic }),
    registry: job.registry!,
    stateDir: 'memory',
    handleSignals: false,
    joinTimeout: '30s',
  })
}

async function logger() {
  const [{ pino }, { devNull }] = await Promise.all([import('pino'), import('node:os')])
  return pino(pino.destination({ dest: devNull, sync: false }))
}

/** Runs work inside the handler of a request to ourselves. */
async function whileServing(mesh: Awaited<ReturnType<typeof joined>>): Promise<Around> {
  const { request } = await import('node:http')
  let work: (() => Promise<void>) | undefined
  const server = await mesh.serve(
    async (_request, response) => {
      await work!()
      response.end()
    },
    { mode: 'plaintext', host: '127.0.0.1' },
  )
  return <T>(wanted: () => Promise<T>): Promise<T> =>
    new Promise((resolve, reject) => {
      work = () => wanted().then(resolve, reject)
      const headers = { ...HEADERS, 'inmesh-timeout-ms': '60000' }
      request({ port: server.port, host: '127.0.0.1', headers }, (response) => response.resume())
        .on('error', reject)
        .end()
    })
}

const way: Way = await WAYS[job.way]()
answer(driver(way.call, way.around))
