/**
 * The interface through which a client asks a destination about a request. The answer is read at
 * once and never kept.
 */
import type { CallKind } from '../core/call.ts'
import type { RequestHead } from '../core/request-head.ts'
import type { Stack } from '../resilience/stack.ts'
import type { CallContext } from './call-context.ts'
import type { Routed } from './routed.ts'
import type { Transport } from './transport.ts'

/** Made once for each kind of call and shared by its calls. */
export interface Selection {
  readonly stack: Stack
  readonly kind: CallKind
  /** `undefined`: no route was chosen. */
  readonly routed: Routed | undefined
}

/** One service, as the doors of a client know it. */
export interface Selector<T extends Transport> {
  readonly service: string
  readonly transport: T
  /**
   * For a call that is about to be sent: each one counts as a turn of its split. `streaming`: the
   * response may last, so its duration is no latency. `from`: the call, or the one that causes it.
   */
  select(head: RequestHead, streaming: boolean, from?: CallContext): Selection
  /** For a call whose head may still change. It is selected again before it is sent. */
  unrouted(method: string, streaming: boolean): Selection
}

/** The service of that name; `undefined` if the name cannot be that of a service. */
export type FindService<T extends Transport> = (name: string) => Selector<T> | undefined
