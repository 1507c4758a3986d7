/**
 * Wraps a balancer's picker, in this order: the call's key, the client's subset, the zone
 * preference. Each configuration builds a new one.
 */
import type { Call, HashKey } from '../../core/call.ts'
import type { Clock } from '../../core/clock.ts'
import type { Endpoint } from '../../core/endpoint.ts'
import type { Balancer, Picker } from '../../core/picker.ts'
import type { BalancingSettings } from '../../resilience/balancing-settings.ts'
import type { ClusterHealth } from '../../resilience/cluster-health.ts'
import { LazyPicker } from './lazy-picker.ts'
import { Ranking, Ranks } from './subset.ts'
import { type InUseListener, SubsetPicker } from './subset-picker.ts'
import { zonePicker } from './zone.ts'
import { ZoneShare } from './zone-share.ts'

/** The client on whose behalf picks are made. */
export interface BalancingClient {
  /** Unique to this process. */
  readonly id: string
  readonly zone: string | undefined
  /** Of this process, for failover levels that ask for the same. @defaultValue none */
  readonly metadata?: Readonly<Record<string, string>>
}

export class LayeredBalancer implements Balancer {
  readonly name: string
  readonly #balancer: Balancer
  readonly #settings: BalancingSettings
  readonly #ranks: Ranks
  readonly #health: ClusterHealth | undefined
  readonly #clock: Clock
  readonly #onInUse: InUseListener | undefined
  /** Survives changes of the endpoints; `undefined`: this process has no zone. */
  readonly #share: ZoneShare | undefined

  /**
   * `onInUse`: notified when a pick has changed the endpoints in use; those of a new picker are its
   * `inUse`.
   */
  constructor(
    balancer: Balancer,
    settings: BalancingSettings,
    client: BalancingClient,
    health: ClusterHealth | undefined,
    clock: Clock,
    onInUse?: InUseListener,
  ) {
    this.name = balancer.name
    this.#balancer = balancer
    this.#settings = settings
    this.#ranks = new Ranks(client.id)
    this.#health = health
    this.#clock = clock
    this.#onInUse = onInUse
    this.#share = client.zone === undefined ? undefined : new ZoneShare(client.zone)
  }

  picker(endpoints: readonly Endpoint[]): Picker {
    const { hashKey } = this.#settings
    const picker = this.#arrange(endpoints)
    return hashKey === undefined ? picker : new KeyedPicker(picker, hashKey)
  }

  #arrange(endpoints: readonly Endpoint[]): Picker {
    const { subsetSize } = this.#settings
    if (subsetSize === undefined || endpoints.length <= subsetSize) return this.#over(endpoints)
    // Subset before zone: a subset of local endpoints only could not spill over.
    const ranking = new Ranking(endpoints, this.#ranks)
    return new SubsetPicker(ranking, subsetSize, (own) => this.#over(own), this.#health, this.#clock, this.#onInUse)
  }

  #over(own: readonly Endpoint[]): Picker {
    const share = this.#share
    if (this.#settings.zone === 'ignore' || share === undefined)
      return new LazyPicker(this.#balancer, own, this.#health)
    const picker = () => zonePicker(own, share, this.#balancer, this.#health, this.#clock)
    return new LazyPicker({ picker }, own, this.#health)
  }
}

/**
 * Takes the key at the pick rather than at the start of a call. A first call may begin before the
 * policy of its service is known.
 */
class KeyedPicker implements Picker {
  readonly #picker: Picker
  readonly #source: HashKey

  constructor(picker: Picker, source: HashKey) {
    this.#picker = picker
    this.#source = source
  }

  get inUse(): readonly Endpoint[] | undefined {
    return this.#picker.inUse
  }

  pick(call: Call, now?: number): Endpoint | undefined {
    call.hashKey ??= call.keyOf(this.#source)
    return this.#picker.pick(call, now)
  }
}
