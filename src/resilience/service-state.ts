/**
 * The state of one service that survives a new configuration: breaker, budget, ejections, throttle.
 */
import type { Clock } from '../core/clock.ts'
import { CircuitBreakerPolicy, type CircuitListener } from './circuit-breaker.ts'
import type { EjectionListener } from './cluster-health.ts'
import { EjectionPolicy } from './ejection.ts'
import { EJECTION } from './ejection-settings.ts'
import { type HedgeListener, HedgePolicy } from './hedge.ts'
import { ClientThrottle, type ThrottleListener } from './limits/client-throttle.ts'
import { RETRY_BUDGET, RetryBudget } from './retry-budget.ts'
import type { ServiceSettings } from './settings.ts'
import { TypicalLatency } from './typical-latency.ts'

/** Called on each change of state, on the hot path: must not throw. */
export interface ServiceListeners {
  readonly onCircuit?: CircuitListener | undefined
  readonly onEjection?: EjectionListener | undefined
  readonly onThrottle?: ThrottleListener | undefined
  readonly onHedge?: HedgeListener | undefined
  /** A retry was worth it, and the budget did not pay for it. */
  readonly onUnpaidRetry?: ((service: string) => void) | undefined
}

export class ServiceState {
  readonly service: string
  readonly budget: RetryBudget
  /**
   * Also the balancer's `ClusterHealth`. It exists even if ejection is off: then it ejects nothing.
   */
  readonly ejection: EjectionPolicy
  readonly typicalLatency = new TypicalLatency()
  readonly #clock: Clock
  readonly #listeners: ServiceListeners
  #circuit: CircuitBreakerPolicy | undefined
  #hedge: HedgePolicy | undefined
  #throttle: ClientThrottle | undefined

  /** For the retry policy of each stack. */
  readonly unpaidRetry: () => void

  constructor(service: string, clock: Clock, listeners: ServiceListeners = {}) {
    this.service = service
    this.#clock = clock
    this.#listeners = listeners
    this.unpaidRetry = () => listeners.onUnpaidRetry?.(service)
    this.budget = new RetryBudget(RETRY_BUDGET.defaults, clock)
    this.ejection = new EjectionPolicy(EJECTION.defaults, clock, listeners.onEjection)
  }

  /** `undefined` if the service has none. */
  get circuit(): CircuitBreakerPolicy | undefined {
    return this.#circuit
  }

  /** `undefined` if calls are not hedged. */
  get hedge(): HedgePolicy | undefined {
    return this.#hedge
  }

  /** `undefined` if nothing is ever held back. */
  get throttle(): ClientThrottle | undefined {
    return this.#throttle
  }

  /**
   * Called before a stack of these settings is in force. What is switched off forgets; all else
   * keeps what it knows.
   */
  configure(settings: ServiceSettings): void {
    this.budget.configure(settings.retry.budget)
    if (settings.ejection === undefined) this.ejection.release()
    else this.ejection.configure(settings.ejection)
    const { onThrottle, onHedge, onCircuit } = this.#listeners
    const { throttle, hedge, circuitBreaker } = settings
    this.#throttle = configured(
      this.#throttle,
      throttle,
      (first) => new ClientThrottle(this.service, first, this.#clock, onThrottle),
    )
    this.#hedge = configured(this.#hedge, hedge, (first) => new HedgePolicy(this.service, first, this.#clock, onHedge))
    if (circuitBreaker === undefined) this.#circuit?.close()
    this.#circuit = configured(
      this.#circuit,
      circuitBreaker,
      (first) => new CircuitBreakerPolicy(this.service, first, this.#clock, onCircuit),
    )
  }

  close(): void {
    this.#circuit?.close()
    this.#circuit = undefined
  }
}

/** The policy with its new settings: the same object while it stays on. */
function configured<S, P extends { configure(settings: S): void }>(
  policy: P | undefined,
  settings: S | undefined,
  create: (settings: S) => P,
): P | undefined {
  if (settings === undefined) return undefined
  if (policy === undefined) return create(settings)
  policy.configure(settings)
  return policy
}
