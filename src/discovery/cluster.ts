/**
 * The live endpoints of one service. Reconciles each list of instances with what it has, keeping the endpoint objects that survive
 * (and with them connections and estimates), and does not believe at once that everything is gone: an empty or
 * halved answer is more often a broken registry than a broken service (Finagle's Stabilizer, Envoy's panic threshold).
 */
import type { Clock, Timer } from '../core/clock.ts'
import { type Balancer, type Cluster, Endpoint, type Picker } from '../core/endpoint.ts'
import type { Instance } from './wire.ts'

/** How long a vanished endpoint is kept when too many vanished at once. */
const LIMBO_MS = 30_000
/** Losing more than this share in one step, without the registry saying that it is meant, is doubted. */
const DOUBTED_SHARE = 0.5
/** What runs on a withdrawn endpoint's connections may take this long to end. */
const WITHDRAWN_GRACE_MS = 30_000

const NONE: Picker = Object.freeze({ pick: () => undefined })

export class ServiceCluster implements Cluster {
  readonly service: string
  picker: Picker = NONE
  endpoints: readonly Endpoint[] = []
  /** How long a new endpoint warms up; 0 = not at all. In force with the next change or {@link rebalance}. */
  slowStartMs = 0

  readonly #clock: Clock
  readonly #balancer: () => Balancer
  readonly #byId = new Map<string, Endpoint>()
  #draining = new Set<Endpoint>()
  #limbo = new Set<Endpoint>()
  #limboTimer: Timer | undefined
  #waiters = new Set<(available: boolean) => void>()

  /** `balancer` is asked at each change, so that a new configuration may bring another. */
  constructor(service: string, balancer: () => Balancer, clock: Clock) {
    this.service = service
    this.#balancer = balancer
    this.#clock = clock
  }

  /** Endpoints kept although the registry no longer lists them. */
  get inLimbo(): number {
    return this.#limbo.size
  }

  isDraining(endpoint: Endpoint): boolean {
    return this.#draining.has(endpoint)
  }

  /** Takes over a list whole. `intended`: what is missing left on purpose. */
  apply(instances: readonly Instance[], intended: boolean): void {
    const listed = new Set<string>()
    const draining = new Set<Endpoint>()
    for (const instance of instances) {
      listed.add(instance.id)
      const known = this.#byId.get(instance.id)
      let endpoint = known
      if (endpoint === undefined || !isSame(endpoint, instance)) {
        endpoint = new Endpoint(this.service, instance)
        // Those found at the start have run for unknown times, and there is nobody to take their share.
        if (this.endpoints.length > 0) endpoint.discoveredAt = this.#clock.now()
        if (known !== undefined) this.#withdraw(known)
        this.#byId.set(instance.id, endpoint)
      }
      endpoint.weight = instance.weight
      this.#limbo.delete(endpoint)
      if (instance.state === 'draining') draining.add(endpoint)
    }
    const missing = [...this.#byId.values()].filter((endpoint) => !listed.has(endpoint.id))
    const doubted = !intended && missing.length > 0 && missing.length > this.#byId.size * DOUBTED_SHARE
    for (const endpoint of missing) {
      if (doubted) this.#limbo.add(endpoint)
      else if (intended || !this.#limbo.has(endpoint)) this.#remove(endpoint)
    }
    if (this.#limbo.size > 0) this.#limboTimer ??= this.#startLimbo()
    this.#draining = draining
    this.#publish()
  }

  /** A new configuration may have brought another balancer. */
  rebalance(): void {
    this.#publish()
  }

  whenAvailable(ms: number, listener: (available: boolean) => void): () => void {
    const finish = (available: boolean): void => {
      if (!this.#waiters.delete(finish)) return
      this.#clock.stopTimer(timer)
      listener(available)
    }
    const timer = this.#clock.startTimer(ms, () => finish(this.endpoints.length > 0), undefined)
    this.#waiters.add(finish)
    return () => {
      this.#waiters.delete(finish)
      this.#clock.stopTimer(timer)
    }
  }

  /** Withdraws everything; whoever still waits is told that there is nothing. */
  close(graceMs: number): void {
    if (this.#limboTimer !== undefined) this.#clock.stopTimer(this.#limboTimer)
    this.#limboTimer = undefined
    for (const endpoint of this.#byId.values()) {
      endpoint.withdrawn = true
      endpoint.transport?.close(graceMs)
    }
    this.#byId.clear()
    this.#limbo.clear()
    this.endpoints = []
    this.picker = NONE
    for (const waiter of [...this.#waiters]) waiter(false)
  }

  #startLimbo(): Timer {
    return this.#clock.startBackgroundTimer(LIMBO_MS, () => this.#endLimbo(), undefined)
  }

  /** After the wait, what still answers stays: only a vanished endpoint that also fails, or that others can replace, goes. */
  #endLimbo(): void {
    this.#limboTimer = undefined
    const others = this.#byId.size - this.#limbo.size
    for (const endpoint of [...this.#limbo]) {
      if (others > 0 || endpoint.state !== 'healthy') this.#remove(endpoint)
    }
    if (this.#limbo.size > 0) this.#limboTimer = this.#startLimbo()
    this.#publish()
  }

  #remove(endpoint: Endpoint): void {
    this.#byId.delete(endpoint.id)
    this.#withdraw(endpoint)
  }

  #withdraw(endpoint: Endpoint): void {
    this.#limbo.delete(endpoint)
    endpoint.withdrawn = true
    endpoint.transport?.close(WITHDRAWN_GRACE_MS)
  }

  #publish(): void {
    const all = [...this.#byId.values()]
    const ready = all.filter((endpoint) => !this.#draining.has(endpoint))
    this.endpoints = Object.freeze(ready.length > 0 ? ready : all)
    for (const endpoint of all) {
      endpoint.warmAt = endpoint.discoveredAt === 0 ? 0 : endpoint.discoveredAt + this.slowStartMs
    }
    this.picker = this.endpoints.length === 0 ? NONE : this.#balancer().picker(this.endpoints)
    if (this.endpoints.length > 0) for (const waiter of [...this.#waiters]) waiter(true)
  }
}

function isSame(endpoint: Endpoint, instance: Instance): boolean {
  return (
    endpoint.address === instance.address &&
    endpoint.port === instance.port &&
    endpoint.protocol === instance.protocol &&
    endpoint.tls === instance.tls &&
    endpoint.zone === instance.zone &&
    endpoint.version === instance.version
  )
}
