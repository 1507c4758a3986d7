/** The services that this process calls: created on first use, forgotten when idle. */
import { randomUUID } from 'node:crypto'
import type { BalancingClient } from '../client/balancing/arranged.ts'
import { Destination } from '../client/destination.ts'
import { DoubtedEndpoints } from '../client/doubted-endpoints.ts'
import type { GrpcTransport } from '../client/grpc/transport.ts'
import { IDEMPOTENT_METHODS } from '../client/http/prepare-request.ts'
import type { HttpTransport } from '../client/http/transport.ts'
import type { HeldOwner } from '../client/targets/endpoint-owner.ts'
import type { TcpTransport } from '../client/tcp/transport.ts'
import type { Transport } from '../client/transport.ts'
import type { Timer } from '../core/clock.ts'
import { MeshError } from '../core/errors.ts'
import { CONNECT, type Protocol } from '../core/protocol.ts'
import { LIMITS } from '../discovery/limits.ts'
import { MESH_DOCUMENT } from '../discovery/policy-document.ts'
import type { ServiceEndpoints } from '../discovery/resolver.ts'
import { SERVICE_NAME } from '../options/names.ts'
import type { OpossumCircuit } from '../resilience/opossum-circuit.ts'
import type { PeerReading } from '../telemetry/mesh-gauges.ts'
import { configureAccessLog } from './access-log.ts'
import type { MeshContext } from './context.ts'
import { IdleDestinations, LOOK_MS } from './idle-destinations.ts'
import type { Membership } from './membership.ts'

const NONE: ReadonlySet<string> = new Set()
/** What never opened was not used. */
const CONNECTING: ReadonlySet<string> = new Set([CONNECT])

/** The services that are called by one protocol. */
interface Called<T extends Transport> {
  readonly protocol: Protocol
  readonly transport: () => T
  readonly idempotent: ReadonlySet<string>
  readonly byName: Map<string, Destination<T>>
}

export class Destinations {
  /** Until then this process looks for a registry, and its first calls wait for that. */
  joinUntilAt = 0
  readonly #shared: MeshContext
  readonly #membership: Membership
  readonly #http: Called<HttpTransport>
  readonly #grpc: Called<GrpcTransport>
  readonly #tcp: Called<TcpTransport>
  readonly #client: BalancingClient
  readonly #doubted: DoubtedEndpoints
  readonly #idle = new IdleDestinations()
  #look: Timer
  #closed = false

  constructor(shared: MeshContext, membership: Membership) {
    this.#shared = shared
    this.#membership = membership
    const { transport, grpc, tcp } = shared
    this.#http = { protocol: 'http', transport: () => transport, idempotent: IDEMPOTENT_METHODS, byName: new Map() }
    this.#grpc = { protocol: 'grpc', transport: grpc, idempotent: NONE, byName: new Map() }
    this.#tcp = { protocol: 'tcp', transport: () => tcp, idempotent: CONNECTING, byName: new Map() }
    // A process that only calls has no instance, so it draws an id for balancing.
    this.#client = { id: randomUUID(), zone: shared.settings.zone, metadata: shared.settings.metadata }
    this.#doubted = new DoubtedEndpoints(shared.settings.clock, transport.loopbackAllowed)
    this.#look = this.#nextLook()
  }

  /**
   * The service as HTTP clients call it; `undefined` if the name cannot be that of a service.
   *
   * @throws MeshError `closed`; `no-endpoints` if this process calls as many services as it can
   */
  http(name: string): Destination<HttpTransport> | undefined {
    return this.#find(this.#http, name)
  }

  /** The same for gRPC clients. @throws also OptionsError if there is no grpc-js */
  grpc(name: string): Destination<GrpcTransport> | undefined {
    return this.#find(this.#grpc, name)
  }

  /** The same for TCP connections. */
  tcp(name: string): Destination<TcpTransport> | undefined {
    return this.#find(this.#tcp, name)
  }

  /** The service as it is called by a protocol, as above. */
  find(protocol: Protocol, name: string): Destination | undefined {
    return protocol === 'tcp' ? this.tcp(name) : protocol === 'grpc' ? this.grpc(name) : this.http(name)
  }

  #find<T extends Transport>(called: Called<T>, name: string): Destination<T> | undefined {
    if (this.#closed) {
      const { service } = this.#shared.settings
      throw new MeshError(`the mesh of ${service} was closed`, { code: 'closed', service: name })
    }
    const { protocol, idempotent, byName } = called
    const known = byName.get(name)
    if (known !== undefined) {
      known.uses += 1
      return known
    }
    // From JavaScript anything may come: 5 and null would match as '5' and 'null'.
    if (typeof name !== 'string' || !SERVICE_NAME.test(name) || name === MESH_DOCUMENT) return undefined
    if (byName.size >= LIMITS.destinations) this.#makeRoom(byName, name)
    const { settings, client, events } = this.#shared
    const made = new Destination(name, protocol, {
      clock: settings.clock,
      telemetry: client,
      events,
      transport: called.transport(),
      idempotent,
      client: this.#client,
      doubted: this.#doubted,
      caller: settings.service,
      hold: (other) => this.#hold(called, other),
      firstPolicyBy: () => this.joinUntilAt,
      unanswered: () => this.#unanswered(),
      // A gRPC client reports a closed mesh by a status of its call, a socket by an event.
      successor: () => (this.#closed && protocol !== 'http' ? undefined : this.#find(called, name)),
    })
    byName.set(name, made)
    this.#configure(made)
    this.#membership.watch(name)
    // Watched before, by the other protocol or because it is our own.
    const endpoints = this.#membership.endpointsOf(name)
    if (endpoints !== undefined && made.known !== endpoints) made.apply(endpoints)
    // Calls that fail before the first view say so. That view replaces it.
    if (made.known === undefined) made.cluster.absence = this.#unanswered()
    return made
  }

  /** `undefined`: a registry answers. */
  #unanswered(): string | undefined {
    if (this.#membership.registry?.connected === true) return undefined
    return `no registry answers (${this.#shared.settings.registry.join(', ')})`
  }

  /** Keeps a service to which a route leads: watched, and not forgotten when it is idle. */
  #hold<T extends Transport>(called: Called<T>, name: string): HeldOwner | undefined {
    const owner = this.#find(called, name)
    if (owner === undefined) return undefined
    owner.holds += 1
    const release = (): void => {
      owner.holds -= 1
    }
    return { owner, release }
  }

  /** A change of the mesh's document concerns every destination. */
  policyChanged(service: string): void {
    for (const destination of this) {
      if (destination.service !== service && service !== MESH_DOCUMENT) continue
      this.#configure(destination)
    }
  }

  #configure(destination: Destination): void {
    const { service } = destination
    const policy = this.#membership.policyOf(service)
    destination.configure(policy)
    configureAccessLog(this.#shared, 'client', service, policy.accessLog)
  }

  endpointsChanged(service: string, endpoints: ServiceEndpoints): void {
    this.#http.byName.get(service)?.apply(endpoints)
    this.#grpc.byName.get(service)?.apply(endpoints)
    this.#tcp.byName.get(service)?.apply(endpoints)
  }

  *[Symbol.iterator](): Iterator<Destination> {
    yield* this.#http.byName.values()
    yield* this.#grpc.byName.values()
    yield* this.#tcp.byName.values()
  }

  readings(): PeerReading[] {
    return [...this].flatMap((destination) => [...destination.readings()])
  }

  circuits(): OpossumCircuit[] {
    return [...this].flatMap((destination) => [...destination.circuits()])
  }

  /** Attempts in flight, and TCP connections on which an answer may be due. */
  get running(): number {
    let running = this.#shared.tcp.busy
    for (const { cluster, protocol } of this) {
      if (protocol !== 'tcp') for (const endpoint of cluster.endpoints) running += endpoint.pending
    }
    return running
  }

  /** Strangers may make up names in URLs, which must not keep out a service that exists. */
  #makeRoom(byName: ReadonlyMap<string, Destination>, service: string): void {
    const idle = this.#idle.first(byName.values())
    if (idle === undefined) {
      const message = `'${service}' cannot be called: ${LIMITS.destinations} services are in use, the most for one process; do service names come from outside?`
      throw new MeshError(message, { code: 'no-endpoints', service })
    }
    this.#forget(idle)
  }

  #forget(destination: Destination): void {
    const { service } = destination
    const all = [this.#http, this.#grpc, this.#tcp]
    for (const { byName } of all) if (byName.get(service) === destination) byName.delete(service)
    destination.close(0)
    if (all.some(({ byName }) => byName.has(service))) return
    this.#membership.unwatch(service)
    this.#shared.accessLog?.client.forget(service)
  }

  #nextLook(): Timer {
    const look = (): void => {
      for (const idle of this.#idle.look(this)) this.#forget(idle)
      this.#look = this.#nextLook()
    }
    return this.#shared.settings.clock.startBackgroundTimer(LOOK_MS, look, undefined)
  }

  /** `why`: of calls that wait for the first policy. */
  close(why?: unknown): void {
    this.#closed = true
    this.#shared.settings.clock.stopTimer(this.#look)
    this.#doubted.close()
    for (const destination of this) destination.close(0, why)
    this.#shared.transport.close(0)
    this.#shared.closeGrpc()
    this.#shared.tcp.close(0)
  }
}
