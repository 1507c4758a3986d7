/**
 * The simulated caller of services with documents: real destinations, with their routes, targets
 * and failover levels, over made-up discovery and transport.
 */
import { Destination } from '../../src/client/destination.ts'
import { DoubtedEndpoints } from '../../src/client/doubted-endpoints.ts'
import type { Transport } from '../../src/client/transport.ts'
import type { Call } from '../../src/core/call.ts'
import type { Outcome } from '../../src/core/outcome.ts'
import type { RequestHead } from '../../src/core/request-head.ts'
import { SILENT } from '../../src/core/telemetry.ts'
import type { Instance } from '../../src/discovery/instance.ts'
import { type PolicyDocument, resolvePolicy } from '../../src/discovery/policy-document.ts'
import { NONE_LEFT } from '../../src/discovery/resolver.ts'
import { OverrideProofs } from '../../src/identity/override-proofs.ts'
import type { FakeClock } from '../../src/testing/fake-clock.ts'
import { sendCall } from './call.ts'
import type { SimulatedServer } from './server.ts'

/** An instance as discovery describes it; `undefined`: nothing listens there. */
export interface Placed {
  readonly id: string
  readonly zone?: string
  readonly version?: string
  /** @defaultValue false */
  readonly draining?: boolean
  readonly server: SimulatedServer | undefined
}

const METHODS: ReadonlySet<string> = new Set(['GET'])

export class RoutedClient {
  readonly #clock: FakeClock
  readonly #zone: string | undefined
  readonly #destinations = new Map<string, Destination>()
  readonly #servers = new Map<string, SimulatedServer | undefined>()

  /** `zone`: of this process. */
  constructor(clock: FakeClock, zone?: string) {
    this.#clock = clock
    this.#zone = zone
  }

  /** Puts the document of a service in force, over that of the mesh. */
  configure(document: PolicyDocument, mesh: PolicyDocument | null = null): void {
    this.#of(document.service).configure(resolvePolicy(mesh, document))
  }

  /** Replaces the instances of `service`, as discovery does. */
  use(service: string, placed: readonly Placed[]): void {
    for (const { id, server } of placed) this.#servers.set(id, server)
    const instances = placed.map(
      (each): Instance => ({
        ...{ service, id: each.id, address: each.id, port: 8080, protocol: 'http', tls: true, weight: 1, metadata: {} },
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
  send(service: string, done: (call: Call, ended: Outcome) => void): string {
    const { stack, kind, routed } = this.#of(service).select(headOf({}), false)
    sendCall({ clock: this.#clock, stack, kind, instances: this.#servers }, stack.timeoutMs, done)
    return routed?.target?.key ?? ''
  }

  close(): void {
    for (const destination of this.#destinations.values()) destination.close(0)
  }

  #of(service: string): Destination {
    let known = this.#destinations.get(service)
    if (known === undefined) {
      const clock = this.#clock
      known = new Destination(service, 'http', {
        ...{ clock, telemetry: SILENT, idempotent: METHODS, caller: 'checkout' },
        events: { emit() {} },
        transport: transportOf(clock),
        client: { id: 'client-1', zone: this.#zone },
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

/** Reaches nothing: attempts are simulated. */
function transportOf(clock: FakeClock): Transport {
  return {
    clock,
    closed: false,
    overrides: new OverrideProofs(undefined, undefined, clock),
    connections: 0,
    poolOf() {
      throw new Error('has no connections')
    },
    prefer() {},
    probe: () => () => () => {},
    close() {},
  }
}
