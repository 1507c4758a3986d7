/** The balancing contracts: a balancer makes pickers, a picker chooses an endpoint for a call. */
import type { Call } from './call.ts'
import type { Endpoint } from './endpoint.ts'

/** The health of a picker's endpoints, beyond the state of each. */
export interface ClusterHealth {
  /**
   * More than `maxShare` of the endpoints are ejected: ejections are ignored, except of endpoints
   * that refuse connections.
   */
  readonly panicking: boolean
  /** How many of the endpoints are out. */
  readonly ejected: number
  /** An endpoint whose hold is over, for this call to find out; `undefined`: none is due. */
  due(call: Call): Endpoint | undefined
}

/** Chooses an endpoint synchronously. A change of the endpoints replaces the whole picker. */
export interface Picker {
  /** The endpoints that it chooses among. @defaultValue all that it was made from */
  readonly inUse?: readonly Endpoint[] | undefined
  /**
   * Skips ejected endpoints and those this call has tried, while others are left. Returns
   * `undefined` if there are no endpoints. A caller that has just read the clock passes `now`:
   * reading it costs as much as half a pick.
   */
  pick(call: Call, now?: number): Endpoint | undefined
}

/**
 * Makes pickers. There is one per service, so that what it has learned survives changes of the
 * endpoints. Making a picker is pure: it starts nothing and notifies no one.
 */
export interface Balancer {
  readonly name: string
  /** It counts the answers of each endpoint and their latency. @defaultValue false */
  readonly measuresLatency?: boolean
  /**
   * The caller never changes `endpoints` afterwards. `health`: of these endpoints alone, if they
   * are not all of the service's.
   */
  picker(endpoints: readonly Endpoint[], health?: ClusterHealth): Picker
}

/** The live endpoints of one service, as the execution sees them. */
export interface Cluster {
  readonly service: string
  readonly endpoints: readonly Endpoint[]
  /** Why there is no endpoint, as far as the source of endpoints says. */
  readonly absence?: string | undefined
  readonly picker: Picker
  /**
   * Calls `listener` with `true` once there is an endpoint, or with `false` after `ms`. The
   * returned function removes the waiter at once.
   */
  whenAvailable(ms: number, listener: (available: boolean) => void): () => void
  /** Calls `listener` when endpoints may have changed, until the returned function is called. */
  onChange(listener: () => void): () => void
}
