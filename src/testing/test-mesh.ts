/**
 * A whole mesh inside a test: an in-memory registry and any number of members, on real sockets with
 * real certificates. Heavy modules are loaded on first use.
 */
import { sleep, systemClock } from '../core/clock.ts'
import { MeshError } from '../core/errors.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { MeshServer } from '../mesh/mesh-server.ts'
import type { MeshOptions } from '../mesh/options.ts'
import type { ListenOptions, ServeOptions } from '../mesh/serve-options.ts'
import { check, fields, instance, OptionsError, optional, show } from '../options/fields.ts'
import type { PolicyChange } from '../registry/policy-change.ts'
import type { Registry } from '../registry/running-registry.ts'
import type { HttpHandler } from '../server/http/application.ts'
import type { TcpHandler } from '../server/tcp/call.ts'
import type { EventName, EventSink, MeshEvents } from '../telemetry/events.ts'
import { Faults } from './faults.ts'

/** How to start a mesh for a test. */
export interface TestMeshOptions {
  /**
   * Policy documents in force from the start, as {@link TestMesh.apply} takes them. @defaultValue
   * none
   */
  readonly policies?: readonly unknown[] | string
}

/** An application that calls the mesh it is served in, made once its member has joined. */
export interface TestApplication {
  readonly app: (mesh: Mesh) => HttpHandler | PromiseLike<HttpHandler>
}

/**
 * How a member joins, as for `joinMesh`. Nothing is read from the environment, nothing is kept on
 * disk, and `SIGTERM` stays the test runner's. Draining is quick: `drainNotice` 500 ms,
 * `drainTimeout` 2 s; `joinTimeout` is 15 s, for busy machines.
 */
export type TestMemberOptions = Omit<
  MeshOptions,
  | 'service'
  | 'registry'
  | 'joinToken'
  | 'stateDir'
  | 'startWithout'
  | 'startWithoutRegistry'
  | 'handleSignals'
  | 'clock'
>

/** How an instance is served in a test. */
export interface TestServeOptions {
  /** The switch for its faults; several instances may share one. @defaultValue a new one */
  readonly faults?: Faults
  /** How it joins, such as its `version` or `zone`. @defaultValue as `joinMesh` does */
  readonly member?: TestMemberOptions
  /** How it serves, as for `mesh.serve`. @defaultValue its defaults */
  readonly server?: ServeOptions
}

/** How TCP connections are served in a test. */
export interface TestListenOptions {
  /** How it joins, such as its `version` or `zone`. @defaultValue as `joinMesh` does */
  readonly member?: TestMemberOptions
}

/** One instance of a service that serves TCP in the test; made by {@link TestMesh.listen}. */
export type TestListener = Omit<TestInstance, 'faults'>

/** One instance of a service that runs in the test; made by {@link TestMesh.serve}. */
export interface TestInstance {
  readonly mesh: Mesh
  readonly server: MeshServer
  /** No fault is set at first. */
  readonly faults: Faults
  /** Drains and leaves the mesh, as a process does on SIGTERM. */
  close(): Promise<void>
}

/** Observes a member's events. */
class MemberEvents implements EventSink {
  readonly #events: EventSink
  readonly #revisions = new Map<string, number>()
  /** The member has begun to leave. */
  leaving = false

  constructor(events: EventSink) {
    this.#events = events
  }

  /** True also for services that this member does not call. */
  hasNewer(subject: string, revision: number): boolean {
    return (this.#revisions.get(subject) ?? Number.POSITIVE_INFINITY) > revision
  }

  emit<K extends EventName>(name: K, payload: MeshEvents[K]): void {
    if (name === 'drain:step') this.leaving = true
    if (name === 'snapshot:applied') {
      const { subject, revision } = payload as MeshEvents['snapshot:applied']
      this.#revisions.set(subject, revision)
    }
    this.#events.emit(name, payload)
  }
}

interface Member {
  readonly mesh: Mesh
  readonly events: MemberEvents
}

/** Members apply a change within milliseconds, but the machine may be busy. */
const IN_FORCE_BOUND_MS = 10_000
const LOOK_MS = 2

const OPTIONS = fields({
  policies: optional(
    instance<readonly unknown[] | string>(
      'a list of policy documents, or their text',
      (value) => Array.isArray(value) || typeof value === 'string',
    ),
  ),
})

/**
 * Starts a mesh for a test. Its registry runs in development mode: joining needs no token, and
 * every service may call every other until a document says otherwise (`{ service: 'mesh',
 * defaultIntention: 'deny' }`).
 *
 * @throws OptionsError naming each wrong field
 * @throws ApiError `invalid-policy` with an issue for every mistake in a document
 * @example
 * ```ts
 * test('checkout survives an inventory that fails now and then', async () => {
 *   const testMesh = await startTestMesh()
 *   try {
 *     const inventory = await testMesh.serve('inventory', (req, res) => res.end('7 left'))
 *     const checkout = await testMesh.join('checkout')
 *
 *     inventory.faults.set({ status: 503, times: 2 })
 *     const response = await checkout.fetch('http://inventory/items/42')
 *
 *     assert.equal(await response.text(), '7 left')
 *     assert.equal(inventory.faults.requests, 3)
 *   } finally {
 *     await testMesh.close()
 *   }
 * })
 * ```
 */
export async function startTestMesh(options: TestMeshOptions = {}): Promise<TestMesh> {
  const { policies = [] } = check(OPTIONS, options, 'startTestMesh')
  const { startRegistry } = await import('../registry/registry.ts')
  // A test may start more members per second than a registry admits in production.
  const rates = { joinsPerSecond: 10_000, signingsPerSecond: 10_000 }
  const registry = await startRegistry({ port: 0, memory: true, dev: true, log: false, ...rates })
  const testMesh = new TestMesh(registry)
  try {
    await testMesh.apply(policies)
  } catch (error) {
    await testMesh.close()
    throw error
  }
  return testMesh
}

/** A mesh for a test; made by {@link startTestMesh}. */
export class TestMesh {
  /**
   * The registry: give its `url` to code that joins by itself, or close it to test the application
   * without.
   */
  readonly registry: Registry
  readonly #members = new Set<Member>()
  readonly #joining = new Set<Promise<unknown>>()
  #closing: Promise<void> | undefined

  /** @internal */
  constructor(registry: Registry) {
    this.registry = registry
  }

  /**
   * Joins a member, which stands for one more process of the mesh.
   *
   * @throws OptionsError naming each wrong option
   * @throws MeshError `closed` after {@link TestMesh.close}; otherwise as `joinMesh`
   */
  join(service: string, options: TestMemberOptions = {}): Promise<Mesh> {
    const joining = this.#join(service, options)
    this.#joining.add(joining)
    const joined = (): unknown => this.#joining.delete(joining)
    void joining.then(joined, joined)
    return joining
  }

  /**
   * Starts one more instance of `service`, with a switch for faults before its handler. Resolves
   * when all members that call the service know of it. An application that calls the mesh itself is
   * given as `{ app: (mesh) => … }`.
   *
   * @throws as {@link TestMesh.join} and `mesh.serve` do
   * @example
   * ```ts
   * await testMesh.serve('inventory', (request, response) => response.end('7 left'))
   * await testMesh.serve('checkout', { app: (mesh) => createApp(mesh) })
   * ```
   */
  async serve(
    service: string,
    handler: HttpHandler | TestApplication,
    options: TestServeOptions = {},
  ): Promise<TestInstance> {
    const { faults = new Faults(), member, server: serveOptions } = options
    const { Application } = await import('../server/http/application.ts')
    const { applicationOf } = await import('../server/http/handler.ts')
    const given = isTestApplication(handler) ? undefined : await applicationOf(handler)
    const mesh = await this.join(service, member)
    try {
      const { listener, events } = given ?? (await applicationOf(await (handler as TestApplication).app(mesh)))
      const before = this.registry.revision
      const server = await mesh.serve(new Application(faults.before(listener), events) as never, serveOptions)
      await this.#inForce([service], before)
      return { mesh, server, faults, close: () => mesh.close() }
    } catch (error) {
      await mesh.close()
      throw error
    }
  }

  /**
   * Starts one more instance of `service` that serves TCP, as `mesh.listen` does: a handler, or
   * options with a target. Resolves when all members that call the service know of it.
   *
   * @throws as {@link TestMesh.join} and `mesh.listen` do
   */
  async listen(
    service: string,
    serving: TcpHandler | ListenOptions,
    options: TestListenOptions = {},
  ): Promise<TestListener> {
    const mesh = await this.join(service, options.member)
    try {
      const before = this.registry.revision
      const server = await mesh.listen(service, serving as TcpHandler)
      await this.#inForce([service], before)
      return { mesh, server, close: () => mesh.close() }
    } catch (error) {
      await mesh.close()
      throw error
    }
  }

  /**
   * Applies policy documents and Gateway API manifests atomically, as `inmesh apply` does: a list,
   * or the text of a file of them (YAML or JSON). Resolves when they are in force in every member
   * concerned.
   *
   * @throws OptionsError naming the line of every mistake in a text
   * @throws ApiError `invalid-policy` with an issue for every mistake
   * @throws MeshError `registry-unavailable` if a member has not taken them within 10 s
   * @throws StorageError after {@link TestMesh.close}
   */
  async apply(policies: readonly unknown[] | string): Promise<readonly PolicyChange[]> {
    const documents = typeof policies === 'string' ? await documentsIn(policies) : policies
    if (!Array.isArray(documents)) {
      const message = `expected a list of policy documents, or their text, got ${show(documents)}`
      throw new OptionsError('apply', [{ path: [], message }])
    }
    if (documents.length === 0) return []
    const before = this.registry.revision
    const changes = await this.registry.applyPolicies(documents)
    const changed = changes
      .filter(({ change }) => change !== 'unchanged')
      .flatMap(({ service, attached = [service] }) => attached)
    await this.#inForce(changed, before)
    return changes
  }

  /** Closes all members, then the registry. Idempotent; never rejects. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #join(service: string, options: TestMemberOptions): Promise<Mesh> {
    this.#assertOpen(service)
    const [{ resolveMeshOptions }, { Mesh }, { createMeshContext }] = await Promise.all([
      import('../mesh/resolve-options.ts'),
      import('../mesh/mesh.ts'),
      import('../mesh/context.ts'),
    ])
    const settings = resolveMeshOptions(
      {
        drainNotice: 500,
        drainTimeout: 2_000,
        joinTimeout: 15_000,
        ...options,
        service,
        registry: this.registry.url,
        stateDir: 'memory',
        handleSignals: false,
      },
      {},
    )
    const shared = await createMeshContext(settings)
    const events = new MemberEvents(shared.events)
    const mesh = new Mesh({ ...shared, events })
    await mesh.start(settings.clock.now() + settings.joinTimeoutMs, settings.clock)
    if (this.#closing !== undefined) {
      await mesh.close()
      this.#assertOpen(service)
    }
    this.#members.add({ mesh, events })
    return mesh
  }

  /**
   * Waits until every open member that knows one of `subjects` has applied a later revision than
   * `before`.
   */
  async #inForce(subjects: readonly string[], before: number): Promise<void> {
    const untilAt = systemClock.now() + IN_FORCE_BOUND_MS
    const lacking = (): Member | undefined =>
      [...this.#members].find(
        ({ events }) => !events.leaving && !subjects.every((subject) => events.hasNewer(subject, before)),
      )
    for (let late = lacking(); late !== undefined; late = lacking()) {
      if (systemClock.now() >= untilAt) {
        const { service } = late.mesh
        const message = `a change of ${subjects.join(', ')} did not reach ${service} within ${IN_FORCE_BOUND_MS} ms`
        throw new MeshError(message, { code: 'registry-unavailable', service })
      }
      await sleep(systemClock, LOOK_MS)
    }
  }

  async #close(): Promise<void> {
    await Promise.allSettled(this.#joining)
    await Promise.allSettled([...this.#members].map(({ mesh }) => mesh.close()))
    await this.registry.close()
  }

  #assertOpen(service: string): void {
    if (this.#closing !== undefined) throw new MeshError('the test mesh was closed', { code: 'closed', service })
  }
}

function isTestApplication(handler: HttpHandler | TestApplication): handler is TestApplication {
  if (typeof handler !== 'object' || handler === null) return false
  const { app, handle, routing } = handler as Partial<Record<'app' | 'handle' | 'routing', unknown>>
  return typeof app === 'function' && handle === undefined && routing === undefined
}

/** @throws OptionsError naming the line of every mistake */
async function documentsIn(text: string): Promise<readonly unknown[]> {
  const [{ parsePolicyFile }, { Failure }] = await Promise.all([
    import('../cli/policy-file.ts'),
    import('../cli/failure.ts'),
  ])
  try {
    return parsePolicyFile(text, 'policies').documents
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    const issues = error.issues.map(({ line, path, message }) => ({
      path: [],
      message: `line ${line}: ${path === '' ? '' : `${path}: `}${message}`,
    }))
    throw new OptionsError('apply', issues.length > 0 ? issues : [{ path: [], message: error.message }])
  }
}
