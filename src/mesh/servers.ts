/** The servers of this process, each with the instance that clients find it by. */
import { isDeepStrictEqual } from 'node:util'
import type { Call } from '../core/call.ts'
import { sleep } from '../core/clock.ts'
import { MeshError } from '../core/errors.ts'
import { keepAlive } from '../core/keep-alive.ts'
import type { Protocol } from '../core/protocol.ts'
import type { TransportPreference } from '../core/transport.ts'
import type { Instance } from '../discovery/instance.ts'
import { MESH_DOCUMENT, type ServicePolicy } from '../discovery/policy-document.ts'
import type { RegistryClient } from '../discovery/registry/client.ts'
import type { GlobalRateLimitPolicy } from '../resilience/limits/global-rate-limit.ts'
import { compileServerStack, ServerLimits, type Stack } from '../resilience/stack.ts'
import { announcedInstance, isWildcard, newInstanceId } from '../server/announce.ts'
import type { Authorizer } from '../server/authorization/authorizer.ts'
import { compileIntentions } from '../server/authorization/intentions.ts'
import { type GrpcServer, serveGrpc } from '../server/grpc/server.ts'
import type { Application, HttpHandler } from '../server/http/application.ts'
import { type HttpServer, serveHttp } from '../server/http/server.ts'
import type { ListeningServer } from '../server/listening-server.ts'
import { serveTcp, type TcpServer } from '../server/tcp/server.ts'
import { ServedCounts } from '../telemetry/traffic/served-counts.ts'
import { configureAccessLog } from './access-log.ts'
import type { MeshContext } from './context.ts'
import { type ListenArguments, listenArguments } from './listen-arguments.ts'
import type { Membership } from './membership.ts'
import type { GrpcServing, MeshServer, NiceGrpcServing } from './mesh-server.ts'
import {
  resolveListenOptions,
  resolveServeGrpcOptions,
  resolveServeOptions,
  type ServeGrpcOptions,
  type ServeOptions,
  type ServeSettings,
} from './serve-options.ts'

/** After all watchers have acknowledged, requests that left before may still be on the wire. */
const ON_THE_WIRE_MS = 100

type AnyDoor = HttpServer | GrpcServer | TcpServer

interface Served {
  /** As it is registered. */
  instance: Instance
  readonly server: AnyDoor
  readonly counts: ServedCounts
  /** It leaves the mesh, or has left it. */
  leaving?: Promise<void>
}

/** What all servers of this process share. */
interface InForce {
  readonly authorizer: Authorizer
  readonly stack: Stack
  readonly transport: TransportPreference
}

export class Servers {
  readonly #shared: MeshContext
  readonly #membership: Membership
  readonly #limits: ServerLimits
  readonly #served = new Set<Served>()
  #compiled: { readonly policy: ServicePolicy; readonly inForce: InForce } | undefined
  #leaving = false
  /** How many rules of faults are in force. */
  #faults = 0

  constructor(shared: MeshContext, membership: Membership) {
    this.#shared = shared
    this.#membership = membership
    this.#limits = new ServerLimits(
      shared.settings.clock,
      (limit, before) => shared.events.emit('limit:changed', { side: 'server', limit, before }),
      {
        report: (demand) => membership.registry?.tellDemand(demand),
        instances: () => this.#processes(),
        leased: (leased) => shared.events.emit('quota:changed', { leased }),
      },
    )
  }

  /** `taken`: it listens itself, and this process takes its connections over. */
  async serve(
    handler: HttpHandler | Application,
    options?: ServeOptions,
    taken?: ListeningServer,
  ): Promise<MeshServer> {
    const settings = resolveServeOptions(options, this.#membership.dev, this.#shared.settings.metadata)
    await this.#identityFor(settings.server, taken)
    const dependencies = { ...this.#dependencies(settings.advertise), taken }
    const server = await serveHttp(handler, settings.server, dependencies)
    return this.#open('http', settings, dependencies.served, server)
  }

  async serveGrpc(
    server: GrpcServing | NiceGrpcServing,
    options?: ServeGrpcOptions,
    taken?: ListeningServer,
  ): Promise<MeshServer> {
    const settings = resolveServeGrpcOptions(options, this.#membership.dev, this.#shared.settings.metadata)
    await this.#identityFor(settings.server, taken)
    const dependencies = { ...this.#dependencies(settings.advertise), taken }
    const opened = await serveGrpc(server as never, settings.server, dependencies)
    return this.#open('grpc', settings, dependencies.served, opened)
  }

  /** @throws OptionsError, as for the others; `service` is none but our own */
  async listen(service: string, ...given: ListenArguments): Promise<MeshServer> {
    const { handler, options } = listenArguments(this.#shared.settings.service, service, given)
    const settings = resolveListenOptions(options, this.#membership.dev, this.#shared.settings.metadata)
    await this.#identityFor(settings.server)
    const dependencies = { ...this.#dependencies(settings.advertise), metrics: this.#shared.tcpServer }
    const opened = await serveTcp(handler, settings.server, dependencies)
    return this.#open('tcp', settings, dependencies.served, opened)
  }

  async #identityFor({ mode }: { readonly mode?: string }, taken?: ListeningServer): Promise<void> {
    if (mode === 'plaintext') return
    const present = this.#shared.identity.whenPresent()
    // The search for a registry holds no process, and until then only a server of others listens.
    await (taken === undefined ? keepAlive(present) : present)
  }

  /** `advertise`: callers take the address that the user names, and no other. */
  #dependencies(advertise: string | undefined) {
    const { settings, localDirectory, identity, verifier, overrideProofs, events, server: telemetry } = this.#shared
    return {
      service: settings.service,
      served: new ServedCounts(this.#shared.traffic, newInstanceId(settings.service)),
      clock: settings.clock,
      localDirectory: advertise === undefined ? localDirectory : undefined,
      identity,
      verifier,
      overrideProofs,
      ...this.#inForce(),
      events,
      runInSpan: <T>(call: Call, work: () => T) => telemetry.within(call, work),
    }
  }

  /** Registers a server that listens. */
  async #open(
    protocol: Protocol,
    { advertise, metadata, server: { mode } }: ServeSettings<{ readonly mode?: string }>,
    counts: ServedCounts,
    server: AnyDoor,
  ): Promise<MeshServer> {
    const { settings, traffic } = this.#shared
    const { service, zone, version, weight } = settings
    const { port, transports, local } = server
    // Node listens on all addresses unless asked; a `--dev` mesh is on one machine.
    const everywhere = server.taken !== undefined && this.#membership.dev && isWildcard(server.address)
    const host = everywhere ? '127.0.0.1' : server.address
    const announcement = { service, host, port, advertise, zone, version, weight, metadata, transports, local }
    const instance = announcedInstance(counts.id, { ...announcement, protocol, tls: mode !== 'plaintext' })
    const served: Served = { instance, server, counts }
    this.#served.add(served)
    traffic.addServer(counts)
    // While it began to listen, something may have come into force.
    Object.assign(server, this.#inForce())
    served.instance = { ...instance, transports: server.transports }
    try {
      await this.#membership.registry?.register(served.instance)
    } catch (error) {
      // Without a registry it is registered later; what the registry refuses it would refuse again.
      if (error instanceof MeshError && error.code === 'registry-refused') {
        this.#forget(served)
        await Promise.all([this.#membership.registry?.deregister(instance.id), server.close()])
        throw error
      }
    }
    if (this.#leaving) {
      await this.#leave(served)
      throw new MeshError(`the mesh of ${service} was closed`, { code: 'closed', service })
    }
    const opened: MeshServer = {
      get address() {
        return server.address
      },
      get port() {
        return server.port
      },
      get stats() {
        return server.stats
      },
      close: () => this.#leave(served),
      end: () => server.close(),
    }
    server.inMesh(opened)
    return opened
  }

  /** They leave the mesh, or have left it. */
  get leaving(): boolean {
    return this.#leaving
  }

  /** `undefined`: there is none. */
  get concurrencyLimit(): number | undefined {
    const limit = this.#limits.concurrency?.limit
    return limit === undefined || limit >= Number.MAX_SAFE_INTEGER ? undefined : limit
  }

  /** `undefined`: there is no such limit. */
  get globalRate(): GlobalRateLimitPolicy | undefined {
    return this.#limits.globalRate
  }

  /**
   * How many processes share the rate of the service. One with several servers lists an instance
   * for each, and the others are taken to do the same.
   */
  #processes(): number {
    const instances = this.#membership.endpointsOf(this.#shared.settings.service)?.instances ?? []
    const serving = instances.filter(({ state, weight }) => state === 'ready' && weight > 0).length
    return serving / Math.max(1, this.#served.size)
  }

  /** Registers what was served before there was a session (`startWithoutRegistry`). */
  begun(registry: RegistryClient): void {
    for (const { instance } of this.#served) void registry.register(instance).catch(() => undefined)
  }

  /** New intentions and limits; requests in progress keep theirs. */
  policyChanged(service: string): void {
    if (service !== MESH_DOCUMENT && service !== this.#shared.settings.service) return
    const before = this.#compiled
    const inForce = this.#inForce()
    if (inForce === before?.inForce) return
    for (const served of this.#served) {
      Object.assign(served.server, inForce)
      if (served.leaving === undefined) this.#announceAgain(served)
    }
  }

  /** Callers learn which transports its server offers now. */
  #announceAgain(served: Served): void {
    const { transports } = served.server
    if (isDeepStrictEqual(transports, served.instance.transports)) return
    served.instance = { ...served.instance, transports }
    void this.#membership.registry?.register(served.instance).catch(() => undefined)
  }

  /** All leave the mesh. Never rejects. */
  async leave(): Promise<void> {
    this.#leaving = true
    await Promise.all([...this.#served].map((served) => this.#leave(served)))
    this.globalRate?.close()
  }

  /** All end now. */
  async close(): Promise<void> {
    this.#leaving = true
    await Promise.all([...this.#served].map(({ server }) => server.close()))
    this.globalRate?.close()
  }

  #inForce(): InForce {
    const { settings, server: telemetry, events } = this.#shared
    const policy = this.#membership.policyOf(settings.service)
    if (this.#compiled?.policy === policy) return this.#compiled.inForce
    const { limits, faults, timeoutMs } = policy.settings
    configureAccessLog(this.#shared, 'server', settings.service, policy.accessLog)
    if (faults.length !== this.#faults) events.emit('fault:changed', { rules: faults.length })
    this.#faults = faults.length
    this.#limits.configure(limits)
    const inForce = {
      authorizer: compileIntentions(policy.allow, policy.defaultIntention),
      stack: compileServerStack({ faults, timeoutMs, state: this.#limits, telemetry, clock: settings.clock }),
      transport: policy.settings.transport ?? settings.transport,
    }
    this.#compiled = { policy, inForce }
    return inForce
  }

  #leave(served: Served): Promise<void> {
    served.leaving ??= this.#drain(served).finally(() => this.#forget(served))
    return served.leaving
  }

  #forget(served: Served): void {
    this.#served.delete(served)
    this.#shared.traffic.removeServer(served.counts)
  }

  /**
   * Out of all pickers first, then what runs ends, then it is gone: the order matters more than
   * retries do.
   */
  async #drain({ instance: { id }, server }: Served): Promise<void> {
    const { clock, drainNoticeMs, drainTimeoutMs } = this.#shared.settings
    const registry = this.#membership.registry
    // Load balancers watch no registry: they go by a probe that fails.
    const outsiders = server.taken === undefined && server.stats.plaintext > 0 && !this.#membership.dev
    // Unless all watchers have seen it, the whole notice passes; without a registry no one was ever
    // told of us.
    const seen = registry
      ?.drain(id, drainNoticeMs)
      .then((how) => (how === 'seen' && !outsiders ? sleep(clock, ON_THE_WIRE_MS) : new Promise<never>(() => {})))
    const lameDuckMs = registry === undefined && !outsiders ? 0 : drainNoticeMs
    await server.drain({ lameDuckMs, ...(seen !== undefined && { seen }), graceMs: drainTimeoutMs })
    await registry?.deregister(id)
  }
}
