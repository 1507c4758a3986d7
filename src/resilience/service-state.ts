/**
 * What is known of one service and must survive a new configuration: breaker, budget, ejections.
 * Kept by the service's name; stacks come and go around it.
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

/** Told of each change of state, on the hot path: must not throw. */
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
    if (settings.throttle === undefined) this.#throttle = undefined
    else if (this.#throttle === undefined) {
      const { onThrottle } = this.#listeners
      this.#throttle = new ClientThrottle(this.service, settings.throttle, this.#clock, onThrottle)
    } else this.#throttle.configure(settings.throttle)
    if (settings.hedge === undefined) this.#hedge = undefined
    else if (this.#hedge === undefined) {
      this.#hedge = new HedgePolicy(this.service, settings.hedge, this.#clock, this.#listeners.onHedge)
    } else this.#hedge.configure(settings.hedge)
    if (settings.circuitBreaker === undefined) {
      this.#circuit?.close()
      this.#circuit = undefined
    } else if (this.#circuit === undefined) {
      this.#circuit = new CircuitBreakerPolicy(
        this.service,
        settings.circuitBreaker,
        this.#clock,
        this.#listeners.onCircuit,
      )
    } else this.#circuit.configure(settings.circuitBreaker)
  }

  close(): void {
    this.#circuit?.close()
    this.#circuit = undefined
  }
}
