/**
 * The health of a part of a service's endpoints, as the picker over that part needs it. It reads
 * what the service's ejection knows and looks again only after a change.
 */
import type { Call } from '../core/call.ts'
import type { Clock } from '../core/clock.ts'
import { type Endpoint, withWeight } from '../core/endpoint.ts'
import { type ClusterHealth, isPanic } from './cluster-health.ts'
import type { EjectionPolicy } from './ejection.ts'
import type { EjectionSettings } from './ejection-settings.ts'

const NONE: readonly Endpoint[] = Object.freeze([])

export class HealthView implements ClusterHealth {
  readonly #ejection: EjectionPolicy
  readonly #clock: Clock
  readonly #own: EjectionSettings | undefined
  /** In use, and taking calls. */
  #endpoints: readonly Endpoint[] = NONE
  /** Made when an endpoint of the service is out. */
  #members: ReadonlySet<Endpoint> | undefined
  /** The changes of the ejection that are looked at. */
  #seen = -1
  #out: readonly Endpoint[] = NONE
  #unreachable = 0
  #nextDueAt = Number.POSITIVE_INFINITY

  /** `own`: the settings of a route that writes them. */
  constructor(ejection: EjectionPolicy, clock: Clock, own?: EjectionSettings) {
    this.#ejection = ejection
    this.#clock = clock
    this.#own = own
  }

  get ejected(): number {
    this.#look()
    return this.#out.length
  }

  get panicking(): boolean {
    this.#look()
    if (this.#out.length === 0) return false
    const { maxShare } = this.#own ?? this.#ejection.settings
    return isPanic(this.#endpoints.length, this.#out.length, this.#unreachable, maxShare)
  }

  /** The endpoints in use, as they are now. */
  watch(endpoints: readonly Endpoint[]): void {
    this.#endpoints = withWeight(endpoints)
    this.#members = undefined
    this.#seen = -1
  }

  due(call: Call): Endpoint | undefined {
    this.#look()
    if (this.#nextDueAt === Number.POSITIVE_INFINITY || call.tried !== undefined) return undefined
    const now = this.#clock.now()
    if (now < this.#nextDueAt) return undefined
    return this.#ejection.firstDue(this.#out, call, now)
  }

  #look(): void {
    const { changes, unhealthy } = this.#ejection
    if (changes === this.#seen) return
    this.#seen = changes
    this.#out = NONE
    this.#unreachable = 0
    this.#nextDueAt = Number.POSITIVE_INFINITY
    if (unhealthy.size === 0) return
    this.#members ??= new Set(this.#endpoints)
    const out: Endpoint[] = []
    for (const endpoint of unhealthy) {
      if (!this.#members.has(endpoint)) continue
      out.push(endpoint)
      if (endpoint.unreachable) this.#unreachable += 1
      this.#nextDueAt = Math.min(this.#nextDueAt, this.#ejection.dueAt(endpoint))
    }
    this.#out = out
  }
}
