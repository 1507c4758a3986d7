/**
 * One instance's address as a client sees it, with what its owners keep about it; and who chooses
 * among them. The slots are plain fields, not maps, because every attempt touches them and 10,000
 * of them must stay small.
 */
import type { Attempt } from './attempt.ts'
import type { Call } from './call.ts'

/**
 * Where an instance is and what it says of itself. Fixed for its life; a change of address is
 * another endpoint.
 */
export interface EndpointAddress {
  /** Unique within the service. */
  readonly id: string
  readonly address: string
  readonly port: number
  readonly protocol: 'http' | 'grpc'
  /** Whether it speaks mTLS with an identity of the mesh. */
  readonly tls: boolean
  readonly zone: string | undefined
  readonly version: string | undefined
  readonly weight: number
  readonly metadata: Readonly<Record<string, string>>
}

/** What a transport keeps for an endpoint: connections, made on first use. */
export interface EndpointTransport {
  /** Lets what runs finish, then closes; bounded by `graceMs`. */
  close(graceMs: number): void
}

/**
 * `ejected`: out of the picker for a while. `probing`: out, but for the one attempt that is finding
 * out.
 */
export type EndpointState = 'healthy' | 'ejected' | 'probing'

export class Endpoint {
  readonly service: string
  readonly id: string
  readonly address: string
  readonly port: number
  readonly protocol: 'http' | 'grpc'
  readonly tls: boolean
  readonly zone: string | undefined
  readonly version: string | undefined
  readonly metadata: Readonly<Record<string, string>>
  /** From discovery; may change without making another endpoint. */
  weight: number
  /** From when until when it warms up, as instants; kept by discovery, 0 = warm from the start. */
  discoveredAt = 0
  warmAt = 0
  /** `host:port`, as errors and metrics name it. */
  readonly label: string
  /**
   * What consistent hashing goes by: the metadata entry `hash-key`, else the address. It outlives a
   * restart.
   */
  readonly hashKey: string

  /** Attempts in flight, streams included; kept by the execution. */
  pending = 0
  /**
   * The oldest attempt in flight that is not open-ended, and the newest: a linked list through
   * {@link Attempt.newer}.
   */
  oldest: Attempt | undefined = undefined
  newest: Attempt | undefined = undefined

  /** Latency estimate in ms and when it was last fed; kept by the balancer. 0 = never fed. */
  estimateMs = 0
  estimatedAt = 0

  /** Kept by ejection. */
  state: EndpointState = 'healthy'
  health: unknown = undefined
  /** The last attempt that says anything could not connect. */
  unreachable = false

  /** Kept by the client; made on first use. */
  transport: EndpointTransport | undefined = undefined
  /** True once discovery has withdrawn it: no new attempts, no new connections. */
  withdrawn = false

  constructor(service: string, at: EndpointAddress) {
    this.service = service
    this.id = at.id
    this.address = at.address
    this.port = at.port
    this.protocol = at.protocol
    this.tls = at.tls
    this.zone = at.zone
    this.version = at.version
    this.metadata = at.metadata
    this.weight = at.weight
    this.label = labelOf(at)
    this.hashKey = at.metadata['hash-key'] ?? this.label
  }
}

/** `host:port`, as errors, events and metrics name an endpoint. */
export function labelOf({ address, port }: { readonly address: string; readonly port: number }): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}

/**
 * The same for all instances behind one listener, whatever their ids: one address is one endpoint.
 */
export function addressKey(at: { readonly address: string; readonly port: number; readonly protocol: string }): string {
  return `${at.protocol}://${labelOf(at).toLowerCase()}`
}

/** Chooses an endpoint, synchronously; replaced whole when the endpoints change. */
export interface Picker {
  /** The endpoints that it chooses among. @defaultValue all that it was made of */
  readonly inUse?: readonly Endpoint[] | undefined
  /**
   * Skips ejected endpoints and those this call has tried, while others are left. `undefined`:
   * there is none at all. `now` is for callers who have just looked at the clock, which costs as
   * much as half a pick.
   */
  pick(call: Call, now?: number): Endpoint | undefined
}

/**
 * Makes pickers; made once per service, so that what it learned survives changes of the endpoints.
 * To make one is pure: it starts nothing and notifies no one.
 */
export interface Balancer {
  readonly name: string
  /** `endpoints` is never changed by the caller afterwards. */
  picker(endpoints: readonly Endpoint[]): Picker
}

/** The live endpoints of one service, as the execution sees them. */
export interface Cluster {
  readonly service: string
  readonly endpoints: readonly Endpoint[]
  readonly picker: Picker
  /**
   * Resolves when there is an endpoint, or after `ms`; `true` if there is one. The returned
   * function takes the waiter out at once (the caller cancelled).
   */
  whenAvailable(ms: number, listener: (available: boolean) => void): () => void
  /**
   * Calls `listener` whenever endpoints may have come or gone, until the returned function is
   * called.
   */
  onChange(listener: () => void): () => void
}
