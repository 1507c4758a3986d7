/**
 * One process in the mesh: starts identity and discovery, holds what is in force, hands out clients and servers, and takes all of it
 * down again in the order in which nothing is lost.
 */
import { Destination } from './client/destination.ts'
import { HttpClient, type HttpFilter } from './client/http-client.ts'
import { type MeshDispatcher, type MeshDispatcherOptions, makeDispatcher } from './client/http-dispatcher.ts'
import { type HttpFetchOptions, type MeshFetch, type MeshFetchInit, makeFetch } from './client/http-fetch.ts'
import { HttpTransport } from './client/http-transport.ts'
import { sleep } from './core/clock.ts'
import { MeshError } from './core/errors.ts'
import { OptionsError, show } from './core/fields.ts'
import { SERVICE_NAME } from './core/names.ts'
import { LastGood } from './discovery/last-good.ts'
import { MESH_DOCUMENT, type PolicyDocument, resolvePolicy, type ServicePolicy } from './discovery/policy-document.ts'
import { RegistryClient } from './discovery/registry-client.ts'
import type { ServiceView } from './discovery/snapshot.ts'
import type { Instance } from './discovery/wire.ts'
import { KeyStore } from './identity/key-store.ts'
import { LateIdentity } from './identity/late-identity.ts'
import { PeerVerifier } from './identity/peer-verifier.ts'
import type { RotatingIdentity } from './identity/rotation.ts'
import { clientTlsOptions } from './identity/tls-options.ts'
import { obtainIdentity } from './mesh-identity.ts'
import { type MeshSettings, resolveServeOptions, type ServeOptions } from './options.ts'
import type { OpossumCircuit } from './resilience/opossum-circuit.ts'
import { compileServerStack, ServerLimits } from './resilience/stack.ts'
import { announcedInstance, newInstanceId } from './server/announce.ts'
import { compileIntentions } from './server/authorization.ts'
import type { HttpHandler } from './server/http-handler.ts'
import { type HttpServer, serveHttp } from './server/http-server.ts'
import { closeOnSignal } from './signals.ts'
import { type Admin, resolveAdmin, startAdmin } from './telemetry/admin.ts'
import { type CallTelemetry, createTelemetry } from './telemetry/call-telemetry.ts'
import { EventMetrics } from './telemetry/event-metrics.ts'
import { type EventRecord, type EventSink, Events } from './telemetry/events.ts'
import { LoopDelay } from './telemetry/loop-delay.ts'
import { registerMeshGauges } from './telemetry/mesh-gauges.ts'
import { Metrics } from './telemetry/metrics.ts'
import { loadTracingApi } from './telemetry/tracing.ts'

/** Names come from URLs, which may come from strangers: more services than this are not watched. */
const MOST_DESTINATIONS = 1_000
/** After all watchers have acknowledged, requests that left before may still be on the wire. */
const ON_THE_WIRE_MS = 100
/** How long to go on serving when nobody can tell whether we were seen leaving (faults-and-attacks F56). */
const UNSEEN_LAME_DUCK_MS = 2_000
/** How often a drain looks whether our own calls have ended. */
const LOOK_MS = 20

/** @internal What `joinMesh` does once the options are known to be right. */
export async function startMesh(settings: MeshSettings): Promise<Mesh> {
  const { clock } = settings
  const untilAt = clock.now() + settings.joinTimeoutMs
  const directory = settings.stateDir === 'memory' ? undefined : settings.stateDir
  const store = await KeyStore.open({ directory, clock })
  const [tracingApi, identity] = [await loadTracingApi(), new LateIdentity()]
  const verifier = new PeerVerifier(clock, { trustDomain: '', roots: [], sequence: -1 })
  const stopVerifier = identity.onRotate((next) => verifier.setTrust(next))
  const metrics = new Metrics()
  const { service } = settings
  const kept = new Events(service, clock, metrics)
  const events = new EventMetrics(service, metrics, kept)
  const telemetry = (side: 'client' | 'server'): CallTelemetry =>
    createTelemetry({ side, service, metrics, clock, tracingApi })
  const client = telemetry('client')
  const transport = await HttpTransport.create({
    clock,
    suppressed: tracingApi === undefined ? undefined : (dispatch) => client.suppressed(dispatch),
    identity: { source: identity, verifier },
    onPeerRefused: ({ reason }, endpoint) =>
      events.emit('peer:refused', { side: 'client', reason, peer: endpoint.service, address: endpoint.label }),
  })
  const mesh = new Mesh({
    settings,
    store,
    identity,
    verifier,
    transport,
    metrics,
    kept,
    events,
    client,
    server: telemetry('server'),
  })
  mesh.onClosed(stopVerifier)
  try {
    await mesh.start(untilAt)
  } catch (error) {
    await mesh.abort()
    throw error
  }
  return mesh
}

interface MeshParts {
  readonly settings: MeshSettings
  readonly store: KeyStore
  readonly identity: LateIdentity
  readonly verifier: PeerVerifier
  readonly transport: HttpTransport
  readonly metrics: Metrics
  readonly kept: Events
  readonly events: EventSink
  readonly client: CallTelemetry
  readonly server: CallTelemetry
}

interface Served {
  readonly instance: Instance
  readonly server: HttpServer
}

/** A process in the mesh; made by `joinMesh`. */
export class Mesh {
  readonly #parts: MeshParts
  readonly #settings: MeshSettings
  readonly #destinations = new Map<string, Destination>()
  readonly #served: Served[] = []
  readonly #limits: ServerLimits
  readonly #cleanUp: (() => unknown)[] = []
  readonly #fetch: MeshFetch
  #registry: RegistryClient | undefined
  #rotation: RotatingIdentity | undefined
  #lastGood: LastGood | undefined
  #meshPolicy: PolicyDocument | null = null
  #ownPolicy: PolicyDocument | null = null
  #own: ServicePolicy
  #admin: Admin | undefined
  #firstViews: ((what: undefined) => void) | undefined
  #closing: Promise<void> | undefined

  /** @internal */
  constructor(parts: MeshParts) {
    this.#parts = parts
    this.#settings = parts.settings
    this.#limits = new ServerLimits(parts.settings.clock)
    this.#own = resolvePolicy(null, null)
    this.#fetch = makeFetch((name) => this.#find(name))
  }

  /** The name of this service. */
  get service(): string {
    return this.#settings.service
  }

  /** Our SPIFFE id, `spiffe://<trust domain>/service/<name>`. @throws MeshError while there is none (`startWithout`) */
  get spiffeId(): string {
    return this.#parts.identity.current.spiffeId
  }

  /** Whether what is in force comes from the disk, because no registry has answered yet. */
  get stale(): boolean {
    const view = this.#registry?.view(this.service)
    return view === undefined || view.stale
  }

  /** Port of the admin listener; `undefined` if there is none. */
  get adminPort(): number | undefined {
    return this.#admin?.port
  }

  /**
   * The client of a service. Cheaper than {@link Mesh.fetch}; the same policies.
   *
   * @throws OptionsError if `service` is no service name
   * @throws MeshError `closed`
   * @example
   * ```ts
   * const inventory = mesh.http('inventory')
   * const item = await (await inventory.get('/items/42', { timeout: '300ms' })).json()
   * ```
   */
  http(service: string, options: { readonly filters?: readonly HttpFilter[] } = {}): HttpClient {
    const found = this.#find(service)
    if (found === undefined) throw wrongServiceName(service)
    return new HttpClient(found, options.filters)
  }

  /**
   * A drop-in for `fetch` whose host is a service name, such as `http://inventory/items/42`; rejects with a {@link MeshError} where
   * the built-in one rejects with a `TypeError`.
   */
  fetch(input: string | URL | Request, init?: MeshFetchInit): Promise<Response> {
    return this.#fetch(input, init)
  }

  /** A `fetch` with options of its own, to be handed to code that takes one. */
  fetchWith(options: HttpFetchOptions): MeshFetch {
    return makeFetch((name) => this.#find(name), options)
  }

  /**
   * For code that speaks undici, or through `setGlobalDispatcher` the built-in `fetch`: hosts that end in `.mesh` go through the mesh.
   *
   * @example
   * ```ts
   * setGlobalDispatcher(mesh.dispatcher())
   * await fetch('http://inventory.mesh/items/42')
   * ```
   */
  dispatcher(options?: MeshDispatcherOptions): MeshDispatcher {
    this.#assertOpen()
    const dispatcher = makeDispatcher((name) => this.#find(name), options)
    this.#cleanUp.push(() => dispatcher.close().catch(() => undefined))
    return dispatcher
  }

  /**
   * Serves `handler` and registers it as an instance of this service. Resolves when it listens and the registry knows it; without a
   * registry, when it listens, and it is registered as soon as there is one.
   *
   * @throws OptionsError, MeshError `registry-refused`, or the system's error if it cannot listen
   */
  async serve(handler: HttpHandler, options?: ServeOptions): Promise<HttpServer> {
    this.#assertOpen()
    const { server: serverOptions, advertise, metadata } = resolveServeOptions(options, this.#registry?.dev === true)
    if (serverOptions.mode !== 'plaintext') await this.#parts.identity.whenPresent()
    const { clock, service, zone, version, weight } = this.#settings
    const server = await serveHttp(handler, serverOptions, {
      service,
      clock,
      identity: this.#parts.identity,
      verifier: this.#parts.verifier,
      authorizer: compileIntentions(this.#own.allow, this.#own.defaultIntention),
      stack: this.#serverStack(),
      events: this.#parts.events,
      within: (call, work) => this.#parts.server.within(call, work),
    })
    const instance = announcedInstance(newInstanceId(service), {
      service,
      host: server.address,
      port: server.port,
      advertise,
      protocol: 'http',
      tls: serverOptions.mode !== 'plaintext',
      zone,
      version,
      weight,
      metadata: { ...this.#settings.metadata, ...metadata },
    })
    const served = { instance, server }
    this.#served.push(served)
    try {
      await this.#registry?.register(instance)
    } catch (error) {
      // Without a registry it is registered later; what the registry refuses it would refuse again.
      if (error instanceof MeshError && error.code === 'registry-refused') {
        this.#served.splice(this.#served.indexOf(served), 1)
        await Promise.all([this.#registry?.deregister(instance.id), server.close()])
        throw error
      }
    }
    if (this.#closing !== undefined) {
      await server.close()
      this.#assertOpen()
    }
    return server
  }

  /** All metrics of this mesh as Prometheus text (content type `text/plain; version=0.0.4`). */
  metrics(): string {
    return this.#parts.metrics.text()
  }

  /** The circuits of the services that this process calls: real opossum objects. */
  circuits(): readonly OpossumCircuit[] {
    return [...this.#destinations.values()].flatMap(({ state }) => state.circuit?.circuit ?? [])
  }

  /** The last events, oldest first; the same as on `node:diagnostics_channel`. */
  events(): readonly EventRecord[] {
    return this.#parts.kept.recent()
  }

  /**
   * Leaves the mesh without losing a request: out of the pickers of all clients, then finish what runs, then close everything.
   * Resolves when nothing is left; safe to call more than once; never rejects.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** @internal */
  onClosed(cleanUp: () => unknown): void {
    this.#cleanUp.push(cleanUp)
  }

  /** @internal */
  async start(untilAt: number): Promise<void> {
    const { identity, metrics } = this.#parts
    const { clock, service, startWithout, adminPort } = this.#settings
    const loopDelay = new LoopDelay(clock)
    const stopGauges = registerMeshGauges(metrics, {
      service,
      peers: () => [...this.#destinations.values()].map((destination) => destination.reading()),
      certificateNotAfter: () => (identity.present ? identity.current.notAfter : undefined),
      wallNow: () => clock.wallNow(),
      snapshotAgeMs: () => (this.#registry === undefined ? undefined : clock.now() - this.#registry.heardAt),
      configRevision: () => this.#registry?.view(service)?.revision,
      registryConnected: () => this.#registry?.connected,
      loopDelay,
    })
    this.#cleanUp.push(stopGauges)
    if (adminPort !== undefined) this.#admin = await startAdmin(resolveAdmin({ port: adminPort }), this.#adminPages())
    if (this.#settings.handleSignals) this.#cleanUp.push(closeOnSignal(() => this.close()))

    const stopped = (): boolean => this.#closing !== undefined
    const started = obtainIdentity(this.#settings, this.#parts.store, this.#parts.events, untilAt, stopped).then(
      (rotation) => this.#begin(rotation, untilAt),
    )
    if (!startWithout) {
      await started
      return
    }
    // Whoever starts without a registry is told what else is wrong, and goes on trying otherwise.
    await started.catch((error: unknown) => {
      if (!(error instanceof MeshError) || error.code !== 'registry-unavailable') throw error
      void obtainIdentity(this.#settings, this.#parts.store, this.#parts.events, Number.POSITIVE_INFINITY, stopped)
        .then((rotation) => this.#begin(rotation, Number.POSITIVE_INFINITY))
        .catch((later: unknown) => {
          this.#parts.events.emit('identity:failed', { reason: later instanceof Error ? later.message : String(later) })
        })
    })
  }

  /** @internal What a failed start has opened is closed again, without ceremony. */
  async abort(): Promise<void> {
    this.#closing ??= this.#release()
    await this.#closing
  }

  /** There is an identity: everything else can begin. */
  async #begin(rotation: RotatingIdentity, untilAt: number): Promise<void> {
    if (this.#closing !== undefined) {
      rotation.close()
      return
    }
    const { identity, verifier, events, store } = this.#parts
    const { clock, service } = this.#settings
    this.#rotation = rotation
    identity.arrive(rotation)
    const lastGood = new LastGood(store, rotation.current.trustDomain, clock, (reason) =>
      events.emit('snapshot:rejected', { subject: 'disk', reason }),
    )
    this.#lastGood = lastGood
    const registry = new RegistryClient({
      addresses: this.#settings.registry,
      service,
      process: newInstanceId(service),
      clock,
      restored: await lastGood.load(),
      tls: () => clientTlsOptions(identity.current, verifier, { registry: true }),
      observer: {
        connected: (address) => events.emit('registry:connected', { address }),
        lost: (address, reason) => events.emit('registry:lost', { address, reason }),
        rejected: (reason) => events.emit('snapshot:rejected', { subject: 'registry', reason }),
        bundle: (_trustDomain, roots, sequence) => rotation.updateBundle(roots, sequence),
        refused: (code, message) => events.emit('snapshot:rejected', { subject: code, reason: message }),
        skew: (ms) => events.emit('identity:failed', { reason: `our clock differs from the registry's by ${ms} ms` }),
      },
    })
    this.#registry = registry
    identity.onRotate(() => registry.renew())
    const first = this.#awaitFirstViews(registry, untilAt)
    registry.watch(MESH_DOCUMENT, (view) => this.#onView(view))
    registry.watch(service, (view) => this.#onView(view))
    for (const destination of this.#destinations.values()) this.#watch(destination.service)
    // Served before there was an identity or a registry (`startWithout`); it keeps them until it is connected.
    for (const { instance } of this.#served) void registry.register(instance).catch(() => undefined)
    registry.start()
    await first
  }

  /** Resolves when the mesh's and our own service's view are there, live or stale. */
  #awaitFirstViews(registry: RegistryClient, untilAt: number): Promise<void> {
    const { clock, service } = this.#settings
    const complete = (): boolean => registry.view(MESH_DOCUMENT) !== undefined && registry.view(service) !== undefined
    return new Promise((resolve, reject) => {
      const timer = clock.startTimer(
        Math.max(0, untilAt - clock.now()),
        () => {
          const message = `no registry sent a snapshot in time (${this.#settings.registry.join(', ')}), and there is none on disk`
          reject(new MeshError(message, { code: 'registry-unavailable', service }))
        },
        undefined,
      )
      this.#firstViews = () => {
        if (!complete()) return
        clock.stopTimer(timer)
        this.#firstViews = undefined
        resolve()
      }
    })
  }

  #onView(view: ServiceView): void {
    const { service } = view
    if (service === MESH_DOCUMENT) this.#meshPolicy = view.policy as PolicyDocument | null
    if (service === this.service) this.#ownPolicy = view.policy as PolicyDocument | null
    if (service === this.service || service === MESH_DOCUMENT) this.#configureServers()
    if (service === MESH_DOCUMENT) for (const destination of this.#destinations.values()) this.#configure(destination)
    const destination = this.#destinations.get(service)
    if (destination !== undefined) {
      this.#configure(destination)
      destination.apply(view)
    }
    const { revision, stale } = view
    this.#parts.events.emit('snapshot:applied', { subject: service, revision, stale })
    this.#registry?.acknowledge(view)
    const registry = this.#registry
    if (registry !== undefined && !stale) this.#lastGood?.changed(() => registry.known)
    this.#firstViews?.(undefined)
  }

  #configure(destination: Destination): void {
    const view = this.#registry?.view(destination.service)
    const document = (view?.policy ?? null) as PolicyDocument | null
    destination.configure(resolvePolicy(this.#meshPolicy, document, { dev: this.#registry?.dev === true }))
  }

  #configureServers(): void {
    this.#own = resolvePolicy(this.#meshPolicy, this.#ownPolicy, { dev: this.#registry?.dev === true })
    const authorizer = compileIntentions(this.#own.allow, this.#own.defaultIntention)
    const stack = this.#serverStack()
    for (const { server } of this.#served) {
      server.authorizer = authorizer
      server.stack = stack
    }
  }

  #serverStack() {
    return compileServerStack({
      limits: this.#own.settings.limits,
      state: this.#limits,
      telemetry: this.#parts.server,
      clock: this.#settings.clock,
    })
  }

  #find(name: string): Destination | undefined {
    let destination = this.#destinations.get(name)
    if (destination === undefined) {
      this.#assertOpen()
      // From JavaScript anything may come: 5 and null would match as '5' and 'null'.
      if (typeof name !== 'string' || !SERVICE_NAME.test(name) || name === MESH_DOCUMENT) return undefined
      if (this.#destinations.size >= MOST_DESTINATIONS) return undefined
      const { transport, client, events } = this.#parts
      destination = new Destination(name, { clock: this.#settings.clock, telemetry: client, events, transport })
      this.#destinations.set(name, destination)
      this.#watch(name)
    } else if (this.#closing !== undefined && this.#released) this.#assertOpen()
    return destination
  }

  #watch(service: string): void {
    this.#registry?.watch(service, (view) => this.#onView(view))
  }

  #assertOpen(): void {
    if (this.#closing !== undefined) {
      throw new MeshError(`the mesh of ${this.service} was closed`, { code: 'closed', service: this.service })
    }
  }

  #released = false

  async #close(): Promise<void> {
    const { clock, drainNoticeMs, drainTimeoutMs } = this.#settings
    const registry = this.#registry
    this.#parts.events.emit('drain:step', { step: 'leaving', running: this.#running() })
    const until = clock.now() + drainNoticeMs + drainTimeoutMs
    const left = await Promise.all(
      this.#served.map(async ({ instance: { id }, server }) => {
        const seen = Promise.resolve(registry?.drain(id, drainNoticeMs)).then((how) =>
          sleep(clock, how === 'seen' ? ON_THE_WIRE_MS : Math.min(UNSEEN_LAME_DUCK_MS, drainNoticeMs)),
        )
        await server.drain({ lameDuckMs: drainNoticeMs, seen, graceMs: drainTimeoutMs })
        await registry?.deregister(id)
      }),
    )
    void left
    while (this.#running() > 0 && clock.now() < until) await sleep(clock, LOOK_MS)
    await this.#release()
  }

  /** Attempts of our own that run. */
  #running(): number {
    let running = 0
    for (const { cluster } of this.#destinations.values()) {
      for (const endpoint of cluster.endpoints) running += endpoint.pending
    }
    return running
  }

  async #release(): Promise<void> {
    this.#released = true
    this.#registry?.close()
    this.#rotation?.close()
    this.#parts.identity.close()
    for (const destination of this.#destinations.values()) destination.close(0)
    this.#parts.transport.close(0)
    for (const cleanUp of this.#cleanUp.splice(0).reverse()) {
      try {
        await cleanUp()
      } catch {
        // One that cannot be cleaned up must not keep the others.
      }
    }
    await this.#admin?.close()
    const registry = this.#registry
    if (registry !== undefined) await this.#lastGood?.close(() => registry.known)
  }

  #adminPages() {
    return {
      metrics: () => this.metrics(),
      config: () => ({
        service: this.service,
        stale: this.stale,
        registry: this.#settings.registry,
        connected: this.#registry?.connected === true,
        own: this.#own,
        services: Object.fromEntries(
          [...this.#destinations.values()].map(({ service, settings, view }) => [
            service,
            { revision: view?.revision, stale: view?.stale, frozen: view?.frozen, settings },
          ]),
        ),
      }),
      endpoints: () =>
        Object.fromEntries(
          [...this.#destinations.values()].map(({ service, cluster }) => [
            service,
            cluster.endpoints.map((endpoint) => ({
              id: endpoint.id,
              address: endpoint.label,
              zone: endpoint.zone,
              version: endpoint.version,
              weight: endpoint.weight,
              state: endpoint.state,
              draining: cluster.isDraining(endpoint),
              inFlight: endpoint.pending,
              estimateMs: Math.round(endpoint.estimateMs * 1000) / 1000,
            })),
          ]),
        ),
      events: () => this.events(),
      health: () => ({ ok: this.#parts.identity.present, stale: this.stale }),
    }
  }
}

function wrongServiceName(service: unknown): OptionsError {
  const expected = "expected a service name: 1 to 63 lower-case letters, digits and '-'; 'mesh' is reserved"
  return new OptionsError('mesh.http', [{ path: ['service'], message: `${expected}, got ${show(service)}` }])
}
