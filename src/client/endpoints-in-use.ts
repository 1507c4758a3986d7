/**
 * The endpoints of one service that this process uses: those of the service's own picker, and
 * those that targets of routes use besides, if each client uses only a part.
 */
import type { Endpoint } from '../core/endpoint.ts'
import type { EjectionPolicy } from '../resilience/ejection.ts'
import type { HealthChecks } from './health-checks.ts'

const NONE: readonly Endpoint[] = Object.freeze([])

export class EndpointsInUse {
  readonly #ejection: EjectionPolicy
  readonly #checks: HealthChecks
  #own = NONE
  readonly #byTarget = new Map<object, readonly Endpoint[]>()

  constructor(ejection: EjectionPolicy, checks: HealthChecks) {
    this.#ejection = ejection
    this.#checks = checks
  }

  /** After each publication of the cluster, and each pick that changed them. */
  use(own: readonly Endpoint[]): void {
    this.#own = own
    this.#ejection.watch(own)
    this.#check()
  }

  /** `target`: whose picker uses them; empty: it uses none any more. */
  useFor(target: object, inUse: readonly Endpoint[]): void {
    if (inUse.length > 0) this.#byTarget.set(target, inUse)
    else if (!this.#byTarget.delete(target)) return
    this.#check()
  }

  #check(): void {
    const others = this.#byTarget
    this.#checks.update(others.size === 0 ? this.#own : [...new Set([...this.#own, ...[...others.values()].flat()])])
  }
}
