/**
 * The live endpoints of one service, reconciled with each list of instances. It doubts a list that
 * lost most of them: the source is broken more often than the service (Finagle's Stabilizer).
 */
import type { Clock, Timer } from '../core/clock.ts'
import { addressKey, Endpoint } from '../core/endpoint.ts'
import type { Balancer, Cluster, Picker } from '../core/picker.ts'
import type { Instance } from './instance.ts'
import { ListedInstances } from './listed-instances.ts'

/** How long a vanished endpoint is kept when too many vanished at once. */
const LIMBO_MS = 30_000
/** A list that loses more than this share, without its source calling that intended, is doubted. */
const DOUBTED_SHARE = 0.5
/** How long calls in flight on a withdrawn endpoint may take to end. */
const WITHDRAWN_GRACE_MS = 30_000

const NONE: Picker = Object.freeze({ pick: () => undefined })

/** What the source says about the instances that a list lacks. */
export interface ListNews {
  /** All of them left on purpose. */
  readonly intended?: boolean
  /** The ids of those that did. */
  readonly left?: ReadonlySet<string>
  /** The source may not know yet what this list lacks. */
  readonly doubted?: boolean
  /** The list is from the last run, and a live one that is not empty replaces it. */
  readonly stale?: boolean
  /** Why there is none in the list. */
  readonly absence?: string | undefined
}

export class ServiceCluster implements Cluster {
  readonly service: string
  picker: Picker = NONE
  endpoints: readonly Endpoint[] = []
  /** With those that drain while others are ready. */
  all: readonly Endpoint[] = []
  absence: string | undefined = undefined
  /** No endpoint will come. */
  closed = false
  /**
   * How long a new endpoint warms up; 0 = not at all. Of endpoints that are there already, in force
   * with {@link rebalance}.
   */
  slowStartMs = 0

  readonly #clock: Clock
  readonly #balancer: () => Balancer
  readonly #watch: ((inUse: readonly Endpoint[]) => void) | undefined
  readonly #doubt: ((lost: readonly Endpoint[]) => void) | undefined
  /** By `addressKey`. */
  readonly #byAddress = new Map<string, Endpoint>()
  #listed = new ListedInstances()
  /** Listed by the last run only. */
  readonly #fromDisk = new Set<Endpoint>()
  /** Endpoints that were removed as lost a moment ago: losses in a row count together. */
  #lost: { readonly at: number; readonly key: string; readonly endpoint: Endpoint }[] = []
  readonly #draining = new Set<Endpoint>()
  #limbo = new Set<Endpoint>()
  #limboTimer: Timer | undefined
  #waiters = new Set<(available: boolean) => void>()
  readonly #listeners = new Set<() => void>()

  /**
   * `balancer` is asked at each change, so that a new configuration may bring another. `watch` gets
   * the endpoints in use, for ejection and health checks. `doubt` gets those that are kept
   * although a doubted list lacks them; see {@link bury}.
   */
  constructor(
    service: string,
    balancer: () => Balancer,
    clock: Clock,
    watch?: (inUse: readonly Endpoint[]) => void,
    doubt?: (lost: readonly Endpoint[]) => void,
  ) {
    this.service = service
    this.#balancer = balancer
    this.#clock = clock
    this.#watch = watch
    this.#doubt = doubt
  }

  /** Endpoints kept although the registry no longer lists them. */
  get inLimbo(): number {
    return this.#limbo.size
  }

  /** Calls that wait for an endpoint. */
  get waiting(): number {
    return this.#waiters.size
  }

  /** Whether there is a listener for changes. */
  get observed(): boolean {
    return this.#listeners.size > 0
  }

  isDraining(endpoint: Endpoint): boolean {
    return this.#draining.has(endpoint)
  }

  /**
   * Takes over a list whole. Instances at one address are one endpoint, that of the last of them.
   */
  apply(instances: readonly Instance[], news: ListNews): void {
    this.absence = news.absence
    const { put, gone } = this.#listed.take(instances)
    for (const [key, instance] of put) {
      const known = this.#byAddress.get(key)
      let endpoint = known
      if (endpoint === undefined || !isSame(endpoint, instance)) {
        endpoint = new Endpoint(this.service, instance)
        // Endpoints of the first list have run for an unknown time, and no other could take their
        // share while they warm up.
        if (this.endpoints.length > 0) endpoint.discoveredAt = this.#clock.now()
        this.#warm(endpoint)
        if (known !== undefined) this.#withdraw(known)
        this.#byAddress.set(key, endpoint)
      }
      endpoint.weight = instance.weight
      endpoint.metadata = instance.metadata
      // Connections that stand go on; the next one is made by what is offered now.
      endpoint.transports = instance.transports
      endpoint.local = instance.local
      this.#limbo.delete(endpoint)
      if (news.stale === true) this.#fromDisk.add(endpoint)
      if (instance.state === 'draining') {
        this.#draining.add(endpoint)
        giveUpMirrors(endpoint)
      } else this.#draining.delete(endpoint)
    }
    if (news.stale !== true && this.#fromDisk.size > 0) {
      for (const key of this.#listed.addresses()) this.#fromDisk.delete(this.#byAddress.get(key)!)
    }
    this.#miss(gone, instances.length, news)
    if (this.#limbo.size > 0) this.#limboTimer ??= this.#startLimbo()
    this.#publish()
  }

  /**
   * Removes endpoints that left on purpose. Removes lost ones too, unless the list is doubted or
   * most are lost: then they go into limbo. `gone`: the addresses that only the last list had.
   */
  #miss(gone: readonly string[], listed: number, { intended, left, doubted, stale }: ListNews): void {
    const replacesDisk = stale !== true && listed > 0
    const isMeant = (endpoint: Endpoint): boolean =>
      intended === true || left?.has(endpoint.id) === true || (replacesDisk && this.#fromDisk.has(endpoint))
    for (const endpoint of [...this.#limbo]) if (isMeant(endpoint)) this.#remove(addressKey(endpoint), endpoint)
    const lost: [string, Endpoint][] = []
    for (const key of gone) {
      const endpoint = this.#byAddress.get(key)!
      this.#draining.delete(endpoint)
      if (isMeant(endpoint)) this.#remove(key, endpoint)
      else lost.push([key, endpoint])
    }
    if (lost.length === 0) return
    const now = this.#clock.now()
    const before = this.#lost.filter(({ at, key }) => now - at < LIMBO_MS && !this.#byAddress.has(key))
    const missing = lost.length + this.#limbo.size + before.length
    const most = missing > (this.#byAddress.size + before.length) * DOUBTED_SHARE
    if (!most && doubted !== true) {
      for (const [key, endpoint] of lost) this.#remove(key, endpoint)
      this.#lost = [...before, ...lost.map(([key, endpoint]) => ({ at: now, key, endpoint }))]
      return
    }
    // The first losses of this row were believed too soon.
    for (const { key, endpoint } of most ? before : []) {
      const again = new Endpoint(this.service, endpoint)
      this.#byAddress.set(key, again)
      this.#limbo.add(again)
    }
    if (most) this.#lost = []
    for (const [, endpoint] of lost) this.#limbo.add(endpoint)
    if (doubted === true) this.#doubt?.([...this.#limbo])
  }

  /** Those of `dead` that no list has named again need not be kept longer. */
  bury(dead: readonly Endpoint[]): void {
    const kept = dead.filter((endpoint) => this.#limbo.has(endpoint))
    if (kept.length === 0) return
    for (const endpoint of kept) this.#remove(addressKey(endpoint), endpoint)
    this.#publish()
  }

  /** A new configuration may have brought another balancer, and another {@link slowStartMs}. */
  rebalance(): void {
    for (const endpoint of this.#byAddress.values()) this.#warm(endpoint)
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

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  /** Withdraws every endpoint and notifies the waiters that none is available. */
  close(graceMs: number): void {
    if (this.#limboTimer !== undefined) this.#clock.stopTimer(this.#limboTimer)
    this.#limboTimer = undefined
    for (const endpoint of this.#byAddress.values()) {
      withdraw(endpoint, graceMs)
    }
    this.#byAddress.clear()
    this.#fromDisk.clear()
    this.#lost = []
    this.#limbo.clear()
    this.#draining.clear()
    this.#listed = new ListedInstances()
    this.endpoints = []
    this.all = []
    this.closed = true
    this.picker = NONE
    for (const waiter of [...this.#waiters]) waiter(false)
    for (const listener of [...this.#listeners]) listener()
  }

  #startLimbo(): Timer {
    return this.#clock.startBackgroundTimer(LIMBO_MS, () => this.#endLimbo(), undefined)
  }

  /** Removes vanished endpoints that fail or that others can replace. The rest stays in limbo. */
  #endLimbo(): void {
    this.#limboTimer = undefined
    const others = this.#byAddress.size - this.#limbo.size
    for (const [key, endpoint] of [...this.#byAddress]) {
      if (!this.#limbo.has(endpoint)) continue
      if (others > 0 || endpoint.state !== 'healthy') this.#remove(key, endpoint)
    }
    if (this.#limbo.size > 0) this.#limboTimer = this.#startLimbo()
    this.#publish()
  }

  #remove(key: string, endpoint: Endpoint): void {
    this.#byAddress.delete(key)
    this.#withdraw(endpoint)
  }

  #withdraw(endpoint: Endpoint): void {
    this.#limbo.delete(endpoint)
    this.#fromDisk.delete(endpoint)
    this.#draining.delete(endpoint)
    withdraw(endpoint, WITHDRAWN_GRACE_MS)
  }

  #warm(endpoint: Endpoint): void {
    endpoint.warmAt = endpoint.discoveredAt === 0 ? 0 : endpoint.discoveredAt + this.slowStartMs
  }

  #publish(): void {
    const all = [...this.#byAddress.values()]
    const ready = this.#draining.size === 0 ? all : all.filter((endpoint) => !this.#draining.has(endpoint))
    this.all = all
    this.endpoints = Object.freeze(ready.length > 0 ? ready : all)
    this.picker = this.endpoints.length === 0 ? NONE : this.#balancer().picker(this.endpoints)
    this.#watch?.(this.picker.inUse ?? this.endpoints)
    if (this.endpoints.length > 0) for (const waiter of [...this.#waiters]) waiter(true)
    for (const listener of [...this.#listeners]) listener()
  }
}

function withdraw(endpoint: Endpoint, graceMs: number): void {
  endpoint.withdrawn = true
  endpoint.transport?.close(graceMs)
  giveUpMirrors(endpoint)
}

/** An instance that goes is not held up by what no caller waits for. */
function giveUpMirrors(endpoint: Endpoint): void {
  endpoint.shadow?.transport?.close(0)
  endpoint.shadow = undefined
}

/** Another id at the same address is another process, whose estimates start anew. */
function isSame(endpoint: Endpoint, instance: Instance): boolean {
  return (
    endpoint.id === instance.id &&
    endpoint.tls === instance.tls &&
    endpoint.zone === instance.zone &&
    endpoint.version === instance.version &&
    endpoint.metadata['hash-key'] === instance.metadata['hash-key']
  )
}
