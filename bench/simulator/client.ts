/** The simulated client of one service, with real policies and endpoints. */
import { type BalancerParts, createBalancer, keyOf } from '../../src/client/balancing/balancer.ts'
import type { Call, CallKind } from '../../src/core/call.ts'
import type { Clock } from '../../src/core/clock.ts'
import type { EndpointAddress } from '../../src/core/endpoint.ts'
import type { Outcome } from '../../src/core/outcome.ts'
import type { Balancer } from '../../src/core/picker.ts'
import type { Policy } from '../../src/core/policy.ts'
import { SILENT, type Telemetry } from '../../src/core/telemetry.ts'
import { ServiceCluster } from '../../src/discovery/cluster.ts'
import { type ServiceListeners, ServiceState } from '../../src/resilience/service-state.ts'
import { SERVICE, type ServiceOptions, type ServiceSettings } from '../../src/resilience/settings.ts'
import { compileStack, type Stack } from '../../src/resilience/stack.ts'
import { type Door, type Instances, sendCall } from '../../src/simulator/call.ts'

/** A balancer made by the simulator, to compare with. */
export type BalancerMaker = (clock: Clock) => Balancer & Policy

export interface ClientParts {
  readonly clock: Clock
  readonly options?: ServiceOptions
  readonly balancer?: BalancerMaker
  readonly telemetry?: Telemetry
  readonly idempotent?: boolean
  /** Whether its calls are streams. @defaultValue `false` */
  readonly streaming?: boolean
  readonly listeners?: ServiceListeners
  /** Given each compiled stack, to stand in it. */
  readonly compiled?: (stack: Stack, settings: ServiceSettings) => Stack
}

export class SimulatedClient implements Door {
  readonly clock: Clock
  readonly state: ServiceState
  readonly cluster: ServiceCluster
  readonly kind: CallKind
  stack: Stack
  instances: Instances = new Map()
  readonly #parts: ClientParts
  readonly #made = new Map<string, BalancerParts>()
  #settings: ServiceSettings

  constructor(parts: ClientParts) {
    const { clock } = parts
    this.clock = clock
    this.#parts = parts
    this.#settings = SERVICE.resolve(parts.options)
    this.state = new ServiceState('simulated', clock, parts.listeners)
    this.cluster = new ServiceCluster(
      'simulated',
      () => this.#balancer().balancer,
      clock,
      (inUse) => this.state.ejection.watch(inUse),
    )
    this.stack = this.#compile()
    this.kind = Object.freeze({
      service: 'simulated',
      method: 'GET',
      protocol: 'http',
      streaming: parts.streaming ?? false,
      idempotent: parts.idempotent ?? true,
    })
  }

  /** The options as they are from now on; what was learned stays. */
  configure(options: ServiceOptions): void {
    this.#settings = SERVICE.resolve(options)
    this.stack = this.#compile()
    this.cluster.rebalance()
  }

  /** Replaces the instances, as discovery does. */
  use(instances: Instances, intended = true): void {
    this.instances = instances
    this.cluster.apply(
      [...instances.keys()].map((id) => ({ ...addressOf(id), service: 'simulated', state: 'ready' as const })),
      { intended },
    )
  }

  /** Sends one call; `done` is called once with its outcome. */
  send(done: (call: Call, ended: Outcome) => void, parent?: Call, timeoutMs = this.stack.timeoutMs): Call {
    return sendCall(this, timeoutMs, done, parent)
  }

  #balancer(): BalancerParts {
    const key = keyOf(this.#settings)
    let parts = this.#made.get(key)
    if (parts === undefined) {
      const own = this.#parts.balancer?.(this.clock)
      parts =
        own === undefined
          ? createBalancer(this.#settings.balancer, this.clock, this.state.ejection, this.#settings.reportedWeights)
          : { balancer: own, policy: own }
      this.#made.set(key, parts)
    }
    return parts
  }

  #compile(): Stack {
    this.state.configure(this.#settings)
    const stack = compileStack({
      settings: this.#settings,
      state: this.state,
      cluster: this.cluster,
      balancer: this.#balancer().policy,
      telemetry: this.#parts.telemetry ?? SILENT,
      clock: this.clock,
    })
    return this.#parts.compiled?.(stack, this.#settings) ?? stack
  }

  close(): void {
    this.cluster.close(0)
    this.state.close()
  }
}

function addressOf(id: string): EndpointAddress {
  return {
    id,
    address: id,
    port: 8080,
    protocol: 'http',
    tls: true,
    zone: undefined,
    version: undefined,
    weight: 1,
    metadata: {},
  }
}
