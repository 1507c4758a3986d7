/**
 * The simulated caller of services with documents: real destinations, with their routes, targets
 * and failover levels, over made-up discovery and transport.
 */
import { Destination } from '../client/destination.ts'
import { DoubtedEndpoints } from '../client/doubted-endpoints.ts'
import { type ProbeListener, TIMED_OUT } from '../client/health-checks.ts'
import { IDEMPOTENT_METHODS } from '../client/http/prepare-request.ts'
import type { Transport } from '../client/transport.ts'
import { Attempt } from '../core/attempt.ts'
import { Call, type CallKind } from '../core/call.ts'
import type { Outcome } from '../core/outcome.ts'
import type { RequestHead } from '../core/request-head.ts'
import { SILENT, type Telemetry } from '../core/telemetry.ts'
import type { Instance } from '../discovery/instance.ts'
import { type PolicyDocument, resolvePolicy, type ServicePolicy } from '../discovery/policy-document.ts'
import { NONE_LEFT } from '../discovery/resolver.ts'
import { OverrideProofs } from '../identity/override-proofs.ts'
import { type EventSink, NO_EVENTS } from '../telemetry/events.ts'
import type { FakeClock } from '../testing/fake-clock.ts'
import { type Instances, REFUSED_MS, sendCall } from './call.ts'
import { answerOf } from './faults.ts'
import type { SimulatedServer } from './server.ts'

/** An instance as discovery describes it; `undefined`: nothing listens there. */
export interface Placed {
  readonly id: string
  readonly zone?: string
  readonly version?: string
  /** @defaultValue 1 */
  readonly weight?: number
  /** @defaultValue none */
  readonly metadata?: Readonly<Record<string, string>>
  /** @defaultValue false */
  readonly draining?: boolean
  readonly server: SimulatedServer | undefined
}

export interface RoutedClientParts {
  /** Unique among the clients. @defaultValue `client-1` */
  readonly id?: string
  /** The calling service. @defaultValue `checkout` */
  readonly caller?: string
  /** @defaultValue none watches */
  readonly telemetry?: Telemetry
  /** @defaultValue none listens */
  readonly events?: EventSink
  /** What every call asks for. @defaultValue a GET */
  readonly request?: RequestHead
  /** The key of the next call. @defaultValue it has none */
  readonly hashKey?: (() => string) | undefined
}

export class RoutedClient {
  readonly #clock: FakeClock
  readonly #zone: string | undefined
  readonly #parts: RoutedClientParts
  readonly #request: RequestHead
  readonly #destinations = new Map<string, Destination>()
  readonly #servers = new Map<string, SimulatedServer | undefined>()

  /** `zone`: of this process. */
  constructor(clock: FakeClock, zone?: string, parts: RoutedClientParts = {}) {
    this.#clock = clock
    this.#zone = zone
    this.#parts = parts
    this.#request = parts.request ?? headOf({})
  }

  /** Puts the document of a service in force, over that of the mesh. */
  configure(document: PolicyDocument, mesh: PolicyDocument | null = null): void {
    this.enforce(document.service, resolvePolicy(mesh, document))
  }

  enforce(service: string, policy: ServicePolicy): void {
    this.#of(service).configure(policy)
  }

  /** Replaces the instances of `service`, as discovery does. */
  use(service: string, placed: readonly Placed[]): void {
    for (const { id, server } of placed) this.#servers.set(id, server)
    const instances = placed.map(
      (each): Instance => ({
        ...{ service, id: each.id, address: each.id, port: 8080, protocol: 'http', tls: true },
        ...{ weight: each.weight ?? 1, metadata: each.metadata ?? {} },
        ...{ zone: each.zone, version: each.version, state: each.draining === true ? 'draining' : 'ready' },
      }),
    )
    this.#of(service).apply({ instances, intended: true, left: NONE_LEFT, frozen: false, stale: false })
  }

  /** What listens at the address of an instance, which discovery goes on to list. */
  replace(id: string, server: SimulatedServer | undefined): void {
    this.#servers.set(id, server)
  }

  /** The key of the target that the routes choose; `''` without a route. */
  targetOf(service: string, headers: Readonly<Record<string, string>> = {}): string {
    return this.#of(service).select(headOf(headers), false).routed?.target?.key ?? ''
  }

  /**
   * Sends one call; `done` is called once with its outcome. Returns the key of its target, `''`
   * without a route.
   */
  send(service: string, done: (call: Call, ended: Outcome) => void, streaming = false): string {
    const { stack, kind, routed } = this.#of(service).select(this.#request, streaming)
    if (routed?.answer === undefined) {
      const key = this.#parts.hashKey?.()
      const door = { clock: this.#clock, stack, kind, instances: this.#servers, request: this.#request, key }
      sendCall(door, stack.timeoutMs, done)
    } else {
      // The caller's process answers by itself, without an attempt.
      const now = this.#clock.now()
      done(new Call(kind, now, now, undefined), answerOf(routed.answer.status))
    }
    return routed?.target?.key ?? ''
  }

  close(): void {
    for (const destination of this.#destinations.values()) destination.close(0)
  }

  #of(service: string): Destination {
    let known = this.#destinations.get(service)
    if (known === undefined) {
      const clock = this.#clock
      const { id = 'client-1', caller = 'checkout', telemetry = SILENT, events = NO_EVENTS } = this.#parts
      known = new Destination(service, 'http', {
        ...{ clock, telemetry, idempotent: IDEMPOTENT_METHODS, caller, events },
        transport: transportOf(clock, this.#servers),
        client: { id, zone: this.#zone },
        doubted: new DoubtedEndpoints(clock, true),
        hold: (other) => ({ owner: this.#of(other), release() {} }),
        successor: () => undefined,
      })
      known.configure(resolvePolicy(null, null))
      this.#destinations.set(service, known)
    }
    return known
  }
}

function headOf(headers: Readonly<Record<string, string>>): RequestHead {
  return { method: 'GET', path: '/items/42', header: (name) => headers[name] }
}

/** Attempts are simulated, and so are the probes of health checks: as requests. */
function transportOf(clock: FakeClock, servers: Instances): Transport {
  return {
    clock,
    closed: false,
    overrides: new OverrideProofs(undefined, undefined, clock),
    connections: 0,
    poolOf() {
      throw new Error('has no connections')
    },
    prefer() {},
    probe: () => (endpoint, timeoutMs, done) => probe(clock, servers.get(endpoint.id), timeoutMs, done),
    close() {},
  }
}

const PROBE: CallKind = Object.freeze({
  service: 'simulated',
  method: 'GET',
  protocol: 'http',
  streaming: false,
  idempotent: true,
})

function probe(
  clock: FakeClock,
  server: SimulatedServer | undefined,
  timeoutMs: number,
  done: ProbeListener,
): () => void {
  if (server === undefined) {
    const timer = clock.startTimer(REFUSED_MS, () => done(false, 'the connection was refused'), undefined)
    return () => clock.stopTimer(timer)
  }
  const now = clock.now()
  const giveUp = server.receive(new Attempt(new Call(PROBE, now, now + timeoutMs, undefined)), ({ verdict }) => {
    clock.stopTimer(timer)
    done(verdict === 'success', `the probe ended as ${verdict}`)
  })
  const late = (): void => {
    giveUp()
    done(false, TIMED_OUT)
  }
  const timer = clock.startTimer(timeoutMs, late, undefined)
  return () => {
    clock.stopTimer(timer)
    giveUp()
  }
}
