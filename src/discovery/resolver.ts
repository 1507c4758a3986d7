/**
 * Turns a service name into endpoints, by pushing. The registry is one resolver; DNS, static lists
 * and files can be others.
 */
import type { Protocol } from '../core/protocol.ts'
import type { Instance, UnreadableInstance } from './instance.ts'

export interface Resolver {
  /**
   * Pushes the endpoints of `service` to `listener`: before it returns if they are known, and after
   * each change. Every push is the whole state.
   *
   * - Identity: a pushed object is immutable; the same object means that nothing has changed. An
   *   instance that has not changed should be the same object in the next push: then one change
   *   among 10,000 instances costs a comparison each.
   * - In force: the listener takes over before it returns. It throws nothing.
   * - Silence: a source that fails pushes nothing. The last endpoints stay in force.
   *
   * Returns how to stop; after that nothing is pushed. A service has one listener at a time.
   */
  watchEndpoints(service: string, listener: (endpoints: ServiceEndpoints) => void): () => void
}

/** The endpoints of one service. Immutable. */
export interface ServiceEndpoints {
  readonly instances: readonly Instance[]
  /** The protocol that all instances share, if they do: it saves a look at each of 10,000. */
  readonly protocol?: Protocol | undefined
  /** Instances that could not be read. The last readable version of each stays in `instances`. */
  readonly unread?: readonly UnreadableInstance[] | undefined
  /** Every instance that this list lacks left on purpose, so an empty list is believed at once. */
  readonly intended: boolean
  /** Ids of instances that left on purpose since the last push. */
  readonly left: ReadonlySet<string>
  /**
   * The source has begun another history, such as that of a restored backup: it may not know yet
   * the instances that this list lacks.
   */
  readonly doubted?: boolean | undefined
  /** The list is empty, and the source knows this name, which is like that of the service. */
  readonly nearest?: string | undefined
  /** The source has stopped removing instances that it no longer hears of. */
  readonly frozen: boolean
  /** From the last run of this process. The first list that is not stale replaces it. */
  readonly stale: boolean
}

export const NONE_LEFT: ReadonlySet<string> = new Set()
