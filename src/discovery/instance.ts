/** An instance of a service, as every source of endpoints describes it. */
import type { EndpointAddress } from '../core/endpoint.ts'

/**
 * `draining`: finishes its calls and takes no new ones. Clients use `draining` instances only if no
 * `ready` one is left.
 */
export type InstanceState = 'ready' | 'draining'

/** `id` is unique within `service`. */
export interface Instance extends EndpointAddress {
  readonly service: string
  readonly state: InstanceState
}

/** An entry of a list that this version cannot read; its reader reports it, no source sends it. */
export interface UnreadableInstance {
  readonly id: string | undefined
  readonly issue: string
}
