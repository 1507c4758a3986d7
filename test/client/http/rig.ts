/**
 * An HTTP client over fixed endpoints, without registry or mesh: what the tests of the door need
 * and nothing more.
 */
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { ClientIdentity } from '../../../src/client/client-identity.ts'
import { HttpClient } from '../../../src/client/http/client.ts'
import { type HttpFetchOptions, type MeshFetch, makeFetch } from '../../../src/client/http/fetch/fetch.ts'
import type { HttpFilter } from '../../../src/client/http/options.ts'
import type { HttpTransportParts } from '../../../src/client/http/transport.ts'
import { HttpTransport } from '../../../src/client/http/transport.ts'
import type { HttpTransportOptions } from '../../../src/client/http/transport-options.ts'
import { resolveHttpTransport } from '../../../src/client/http/transport-options.ts'
import type { Selection, Selector } from '../../../src/client/selection.ts'
import type { Attempt } from '../../../src/core/attempt.ts'
import type { Call, CallKind } from '../../../src/core/call.ts'
import { systemClock } from '../../../src/core/clock.ts'
import { Endpoint } from '../../../src/core/endpoint.ts'
import type { Outcome } from '../../../src/core/outcome.ts'
import type { Cluster } from '../../../src/core/picker.ts'
import type { Policy } from '../../../src/core/policy.ts'
import type { RequestHead } from '../../../src/core/request-head.ts'
import { HTTP1, MUX } from '../../../src/core/transport.ts'
import { HEDGE, type HedgeOptions, HedgePolicy } from '../../../src/resilience/hedge.ts'
import { RETRY, type RetryOptions, RetryPolicy } from '../../../src/resilience/retry.ts'
import { RetryBudget } from '../../../src/resilience/retry-budget.ts'
import type { Stack } from '../../../src/resilience/stack.ts'
import type { TypicalLatency } from '../../../src/resilience/typical-latency.ts'
import { answerMux, OVER_MUX, PREFERENCE } from '../../rigs/mux-gateway.ts'

export class StaticCluster implements Cluster {
  readonly service: string
  endpoints: Endpoint[]
  #turn = 0
  readonly #waiters = new Set<(available: boolean) => void>()
  readonly #listeners = new Set<() => void>()

  constructor(service: string, endpoints: Endpoint[]) {
    this.service = service
    this.endpoints = endpoints
  }

  /** Round robin over those that this call has not tried. */
  readonly picker = {
    pick: (call: Call): Endpoint | undefined => {
      const untried = this.endpoints.filter((endpoint) => call.tried?.includes(endpoint) !== true)
      const from = untried.length > 0 ? untried : this.endpoints
      return from.length === 0 ? undefined : from[this.#turn++ % from.length]
    },
  }

  get waiters(): number {
    return this.#waiters.size
  }

  get watchers(): number {
    return this.#listeners.size
  }

  add(endpoint: Endpoint): void {
    this.endpoints = [...this.endpoints, endpoint]
    for (const waiter of [...this.#waiters]) waiter(true)
    for (const listener of [...this.#listeners]) listener()
  }

  remove(endpoint: Endpoint): void {
    this.endpoints = this.endpoints.filter((each) => each !== endpoint)
    for (const listener of [...this.#listeners]) listener()
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  whenAvailable(ms: number, listener: (available: boolean) => void): () => void {
    const finish = (available: boolean): void => {
      if (!this.#waiters.delete(finish)) return
      clearTimeout(timer)
      listener(available)
    }
    const timer = setTimeout(finish, ms, false)
    this.#waiters.add(finish)
    return () => {
      clearTimeout(timer)
      this.#waiters.delete(finish)
    }
  }
}

export function endpoint(
  port: number,
  options: { tls?: boolean; service?: string; address?: string; protocol?: 'http' | 'grpc' } = {},
): Endpoint {
  return new Endpoint(options.service ?? 'inventory', {
    id: `i-${port}`,
    address: options.address ?? '127.0.0.1',
    port,
    protocol: options.protocol ?? 'http',
    tls: options.tls ?? false,
    zone: undefined,
    version: undefined,
    weight: 1,
    metadata: {},
    transports: OVER_MUX && options.tls !== true ? [MUX, HTTP1] : undefined,
  })
}

export interface StackOptions {
  service?: string
  /** @defaultValue as the mesh has it, but for a `perTryTimeout` of 20 s */
  retry?: RetryOptions
  hedge?: HedgeOptions
  /** @defaultValue 30 s, so that a busy machine ends no call */
  timeoutMs?: number
  /** @defaultValue as long as it likes */
  idleMs?: number
  /** What the service is known to take. */
  typicalLatency?: TypicalLatency
  /** Retries that are paid for without any calls. @defaultValue 1000 */
  paidRetries?: number
  /** Besides the witness. */
  policies?: readonly Policy[]
}

export interface RigOptions extends StackOptions {
  preference?: 'auto' | 'http1'
  loopbackAllowed?: boolean
  onRefusedByPeer?: NonNullable<HttpTransportParts['onRefusedByPeer']>
  connections?: HttpTransportOptions
  identity?: ClientIdentity
  filters?: readonly HttpFilter[]
  fetch?: HttpFetchOptions
}

/** Counts what the execution told it: every admitted attempt must be settled exactly once. */
export class Witness implements Policy {
  readonly name = 'witness'
  admitted = 0
  readonly outcomes: Outcome[] = []
  refuseWith: 'concurrency-limited' | undefined = undefined

  admit(_attempt: Attempt): 'concurrency-limited' | undefined {
    if (this.refuseWith !== undefined) return this.refuseWith
    this.admitted += 1
    return undefined
  }

  settle(_attempt: Attempt, outcome: Outcome): void {
    this.outcomes.push(outcome)
  }
}

/**
 * A stack over fixed endpoints, and those who watch it: what the rigs of both protocols have in
 * common.
 */
export class WatchedStack {
  readonly service: string
  readonly cluster: StaticCluster
  readonly calls = new Witness()
  readonly attempts = new Witness()
  readonly endedCalls: Call[] = []
  readonly budget: RetryBudget
  readonly #stack: Stack

  constructor(endpoints: Endpoint[], options: StackOptions) {
    this.service = options.service ?? 'inventory'
    this.cluster = new StaticCluster(this.service, endpoints)
    const retry = RETRY.resolve({ backoff: { base: 1, max: 2 }, perTryTimeout: '20s', ...options.retry })
    this.budget = new RetryBudget({ ...retry.budget, minPerSecond: options.paidRetries ?? 1_000 }, systemClock)
    this.#stack = {
      timeoutMs: options.timeoutMs ?? 30_000,
      ...(options.idleMs !== undefined && { idleMs: options.idleMs }),
      typicalLatency: options.typicalLatency,
      service: [this.calls],
      endpoint: [this.attempts, ...(options.policies ?? [])],
      retry: new RetryPolicy(retry, this.budget, systemClock),
      budget: this.budget,
      hedge: options.hedge && new HedgePolicy(this.service, HEDGE.resolve(options.hedge), systemClock),
      cluster: this.cluster,
      telemetry: {
        callStarted() {},
        attemptStarted() {},
        attemptEnded() {},
        callEnded: (call) => {
          this.endedCalls.push(call)
        },
      },
      clock: systemClock,
    }
  }

  stack(): Stack {
    return this.#stack
  }

  get endpoint(): Endpoint {
    return this.cluster.endpoints[0]!
  }
}

export class Rig extends WatchedStack implements Selector<HttpTransport> {
  readonly transport: HttpTransport
  readonly http: HttpClient
  readonly fetch: MeshFetch
  readonly #selections = new Map<string, Selection>()

  constructor(transport: HttpTransport, endpoints: Endpoint[], options: RigOptions) {
    super(endpoints, options)
    this.transport = transport
    this.http = new HttpClient(this, options.filters)
    this.fetch = makeFetch((name) => (name === this.service ? this : undefined), options.fetch)
  }

  select({ method }: RequestHead, streaming: boolean): Selection {
    return this.#selection(method, streaming)
  }

  unrouted(method: string, streaming: boolean): Selection {
    return this.#selection(method, streaming)
  }

  kind(method: string, streaming: boolean): CallKind {
    return this.#selection(method, streaming).kind
  }

  #selection(method: string, streaming: boolean): Selection {
    const key = `${method} ${streaming}`
    let selection = this.#selections.get(key)
    if (selection === undefined) {
      const kind = Object.freeze({ service: this.service, method, protocol: 'http', streaming, idempotent: false })
      selection = { stack: this.stack(), kind, routed: undefined }
      this.#selections.set(key, selection)
    }
    return selection
  }

  close(): void {
    for (const one of this.cluster.endpoints) one.transport?.close(0)
    this.transport.close(0)
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

export async function makeRig(endpoints: (Endpoint | number)[], options: RigOptions = {}): Promise<Rig> {
  const transport = await HttpTransport.create({
    clock: systemClock,
    identity: options.identity,
    settings: resolveHttpTransport(options.connections),
    preference: options.preference ?? PREFERENCE,
    ...(options.onRefusedByPeer !== undefined && { onRefusedByPeer: options.onRefusedByPeer }),
    ...(options.loopbackAllowed !== undefined && { loopbackAllowed: options.loopbackAllowed }),
  })
  return new Rig(
    transport,
    endpoints.map((at) => (typeof at === 'number' ? endpoint(at) : at)),
    options,
  )
}

/** A proper server. */
export class TestServer {
  readonly server: Server
  requests = 0
  #cut: (() => void) | undefined

  constructor(handler: RequestListener) {
    this.server = createServer((req, res) => {
      this.requests += 1
      handler(req, res)
    })
    if (OVER_MUX) this.#cut = answerMux(this.server)
  }

  async listen(): Promise<this> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve))
    return this
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port
  }

  async close(): Promise<void> {
    this.server.closeAllConnections()
    this.#cut?.()
    await new Promise<void>((resolve) => this.server.close(() => resolve()))
  }
}

/** Waits until `condition` holds; fails after `ms`. */
export async function until(condition: () => boolean | Promise<boolean>, ms = 15_000): Promise<void> {
  const end = performance.now() + ms
  while (!(await condition())) {
    if (performance.now() > end) throw new Error('the condition did not come true')
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}
