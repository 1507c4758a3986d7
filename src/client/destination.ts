/**
 * One service as this process calls it by one protocol: endpoints, state and compiled stack. It
 * knows no protocol, and a new policy applies to the next call.
 */
import { isDeepStrictEqual } from 'node:util'
import type { CallKind } from '../core/call.ts'
import type { Clock } from '../core/clock.ts'
import type { Endpoint } from '../core/endpoint.ts'
import type { Protocol } from '../core/protocol.ts'
import type { RequestHead } from '../core/request-head.ts'
import type { Telemetry } from '../core/telemetry.ts'
import { ServiceCluster } from '../discovery/cluster.ts'
import type { Instance } from '../discovery/instance.ts'
import type { ServicePolicy } from '../discovery/policy-document.ts'
import type { ServiceEndpoints } from '../discovery/resolver.ts'
import { isGrpcMethod } from '../options/names.ts'
import type { BalancerName } from '../resilience/balancing-settings.ts'
import { ServiceState } from '../resilience/service-state.ts'
import { SERVICE, type ServiceSettings } from '../resilience/settings.ts'
import { compileStack, type Stack } from '../resilience/stack.ts'
import type { EventSink } from '../telemetry/events.ts'
import type { PeerReading } from '../telemetry/mesh-gauges.ts'
import { type BalancingClient, LayeredBalancer } from './balancing/arranged.ts'
import { type BalancerParts, createBalancer } from './balancing/balancer.ts'
import type { DoubtedEndpoints } from './doubted-endpoints.ts'
import { FirstPolicy } from './first-policy.ts'
import { HealthChecks } from './health-checks.ts'
import type { Selection, Selector } from './selection.ts'
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
  /** The destination that took this one's place after it was forgotten; `undefined`: none will. */
  readonly successor: () => Selector<T> | undefined
}

/** Methods come from callers, so the kinds kept are bounded; beyond it each call makes one. */
const MAX_KINDS = 512

type Selections = Map<string, { stack: Stack; readonly kind: CallKind }>

/** The settings on which a picker depends. */
const BALANCING = ['balancer', 'hashKey', 'zone', 'subsetSize', 'slowStartMs'] as const

export class Destination<T extends Transport = Transport> implements Selector<T> {
  readonly service: string
  readonly protocol: Protocol
  readonly transport: T
  readonly cluster: ServiceCluster
  readonly state: ServiceState
  /** Counts calls and lookups. */
  uses = 0
  /** Closed. Its successor answers for clients that still hold it. */
  forgotten = false
  readonly #parts: DestinationParts<T>
  /** By name, so that a balancer keeps its estimates when it comes back. */
  readonly #balancers = new Map<BalancerName, BalancerParts>()
  /** By method; their stacks are replaced with each new policy. */
  readonly #selections: Selections = new Map()
  readonly #streaming: Selections = new Map()
  readonly #checks: HealthChecks
  #settings: ServiceSettings
  #arranged: LayeredBalancer
  #stack: Stack
  /** Holds calls until the policy is known; `undefined` from then on. */
  #first: FirstPolicy | undefined
  #known: ServiceEndpoints | undefined
  #panicking = false
  /**
   * The endpoints in use, after each publication of the cluster and each pick that changed them.
   */
  readonly #watch = (inUse: readonly Endpoint[]): void => {
    this.state.ejection.watch(inUse)
    this.#checks.update(inUse)
  }
  readonly #died = (dead: readonly Endpoint[]): void => {
    this.cluster.bury(dead)
    this.#tellPanic()
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
    const peer = this.#peer
    this.state = new ServiceState(service, parts.clock, {
      onCircuit: (_service, from, to) => parts.events.emit('circuit:transition', { ...peer, from, to }),
      onThrottle: (_service, on, share) => parts.events.emit('throttle:changed', { ...peer, on, share }),
      onHedge: (_service, what) => parts.events.emit('hedge:changed', { ...peer, what }),
      onUnpaidRetry: () => parts.events.emit('retry:budget-exhausted', peer),
      onEjection: (endpoint, _from, to, reason, forMs) => {
        this.#tellPanic()
        const who = { peer: endpoint.service, endpoint: endpoint.label }
        if (to === 'ejected') {
          const detail = reason === 'health-check' ? this.#checks.failureOf(endpoint) : undefined
          parts.events.emit('endpoint:ejected', {
            ...who,
            reason,
            ...(forMs !== Number.POSITIVE_INFINITY && { forMs }),
            ...(detail !== undefined && { detail }),
          })
        } else if (to === 'probing') parts.events.emit('endpoint:probing', who)
        else parts.events.emit('endpoint:restored', who)
      },
    })
    this.#checks = new HealthChecks({
      clock: parts.clock,
      ejection: this.state.ejection,
      probe: (path) => parts.transport.probe(path),
    })
    this.#settings = SERVICE.resolve()
    this.#arranged = this.#arrange()
    this.cluster = new ServiceCluster(service, () => this.#arranged, parts.clock, this.#watch, this.#doubt)
    this.#first = new FirstPolicy(
      () => this.#stack,
      (method) => isGrpcMethod(this.#settings.retry.idempotent, method),
    )
    this.state.configure(this.#settings)
    this.#stack = this.#compile()
  }

  get clock(): Clock {
    return this.#parts.clock
  }

  select(head: RequestHead, streaming: boolean): Selection {
    const successor = this.forgotten ? this.#parts.successor() : undefined
    if (successor !== undefined) return successor.select(head, streaming)
    this.uses += 1
    return (streaming ? this.#streaming : this.#selections).get(head.method) ?? this.#addKind(head.method, streaming)
  }

  #addKind(method: string, streaming: boolean): Selection {
    const { service, protocol } = this
    const idempotent = this.#parts.idempotent.has(method)
    const kind = Object.freeze({ service, method, protocol, streaming, idempotent })
    const selection = { stack: this.#stack, kind }
    const selections = streaming ? this.#streaming : this.#selections
    if (selections.size < MAX_KINDS) selections.set(method, selection)
    return selection
  }

  /**
   * Whether calls are in flight, or calls or gRPC clients (`waitForReady`) wait for an endpoint.
   */
  get busy(): boolean {
    return (
      this.cluster.waiting > 0 || this.cluster.observed || this.cluster.endpoints.some(({ pending }) => pending > 0)
    )
  }

  /** The settings in force, for people. */
  get settings(): ServiceSettings {
    return this.#settings
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
      this.#takeOver(this.#compile())
    }
    const { intended, left, doubted = false, stale } = endpoints
    this.cluster.apply(instancesOf(endpoints, this.protocol), { intended, left, doubted, stale })
    this.#tellPanic()
    first?.end(true)
  }

  /** Applies the resolved policy. The same object changes nothing. */
  configure(policy: ServicePolicy): void {
    if (policy.settings === this.#settings) return
    const other = BALANCING.some((key) => !isDeepStrictEqual(policy.settings[key], this.#settings[key]))
    const before = this.#settings
    this.#settings = policy.settings
    this.state.configure(policy.settings)
    this.#takeOver(this.#compile())
    if (!isDeepStrictEqual(before.healthCheck, policy.settings.healthCheck)) {
      this.#checks.configure(policy.settings.healthCheck)
    }
    if (!other) return
    this.#arranged = this.#arrange()
    this.cluster.slowStartMs = policy.settings.slowStartMs
    this.cluster.rebalance()
  }

  /** For metrics and the admin page. */
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

  /** Emits an event when panic (too few healthy endpoints) begins or ends. */
  #tellPanic(): void {
    const { endpoints } = this.cluster
    const on = endpoints.length > 0 && this.state.ejection.panicking
    if (on === this.#panicking) return
    this.#panicking = on
    const healthy = endpoints.filter(({ state }) => state === 'healthy').length
    this.#parts.events.emit('cluster:panic', { ...this.#peer, on, healthy, endpoints: endpoints.length })
  }

  close(graceMs: number): void {
    this.forgotten = true
    this.#first?.end(false)
    this.#checks.close()
    this.cluster.close(graceMs)
    this.state.close()
  }

  /** Its labels in events and gauges. */
  get #peer(): { peer: string; protocol?: Protocol } {
    return this.protocol === 'http' ? { peer: this.service } : { peer: this.service, protocol: this.protocol }
  }

  #balancer(): BalancerParts {
    const name = this.#settings.balancer
    let parts = this.#balancers.get(name)
    if (parts === undefined) {
      parts = createBalancer(name, this.#parts.clock, this.state.ejection)
      this.#balancers.set(name, parts)
    }
    return parts
  }

  #arrange(): LayeredBalancer {
    const { client, clock } = this.#parts
    const { ejection } = this.state
    return new LayeredBalancer(this.#balancer().balancer, this.#settings, client, ejection, clock, this.#watch)
  }

  /** Calls in flight keep the stack that they began with. */
  #takeOver(stack: Stack): void {
    this.#stack = stack
    for (const selection of this.#selections.values()) selection.stack = stack
    for (const selection of this.#streaming.values()) selection.stack = stack
  }

  #compile(): Stack {
    return compileStack({
      settings: this.#settings,
      state: this.state,
      cluster: this.cluster,
      balancer: this.#balancer().policy,
      telemetry: this.#parts.telemetry,
      clock: this.#parts.clock,
      provisional: this.#first,
    })
  }
}

/** Returns the same list if all instances speak the protocol. */
function instancesOf(endpoints: ServiceEndpoints, protocol: Protocol): readonly Instance[] {
  if (endpoints.protocol === protocol) return endpoints.instances
  return endpoints.instances.filter((instance) => instance.protocol === protocol)
}
