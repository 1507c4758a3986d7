/**
 * The state of one route: its own circuit, throttle, hedge and budget for the keys that it writes,
 * and for all others the state of a service.
 */
import { isDeepStrictEqual } from 'node:util'
import type { Clock } from '../../core/clock.ts'
import { RouteEjection } from '../../resilience/route-ejection.ts'
import { type ServiceListeners, ServiceState } from '../../resilience/service-state.ts'
import type { ServiceSettings } from '../../resilience/settings.ts'
import type { StackState } from '../../resilience/stack.ts'
import type { RouteSettings } from '../../routing/settings.ts'
import type { EndpointOwner } from './endpoint-owner.ts'

/** The keys with state. */
const KEPT = ['circuitBreaker', 'throttle', 'hedge', 'retry'] as const

export class RouteState {
  readonly #make: () => ServiceState
  /** `undefined` while the route writes none of these keys. */
  #own: ServiceState | undefined
  #ownBudget = false

  /** `name`: of its circuit. */
  constructor(name: string, clock: Clock, listeners: ServiceListeners) {
    this.#make = () => new ServiceState(name, clock, listeners)
  }

  /** `undefined` if the route shares the service's. */
  get circuit(): ServiceState['circuit'] {
    return this.#own?.circuit
  }

  /** `undefined` if the route shares the service's. */
  get throttle(): ServiceState['throttle'] {
    return this.#own?.throttle
  }

  /** The retries that its budget pays for; `undefined` if the route shares the service's. */
  get balance(): number | undefined {
    return this.#ownBudget ? this.#own?.budget.balance : undefined
  }

  /** What stays on keeps what it knows. `called`: the settings of the service. */
  configure({ policy, own }: RouteSettings, called: ServiceSettings): void {
    if (KEPT.some((key) => own.has(key))) this.#own ??= this.#make()
    // Each route with a budget may add its least rate of retries, so only one that asks has one.
    this.#ownBudget = own.has('retry') && !isDeepStrictEqual(policy.retry.budget, called.retry.budget)
    this.#own?.configure({
      ...policy,
      circuitBreaker: own.has('circuitBreaker') ? policy.circuitBreaker : undefined,
      throttle: own.has('throttle') ? policy.throttle : undefined,
      hedge: own.has('hedge') ? policy.hedge : undefined,
    })
  }

  /**
   * For a target of the route. The owner of its endpoints guards them; the called service guards
   * the call.
   */
  over(owner: EndpointOwner, called: EndpointOwner, { policy, own }: RouteSettings): StackState {
    const { circuit, throttle, ejection, typicalLatency } = owner.state
    const mine = this.#own
    return {
      circuit: own.has('circuitBreaker') ? mine?.circuit : circuit,
      throttle: own.has('throttle') ? mine?.throttle : throttle,
      ejection:
        own.has('ejection') && policy.ejection !== undefined ? new RouteEjection(ejection, policy.ejection) : ejection,
      hedge: own.has('hedge') ? mine?.hedge : called.state.hedge,
      budget: this.#ownBudget ? mine!.budget : called.state.budget,
      unpaidRetry: mine?.unpaidRetry ?? called.state.unpaidRetry,
      typicalLatency,
    }
  }

  close(): void {
    this.#own?.close()
  }
}
