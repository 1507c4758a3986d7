/**
 * One service as this process calls it by one protocol: endpoints, state and compiled stack. It
 * knows no protocol, and a new policy applies to the next call.
 */
import { isDeepStrictEqual } from 'node:util'
import type { Clock } from '../core/clock.ts'
import type { Endpoint } from '../core/endpoint.ts'
import type { Policy } from '../core/policy.ts'
import type { Protocol } from '../core/protocol.ts'
import type { RequestHead } from '../core/request-head.ts'
import type { Telemetry } from '../core/telemetry.ts'
import { absenceOf } from '../discovery/absence.ts'
import { ServiceCluster } from '../discovery/cluster.ts'
import { instancesOf } from '../discovery/instances-of.ts'
import type { ServicePolicy } from '../discovery/policy-document.ts'
import type { ServiceEndpoints } from '../discovery/resolver.ts'
import { isGrpcMethod } from '../options/names.ts'
import type { OpossumCircuit } from '../resilience/opossum-circuit.ts'
import { ServiceState } from '../resilience/service-state.ts'
import { SERVICE, type ServiceSettings } from '../resilience/settings.ts'
import { compileStack, type Stack } from '../resilience/stack.ts'
import type { RoutingSettings } from '../routing/settings.ts'
import type { EventSink } from '../telemetry/events.ts'
import type { PeerReading } from '../telemetry/mesh-gauges.ts'
import { type BalancingClient, LayeredBalancer } from './balancing/arranged.ts'
import { type BalancerChoice, type BalancerParts, createBalancer, keyOf } from './balancing/balancer.ts'
import type { CallContext } from './call-context.ts'
import type { DoubtedEndpoints } from './doubted-endpoints.ts'
import { EndpointsInUse } from './endpoints-in-use.ts'
import { FirstPolicy } from './first-policy.ts'
import { HealthChecks } from './health-checks.ts'
import { MirrorsInFlight } from './mirror/in-flight.ts'
import { PanicEvents } from './panic-events.ts'
import type { Selection, Selector } from './selection.ts'
import { Selections } from './selections.ts'
import { ejectionEvents, type PeerLabels, stateEvents } from './state-events.ts'
import type { EndpointOwner, HoldOwner } from './targets/endpoint-owner.ts'
import { ServiceRoutes } from './targets/service-routes.ts'
import type { Transport } from './transport.ts'

export interface DestinationParts<T extends Transport> {
  readonly clock: Clock
  readonly telemetry: Telemetry
  readonly events: EventSink
  readonly transport: T
  /** Methods that the protocol itself calls idempotent. */
  readonly idempotent: ReadonlySet<string>
  readonly client: BalancingClient
  readonly doubted: DoubtedEndpoints
  /** Our own service, for routes that name the calling one. */
  readonly caller: string
  /** Keeps another service, to which a route leads. */
  readonly hold: HoldOwner
  /**
   * Until when calls wait for the first policy at least, on the monotonic clock. @defaultValue as
   * long as for an endpoint
   */
  readonly firstPolicyBy?: (() => number) | undefined
  /** Says that no source of endpoints answers just now; `undefined`: one does. */
  readonly unanswered?: (() => string | undefined) | undefined
  /** The destination that took this one's place after it was forgotten; `undefined`: none will. */
  readonly successor: () => Selector<T> | undefined
}

/** The settings on which a picker depends. */
const BALANCING = ['balancer', 'reportedWeights', 'hashKey', 'zone', 'subsetSize', 'slowStartMs'] as const

export class Destination<T extends Transport = Transport> implements Selector<T>, EndpointOwner {
  readonly service: string
  readonly protocol: Protocol
  readonly transport: T
  readonly cluster: ServiceCluster
  readonly state: ServiceState
  readonly mirrors = new MirrorsInFlight()
  /** Counts calls and lookups. */
  uses = 0
  /** Routes of other services that lead here. */
  holds = 0
  /** Closed. Its successor answers for clients that still hold it. */
  forgotten = false
  readonly #parts: DestinationParts<T>
  /** By choice, so that a balancer keeps its estimates when it comes back. */
  readonly #balancers = new Map<string, BalancerParts>()
  readonly #checks: HealthChecks
  #settings: ServiceSettings
  #arranged: LayeredBalancer
  /** Of the service as it is. */
  readonly #own: Selections
  #routing: RoutingSettings | undefined
  /** In force once the first policy is; `undefined`: the service has none. */
  #routes: ServiceRoutes | undefined
  readonly #dependents = new Set<() => void>()
  readonly #observers = new Set<() => void>()
  /** Holds calls until the policy is known; `undefined` from then on. */
  #first: FirstPolicy | undefined
  #known: ServiceEndpoints | undefined
  /** Its labels in events and gauges. */
  readonly #peer: PeerLabels
  readonly #inUse: EndpointsInUse
  readonly #panic: PanicEvents
  readonly #watch = (inUse: readonly Endpoint[]): void => this.#inUse.use(inUse)
  readonly #died = (dead: readonly Endpoint[]): void => {
    this.cluster.bury(dead)
    this.#panic.look(this.cluster)
  }
  readonly #doubt = (lost: readonly Endpoint[]): void => {
    // A connection that stands is no death.
    const unclear = lost.filter((one) => one.transport === undefined || !this.transport.poolOf(one).reachable)
    this.#parts.doubted.add(unclear, this.#died)
  }

  constructor(service: string, protocol: Protocol, parts: DestinationParts<T>) {
    this.service = service
    this.protocol = protocol
    this.transport = parts.transport
    this.#parts = parts
    this.#peer = { peer: service, ...(protocol !== 'http' && { protocol }) }
    const ejected = ejectionEvents(parts.events, (endpoint) => this.#checks.failureOf(endpoint))
    this.state = new ServiceState(service, parts.clock, {
      ...stateEvents(parts.events, this.#peer),
      onEjection: (...change) => {
        this.#panic.look(this.cluster)
        ejected(...change)
      },
    })
    this.#panic = new PanicEvents(parts.events, this.#peer, this.state.ejection)
    this.#checks = new HealthChecks({
      clock: parts.clock,
      ejection: this.state.ejection,
      probe: (path) => parts.transport.probe(path),
    })
    this.#inUse = new EndpointsInUse(this.state.ejection, this.#checks)
    this.#settings = SERVICE.resolve()
    this.#arranged = this.#arrange()
    this.cluster = new ServiceCluster(service, () => this.#arranged, parts.clock, this.#watch, this.#doubt)
    this.#first = new FirstPolicy(
      () => this.#own.stack,
      (method) => isGrpcMethod(this.#settings.retry.idempotent, method),
      parts.firstPolicyBy,
    )
    this.state.configure(this.#settings)
    this.#own = new Selections({ service, protocol, idempotent: parts.idempotent }, this.#compile(), undefined)
  }

  get clock(): Clock {
    return this.#parts.clock
  }

  select(head: RequestHead, streaming: boolean, from?: CallContext): Selection {
    const successor = this.forgotten ? this.#parts.successor() : undefined
    if (successor !== undefined) return successor.select(head, streaming, from)
    this.uses += 1
    if (this.#routes !== undefined) {
      const selected = this.#routes.select(head, streaming, from)
      if (selected !== undefined) return selected
    }
    return this.#own.select(head.method, streaming)
  }

  unrouted(method: string, streaming: boolean): Selection {
    const successor = this.forgotten ? this.#parts.successor() : undefined
    if (successor !== undefined) return successor.unrouted(method, streaming)
    return (this.#routes?.unrouted ?? this.#own).select(method, streaming)
  }

  /**
   * Whether calls are in flight, or calls or gRPC clients (`waitForReady`) wait for an endpoint.
   */
  get busy(): boolean {
    const { cluster } = this
    if (this.holds > 0 || this.#observers.size > 0 || cluster.waiting > 0 || cluster.observed) return true
    return cluster.endpoints.some(({ pending }) => pending > 0)
  }

  /** Whether endpoints are known, here or where a route that was used leads. */
  get served(): boolean {
    return this.cluster.endpoints.length > 0 || this.#routes?.leadsOn === true
  }

  /** Whether a call may find an endpoint, here or where a route leads. */
  get ready(): boolean {
    return this.cluster.endpoints.length > 0 || this.#routes?.ready === true
  }

  /** Calls `listener` when `ready` may have changed. Returns how to stop. */
  onReady(listener: () => void): () => void {
    const leave = this.cluster.onChange(listener)
    this.#observers.add(listener)
    return () => {
      leave()
      this.#observers.delete(listener)
    }
  }

  /** The settings in force, for people. */
  get settings(): ServiceSettings {
    return this.#settings
  }

  get learner(): Policy | undefined {
    return this.balancer(this.#settings).policy
  }

  get routing(): RoutingSettings | undefined {
    return this.#routing
  }

  useFor(target: object, inUse: readonly Endpoint[]): void {
    this.#inUse.useFor(target, inUse)
  }

  onConfigured(listener: () => void): () => void {
    this.#dependents.add(listener)
    return () => void this.#dependents.delete(listener)
  }

  /** The last endpoints from discovery; `undefined` until the first. */
  get known(): ServiceEndpoints | undefined {
    return this.#known
  }

  /**
   * Takes over the endpoints. `configure` comes first, because the first endpoints release calls
   * that wait for both.
   */
  apply(endpoints: ServiceEndpoints): void {
    this.#known = endpoints
    const first = this.#first
    if (first !== undefined) {
      this.#first = undefined
      this.#own.stack = this.#compile()
      this.#route()
    }
    const { intended, left, doubted = false, stale } = endpoints
    const instances = instancesOf(endpoints, this.protocol)
    const absence = instances.length > 0 ? undefined : absenceOf(endpoints, this.protocol, this.#parts.unanswered?.())
    this.cluster.apply(instances, { intended, left, doubted, stale, absence })
    this.#panic.look(this.cluster)
    first?.end(true)
  }

  /** Applies the resolved policy. The same object changes nothing. */
  configure(policy: ServicePolicy): void {
    if (policy.settings === this.#settings && policy.routing === this.#routing) return
    const other = BALANCING.some((key) => !isDeepStrictEqual(policy.settings[key], this.#settings[key]))
    const before = this.#settings
    this.#settings = policy.settings
    this.transport.prefer(this.service, policy.settings.transport)
    this.state.configure(policy.settings)
    this.#routing = policy.routing
    this.#own.stack = this.#compile()
    this.#route()
    const { healthCheck } = policy.settings
    if (!isDeepStrictEqual(before.healthCheck, healthCheck)) this.#checks.configure(healthCheck)
    if (other) {
      this.#arranged = this.#arrange()
      this.cluster.slowStartMs = policy.settings.slowStartMs
      this.cluster.rebalance()
    }
    for (const listener of this.#dependents) listener()
  }

  /** Puts the routes of the document in force, once there is a policy. */
  #route(): void {
    const routing = this.#routing
    if (routing === undefined) {
      this.#routes?.close()
      this.#routes = undefined
    } else if (this.#routes !== undefined) this.#routes.configure(routing)
    else if (this.#first === undefined && !this.forgotten) this.#routes = this.#makeRoutes(routing)
  }

  #makeRoutes(routing: RoutingSettings): ServiceRoutes {
    const { clock, telemetry, client, caller, hold, idempotent } = this.#parts
    const { service, protocol } = this
    return new ServiceRoutes(
      {
        ...{ service, protocol, idempotent, clock, telemetry, client, caller, hold },
        called: this,
        onOverrideRefused: (origin, reason) =>
          this.#parts.events.emit('override:refused', {
            ...(origin !== undefined && { peer: origin }),
            target: service,
            reason,
          }),
        listeners: (route) => stateEvents(this.#parts.events, { ...this.#peer, route }),
        onEndpoints: () => {
          for (const listener of this.#observers) listener()
        },
      },
      routing,
    )
  }

  /** The circuits of the service and of its routes. */
  *circuits(): Iterable<OpossumCircuit> {
    const own = this.state.circuit?.circuit
    if (own !== undefined) yield own
    if (this.#routes !== undefined) yield* this.#routes.circuits()
  }

  /** For metrics and the admin page: the service, and its routes as far as they differ. */
  *readings(): Iterable<PeerReading> {
    const own = this.#peer
    yield this.reading()
    if (this.#routes !== undefined) for (const reading of this.#routes.readings()) yield { ...own, ...reading }
  }

  reading(): PeerReading {
    const circuit = this.state.circuit
    const endpoints = this.cluster.endpoints
    return {
      ...this.#peer,
      circuit: circuit?.state,
      throttled: this.state.throttle?.share,
      retryBudget: Math.floor(this.state.budget.balance),
      panic: endpoints.length > 0 && this.state.ejection.panicking,
      endpoints,
    }
  }

  /** `why`: of calls that wait for the first policy. */
  close(graceMs: number, why?: unknown): void {
    this.forgotten = true
    this.transport.prefer(this.service, undefined)
    this.#first?.end(false, why)
    this.mirrors.close()
    this.#checks.close()
    this.#routes?.close()
    this.cluster.close(graceMs)
    this.state.close()
  }

  balancer(choice: BalancerChoice): BalancerParts {
    const key = keyOf(choice)
    let parts = this.#balancers.get(key)
    if (parts === undefined) {
      parts = createBalancer(choice.balancer, this.#parts.clock, this.state.ejection, choice.reportedWeights)
      this.#balancers.set(key, parts)
    }
    return parts
  }

  #arrange(): LayeredBalancer {
    const { client, clock } = this.#parts
    const { ejection } = this.state
    const { balancer } = this.balancer(this.#settings)
    return new LayeredBalancer(balancer, this.#settings, client, ejection, clock, this.#watch)
  }

  #compile(): Stack {
    return compileStack({
      settings: this.#settings,
      state: this.state,
      cluster: this.cluster,
      balancer: this.balancer(this.#settings).policy,
      telemetry: this.#parts.telemetry,
      clock: this.#parts.clock,
      provisional: this.#first,
    })
  }
}
